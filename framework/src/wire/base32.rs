//! Base32 as people see it: RFC 4648's alphabet in lower case, no padding.
//!
//! Invariant: every byte string has one text, give or take the case of its letters.

use data_encoding::{BASE32_NOPAD, DecodeKind};

/// Writes `bytes` in lower case.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = BASE32_NOPAD.encode(bytes);
    text.make_ascii_lowercase();
    text
}

/// Reads text of either case; an error says what is wrong and where.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, Base32Error> {
    let wrong = text
        .chars()
        .enumerate()
        .find(|(_, found)| !matches!(found, 'a'..='z' | 'A'..='Z' | '2'..='7'));
    if let Some((position, found)) = wrong {
        return Err(Base32Error::Character { position, found });
    }
    BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|error| match error.kind {
        DecodeKind::Trailing => Base32Error::Trailing,
        _ => Base32Error::Length,
    })
}

/// The reason that a text is no base32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base32Error {
    /// No byte string has a text of this length.
    Length,
    /// The last letter carries bits that belong to no byte.
    Trailing,
    /// A character outside the alphabet; the first has position 0.
    Character { position: usize, found: char },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_lower_case_and_read_in_either_case() {
        assert_eq!(encode(b"estafette"), "mvzxiylgmv2hizi");
        assert_eq!(decode("mvzxiylgmv2hizi").unwrap(), b"estafette");
        assert_eq!(decode("MVZXIYLGMV2HIZI").unwrap(), b"estafette");
    }

    #[test]
    fn what_is_no_base32_is_named() {
        assert_eq!(decode("ab1d"), Err(Base32Error::Character { position: 2, found: '1' }));
        assert_eq!(decode("abédefgh"), Err(Base32Error::Character { position: 2, found: 'é' }));
        assert_eq!(decode("a"), Err(Base32Error::Length));
        assert_eq!(decode("ab"), Err(Base32Error::Trailing));
    }
}
