//! The id of a node, by which others know it: its public key.
//!
//! Invariant: one node, one text. The canonical text is 52 lower-case letters and digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::base32::{self, Base32Error};

/// The public X25519 key of a node, written in base32.
///
/// In a format for people (TOML, JSON) it is serialized as its text, in a binary format as its 32
/// bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 32]);

/// An error of parsing a [`PeerId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerIdError {
    /// Too short or too long.
    #[error(
        "a peer id has {TEXT_LENGTH} characters, this one has {given}: copy it again, all of it"
    )]
    Length {
        /// Characters given.
        given: usize,
    },
    /// A character that no peer id contains.
    #[error(
        "character {number} of the peer id is {found:?}, only a-z and 2-7 occur in one: copy it \
         again"
    )]
    Character {
        /// The position of the character, from 1.
        number: usize,
        /// The character.
        found: char,
    },
    /// The last character carries bits that no key has.
    #[error("the last character of the peer id is not one it can end in: copy it again, all of it")]
    Trailing,
}

impl PeerId {
    /// The id of the node with this public key.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight characters of the text: enough to tell peers apart in a log, not enough to
    /// trust one.
    pub fn short(&self) -> String {
        base32::encode(&self.0[..5])
    }

    /// The test whether an id begins with this text, eight characters of it or more, in either
    /// case. It writes no id that begins otherwise: all that are known may be asked.
    pub(crate) fn beginning(text: &str) -> impl Fn(&Self) -> bool {
        let text = text.to_ascii_lowercase();
        let first = text.get(..8).and_then(|first| base32::decode(first).ok());
        move |id| {
            first.as_ref().is_some_and(|first| id.0.starts_with(first))
                && id.to_string().starts_with(&text)
        }
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&base32::encode(&self.0))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({}…)", self.short())
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    /// Reads the text in either case; white space around it is ignored.
    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        let text = text.trim();
        let length = || PeerIdError::Length { given: text.chars().count() };
        if text.len() > LONGEST_READ {
            return Err(length());
        }
        let bytes = base32::decode(text).map_err(|error| match error {
            Base32Error::Length => length(),
            Base32Error::Trailing if text.len() != TEXT_LENGTH => length(),
            Base32Error::Trailing => PeerIdError::Trailing,
            Base32Error::Character { position, found } => {
                PeerIdError::Character { number: position + 1, found }
            }
        })?;
        bytes.try_into().map(Self).map_err(|_| length())
    }
}

impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

/// Characters of 32 bytes in base32.
const TEXT_LENGTH: usize = 52;
/// Longer texts are not even looked at.
const LONGEST_READ: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::codec;

    fn counting() -> PeerId {
        PeerId::from_bytes(std::array::from_fn(|index| index as u8))
    }

    #[test]
    fn the_beginning_of_an_id_is_eight_characters_of_it_or_more() {
        let text = counting().to_string();
        for length in 0..=text.len() {
            for given in [text[..length].to_owned(), text[..length].to_uppercase()] {
                assert_eq!(PeerId::beginning(&given)(&counting()), length >= 8, "{given}");
            }
        }
        for given in ["aaaqeayf", "aaaqeayeb", "aaaqeay1", "é", "aaaqeayé"] {
            assert!(!PeerId::beginning(given)(&counting()), "{given}");
        }
        assert!(!PeerId::beginning(&format!("{text}a"))(&counting()));
    }

    #[test]
    fn the_text_is_held() {
        assert_eq!(counting().to_string(), "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq");
        assert_eq!(counting().short(), "aaaqeaye");
        assert_eq!(format!("{:?}", counting()), "PeerId(aaaqeaye…)");
        assert!(counting().to_string().starts_with(&counting().short()));
    }

    #[test]
    fn the_binary_form_is_the_bare_key() {
        assert_eq!(codec::encode(&counting()).unwrap(), counting().as_bytes());
        assert_eq!(codec::decode::<PeerId>(counting().as_bytes()).unwrap(), counting());
    }

    #[test]
    fn a_mistyped_text_says_what_is_wrong() {
        let text = counting().to_string();
        assert_eq!(text[..51].parse::<PeerId>(), Err(PeerIdError::Length { given: 51 }));
        assert_eq!(format!("{text}aaaa").parse::<PeerId>(), Err(PeerIdError::Length { given: 56 }));
        assert_eq!("".parse::<PeerId>(), Err(PeerIdError::Length { given: 0 }));
        assert_eq!(
            "a".repeat(10_000).parse::<PeerId>(),
            Err(PeerIdError::Length { given: 10_000 })
        );
        assert_eq!(
            text.replacen('q', "1", 1).parse::<PeerId>(),
            Err(PeerIdError::Character { number: 4, found: '1' })
        );
        assert_eq!(format!("{}z", &text[..51]).parse::<PeerId>(), Err(PeerIdError::Trailing));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn text_and_id_are_inverses(bytes: [u8; 32]) {
            let peer = PeerId::from_bytes(bytes);
            let text = peer.to_string();
            prop_assert_eq!(text.len(), TEXT_LENGTH);
            prop_assert_eq!(text.parse::<PeerId>(), Ok(peer));
            prop_assert_eq!(format!(" {}\n", text.to_uppercase()).parse::<PeerId>(), Ok(peer));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            if let Ok(peer) = text.parse::<PeerId>() {
                prop_assert_eq!(peer.to_string(), text.trim().to_lowercase());
            }
        }
    }
}
