//! Texts with a limit on the wire, for `#[serde(with = …)]`. Limits are in bytes of UTF-8.
//!
//! Invariant: no text above its limit is written, and none is taken in. A [`Name`] that is too long
//! is an error where it is written, since a shorter one would name something else; [`Prose`] is
//! cut.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Text that names something: written whole or not at all.
pub(super) struct Name<const LIMIT: usize>;
/// Like [`Name`], where there may be none.
pub(super) struct MaybeName<const LIMIT: usize>;
/// Up to `COUNT` [`Name`]s.
pub(super) struct Names<const COUNT: usize, const LIMIT: usize>;
/// Up to `COUNT` texts for people: what is above the limits is cut off.
pub(super) struct Lines<const COUNT: usize, const LIMIT: usize>;
/// Text for people: what is above the limit is cut off.
pub(super) struct Prose<const LIMIT: usize>;

impl<const LIMIT: usize> Name<LIMIT> {
    pub(super) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        within::<LIMIT>(text).map_err(ser::Error::custom)?;
        text.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<String, D::Error> {
        let text = String::deserialize(deserializer)?;
        within::<LIMIT>(&text).map_err(de::Error::custom)?;
        Ok(text)
    }
}

impl<const LIMIT: usize> MaybeName<LIMIT> {
    pub(super) fn serialize<S: Serializer>(
        text: &Option<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        text.as_deref().map_or(Ok(()), within::<LIMIT>).map_err(ser::Error::custom)?;
        text.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.as_deref().map_or(Ok(()), within::<LIMIT>).map_err(de::Error::custom)?;
        Ok(text)
    }
}

impl<const COUNT: usize, const LIMIT: usize> Names<COUNT, LIMIT> {
    pub(super) fn serialize<S: Serializer>(
        texts: &[String],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Self::check(texts).map_err(ser::Error::custom)?;
        texts.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<String>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        Self::check(&texts).map_err(de::Error::custom)?;
        Ok(texts)
    }

    fn check(texts: &[String]) -> Result<(), String> {
        if texts.len() > COUNT {
            return Err(format!("a list has {} names, at most {COUNT} are allowed", texts.len()));
        }
        texts.iter().try_for_each(|text| within::<LIMIT>(text))
    }
}

impl<const COUNT: usize, const LIMIT: usize> Lines<COUNT, LIMIT> {
    pub(super) fn serialize<S: Serializer>(
        lines: &[String],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let lines: Vec<_> = lines.iter().take(COUNT).map(|line| cut(line, LIMIT)).collect();
        lines.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<String>, D::Error> {
        Names::<COUNT, LIMIT>::deserialize(deserializer)
    }
}

impl<const LIMIT: usize> Prose<LIMIT> {
    pub(super) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        cut(text, LIMIT).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<String, D::Error> {
        Name::<LIMIT>::deserialize(deserializer)
    }
}

/// As much of `text` as fits into `limit` bytes, in whole characters.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn within<const LIMIT: usize>(text: &str) -> Result<(), String> {
    match text.len() {
        given if given > LIMIT => {
            Err(format!("a text has {given} bytes, at most {LIMIT} are allowed"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::{self, CodecError};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Texts {
        #[serde(with = "Name::<4>")]
        name: String,
        #[serde(with = "MaybeName::<4>")]
        maybe: Option<String>,
        #[serde(with = "Names::<2, 4>")]
        names: Vec<String>,
        #[serde(with = "Prose::<4>")]
        prose: String,
    }

    #[derive(Serialize)]
    struct Unbounded(String, Option<String>, Vec<String>, String);

    fn texts(name: &str, maybe: Option<&str>, names: &[&str], prose: &str) -> (Texts, Unbounded) {
        let (name, maybe, prose) = (name.to_owned(), maybe.map(str::to_owned), prose.to_owned());
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        (
            Texts {
                name: name.clone(),
                maybe: maybe.clone(),
                names: names.clone(),
                prose: prose.clone(),
            },
            Unbounded(name, maybe, names, prose),
        )
    }

    #[test]
    fn what_fits_passes_and_looks_like_plain_text() {
        let (bounded, plain) = texts("abcd", Some("efgh"), &["i", "jklm"], "nopq");
        let bytes = codec::encode(&bounded).unwrap();
        assert_eq!(bytes, codec::encode(&plain).unwrap());
        assert_eq!(codec::decode::<Texts>(&bytes).unwrap(), bounded);
    }

    #[test]
    fn a_name_too_long_is_neither_written_nor_taken_in() {
        for (bounded, plain) in [
            texts("abcde", None, &[], ""),
            texts("", Some("abcde"), &[], ""),
            texts("", None, &["a", "abcde"], ""),
            texts("", None, &["a", "b", "c"], ""),
        ] {
            assert!(
                matches!(codec::encode(&bounded), Err(CodecError::Unwritable { .. })),
                "{bounded:?}"
            );
            let bytes = codec::encode(&plain).unwrap();
            assert!(
                matches!(codec::decode::<Texts>(&bytes), Err(CodecError::Malformed { .. })),
                "{bounded:?}"
            );
        }
    }

    #[test]
    fn prose_is_cut_at_a_whole_character_and_not_taken_in_when_too_long() {
        let (bounded, plain) = texts("", None, &[], "abcé");
        let read: Texts = codec::decode(&codec::encode(&bounded).unwrap()).unwrap();
        assert_eq!(read.prose, "abc");
        assert!(codec::decode::<Texts>(&codec::encode(&plain).unwrap()).is_err());
    }
}
