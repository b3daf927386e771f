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
