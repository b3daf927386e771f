//! Attributes of serde with which a type would not be read as it is written.
//!
//! The bytes of a message do not say what they are: a reader takes field for field what its type
//! has. What only the reader or only the writer leaves out moves all that is behind it, and what
//! has to be recognised can't be.

use syn::punctuated::Punctuated;
use syn::{Attribute, Data, DeriveInput, Error, Field, Meta, Token};

/// An error for each attribute that a message can't have.
pub(crate) fn check(input: &DeriveInput) -> Result<(), Error> {
    let mut errors = Vec::new();
    of_type(&serde(&input.attrs)?, &mut errors);
    match &input.data {
        Data::Struct(data) => of_fields(data.fields.iter(), &mut errors)?,
        Data::Enum(data) => {
            for (place, variant) in data.variants.iter().enumerate() {
                let attributes = serde(&variant.attrs)?;
                of_type(&attributes, &mut errors);
                one_sided(&attributes, &mut errors);
                if let Some(skip) = find(&attributes, "skip") {
                    for behind in data.variants.iter().skip(place + 1) {
                        if find(&serde(&behind.attrs)?, "skip").is_none() {
                            let name = &behind.ident;
                            let text = format!(
                                "a variant that is skipped stands before `{name}`, which would be \
                                 read as the one behind it: variants are numbers on the wire, and \
                                 only writers count those that are skipped; move it to the end"
                            );
                            errors.push(Error::new_spanned(skip, text));
                            break;
                        }
                    }
                }
                of_fields(variant.fields.iter(), &mut errors)?;
            }
        }
        Data::Union(_) => {}
    }
    errors
        .into_iter()
        .reduce(|mut all, error| {
            all.combine(error);
            all
        })
        .map_or(Ok(()), Err)
}

fn of_type(attributes: &[Meta], errors: &mut Vec<Error>) {
    for name in ["untagged", "tag"] {
        if let Some(attribute) = find(attributes, name) {
            let text = format!(
                "a message can't have `{name}`: its bytes do not say what they are, so a reader \
                 can't recognise a variant by what is in it; leave it out, a variant is a number \
                 on the wire"
            );
            errors.push(Error::new_spanned(attribute, text));
        }
    }
}

fn of_fields<'f>(
    fields: impl Iterator<Item = &'f Field>,
    errors: &mut Vec<Error>,
) -> Result<(), Error> {
    for field in fields {
        let attributes = serde(&field.attrs)?;
        if let Some(attribute) = find(&attributes, "skip_serializing_if") {
            let text = "a message can't leave a field out: its reader would take the next one for \
                        it; write it always, `None` and what is empty take one byte";
            errors.push(Error::new_spanned(attribute, text));
        }
        if let Some(attribute) = find(&attributes, "flatten") {
            let text = "a message can't have `flatten`: its bytes have no names by which a reader \
                        could tell whose field is whose; make it a field like any other";
            errors.push(Error::new_spanned(attribute, text));
        }
        one_sided(&attributes, errors);
    }
    Ok(())
}

fn one_sided(attributes: &[Meta], errors: &mut Vec<Error>) {
    let [writer, reader] =
        ["skip_serializing", "skip_deserializing"].map(|name| find(attributes, name));
    let (attribute, what) = match (writer, reader) {
        (Some(attribute), None) => (attribute, "would be read without being written"),
        (None, Some(attribute)) => (attribute, "would be written without being read"),
        _ => return,
    };
    let text = format!(
        "this {what}, and what is behind it would be taken for something else: `skip` it both \
         ways, or neither"
    );
    errors.push(Error::new_spanned(attribute, text));
}

fn serde(attributes: &[Attribute]) -> Result<Vec<Meta>, Error> {
    let mut all = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        all.extend(attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?);
    }
    Ok(all)
}

fn find<'a>(attributes: &'a [Meta], name: &str) -> Option<&'a Meta> {
    attributes.iter().find(|attribute| attribute.path().is_ident(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    /// Returns what is wrong with a type, one line for each attribute.
    fn errors(text: &str) -> Vec<String> {
        let input = syn::parse_str::<DeriveInput>(text).unwrap();
        let errors = check(&input).err();
        errors.into_iter().flatten().map(|error| error.to_string()).collect()
    }

    #[test]
    fn each_attribute_that_moves_what_is_behind_it_is_told_wherever_it_stands() {
        for (text, told) in [
            ("#[serde(untagged)] enum E { A }", "can't have `untagged`"),
            ("#[serde(tag = \"kind\", rename_all = \"lowercase\")] enum E { A }", "have `tag`"),
            ("#[serde(rename = \"s\", tag = \"t\")] struct S {}", "can't have `tag`"),
            ("enum E { #[serde(untagged)] A(u8) }", "can't have `untagged`"),
            ("struct S { #[serde(skip_serializing_if = \"no\")] a: u8 }", "leave a field out"),
            ("struct S(#[serde(default, skip_serializing_if = \"no\")] u8);", "leave a field out"),
            ("enum E { A { #[serde(skip_serializing_if = \"no\")] a: u8 } }", "leave a field out"),
            ("struct S { #[serde(flatten)] a: Inner }", "can't have `flatten`"),
            ("enum E { A { #[serde(flatten)] a: Inner } }", "can't have `flatten`"),
            ("struct S { #[serde(skip_serializing)] a: u8 }", "read without being written"),
            ("struct S { #[serde(skip_deserializing)] a: u8 }", "written without being read"),
            ("enum E { #[serde(skip_serializing)] A, B }", "read without being written"),
            ("enum E { A, #[serde(skip_deserializing)] B }", "written without being read"),
            ("enum E { A, #[serde(skip)] B, C }", "stands before `C`"),
        ] {
            let errors = errors(text);
            assert!(errors.len() == 1 && errors[0].contains(told), "{text}: {errors:?}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let text = "#[serde(untagged)] enum E {
            #[serde(skip)] A,
            #[serde(skip)] B,
            C { #[serde(flatten)] a: u8, #[serde(skip_serializing_if = \"no\")] b: u8 },
        }";
        // The first variant that is skipped stands before one that is not, and so does the second.
        let errors = errors(text);
        let count = |word: &str| errors.iter().filter(|error| error.contains(word)).count();
        assert_eq!(
            (count("untagged"), count("before `C`"), count("flatten"), count("leave a field")),
            (1, 2, 1, 1)
        );
        assert_eq!(errors.len(), 5, "{errors:?}");
    }

    #[test]
    fn what_reads_as_it_writes_is_let_through() {
        for text in [
            "struct S { #[serde(skip)] a: u8, #[serde(default, rename = \"c\")] b: u8 }",
            "struct S { #[serde(skip_serializing, skip_deserializing)] a: u8 }",
            "enum E { A, B, #[serde(skip)] C, #[serde(skip)] D }",
            "#[doc(hidden)] struct S { #[other(flatten)] a: u8 }",
            "struct S;",
        ] {
            assert_eq!(errors(text), Vec::<String>::new(), "{text}");
        }
        assert!(check(&syn::parse_str("#[serde(=)] struct S;").unwrap()).is_err());
    }
}
