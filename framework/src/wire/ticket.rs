//! The line one pastes to be let in.
//!
//! `estafette1` + base32 (RFC 4648, lower case, no padding) of
//! `peer 32 │ addresses: count u64, each length u64 + UTF-8 │ inbox: length u64 + UTF-8 │ token 32
//! │ checksum 4`, where the checksum is the first four bytes of BLAKE3 over what stands before it.
//!
//! Invariant: a ticket always has a text and that text always reads back; its token is not printed
//! by `Debug`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::base32::{self, Base32Error};
use super::bounded::{Name, Names};
use super::codec;
use super::opening::INBOX_LIMIT;
use super::{PeerId, SecretBytes};

/// Leave to come in: whom to dial and where, and the token to show.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket(Fields);

/// A ticket's fields in the order of the format; not yet known to fit into a text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Fields {
    peer: PeerId,
    #[serde(with = "Names::<ADDRESS_COUNT, ADDRESS_LIMIT>")]
    addresses: Vec<String>,
    #[serde(with = "Name::<INBOX_LIMIT>")]
    inbox: String,
    token: SecretBytes,
}

/// An error of parsing or making a ticket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It does not begin as a ticket does.
    #[error("this is no ticket: a ticket begins with {PREFIX}")]
    Prefix,
    /// A ticket of another release.
    #[error("this ticket has a format this release does not know: update estafette")]
    OtherFormat,
    /// A character that no ticket contains.
    #[error(
        "character {number} of the ticket is {found:?}, only a-z and 2-7 occur behind {PREFIX}: \
         copy it again"
    )]
    Character {
        /// The position of the character, from 1, white space not counted.
        number: usize,
        /// The character.
        found: char,
    },
    /// Something is missing, added or exchanged.
    #[error(
        "the checksum of the ticket does not agree: characters are missing or mistyped; copy it \
         again, all of it"
    )]
    Checksum,
    /// Longer than a ticket may be.
    #[error("the ticket has {given} characters, at most {TEXT_LIMIT} are allowed")]
    TooLong {
        /// Characters given.
        given: usize,
    },
    /// The checksum agrees, the content does not make sense.
    #[error("the ticket cannot be understood: {reason}; ask for a new one")]
    Content {
        /// The problem with the content.
        reason: String,
    },
}

impl Ticket {
    /// The most addresses of a ticket.
    pub const ADDRESSES: usize = ADDRESS_COUNT;

    /// A ticket of the node `peer`, which listens at `addresses` (up to [`ADDRESSES`](Self::ADDRESSES), of up to 255 bytes
    /// each), for `inbox` (up to 128 bytes).
    pub fn new(
        peer: PeerId,
        addresses: Vec<String>,
        inbox: String,
        token: impl Into<SecretBytes>,
    ) -> Result<Self, TicketError> {
        let ticket = Self(Fields { peer, addresses, inbox, token: token.into() });
        let text =
            ticket.text().map_err(|error| TicketError::Content { reason: error.to_string() })?;
        if text.len() > TEXT_LIMIT {
            Err(TicketError::TooLong { given: text.len() })
        } else {
            Ok(ticket)
        }
    }

    /// Returns the id of the node to dial.
    pub const fn peer(&self) -> PeerId {
        self.0.peer
    }

    /// Returns the addresses at which the node listens, in the order to try.
    pub fn addresses(&self) -> &[String] {
        &self.0.addresses
    }

    /// The inbox it opens.
    pub fn inbox(&self) -> &str {
        &self.0.inbox
    }

    /// The token for the first encrypted message.
    pub const fn token(&self) -> &SecretBytes {
        &self.0.token
    }

    fn text(&self) -> Result<String, codec::CodecError> {
        let mut bytes = codec::encode(&self.0)?;
        bytes.extend_from_slice(&checksum(&bytes));
        Ok(format!("{PREFIX}{}", base32::encode(&bytes)))
    }
}

impl fmt::Display for Ticket {
    /// The line to paste. Whoever sees it can use it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().expect("a ticket was checked when it was made"))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fields { peer, addresses, inbox, token } = &self.0;
        f.debug_struct("Ticket")
            .field("peer", peer)
            .field("addresses", addresses)
            .field("inbox", inbox)
            .field("token", token)
            .finish()
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    /// Reads a pasted ticket, in either case; white space, line breaks too, is ignored, and so are
    /// quotes around it, and the mark that some editors put before a text.
    fn from_str(pasted: &str) -> Result<Self, TicketError> {
        let pasted = pasted.trim_start_matches('\u{feff}').trim().trim_matches(['"', '\'']);
        let text: String = pasted
            .chars()
            .filter(|character| !character.is_whitespace())
            .take(TEXT_LIMIT + 1)
            .collect();
        if text.chars().count() > TEXT_LIMIT {
            return Err(TicketError::TooLong {
                given: pasted.chars().filter(|character| !character.is_whitespace()).count(),
            });
        }
        let letters = match text.get(..PREFIX.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => &text[PREFIX.len()..],
            Some(prefix) if prefix.to_ascii_lowercase().starts_with(FAMILY) => {
                return Err(TicketError::OtherFormat);
            }
            _ => return Err(TicketError::Prefix),
        };
        let bytes = base32::decode(letters).map_err(|error| match error {
            Base32Error::Length | Base32Error::Trailing => TicketError::Checksum,
            Base32Error::Character { position, found } => {
                TicketError::Character { number: PREFIX.len() + position + 1, found }
            }
        })?;
        let (fields, sum) = bytes.split_last_chunk::<4>().ok_or(TicketError::Checksum)?;
        if checksum(fields) != *sum {
            return Err(TicketError::Checksum);
        }
        codec::decode(fields)
            .map(Self)
            .map_err(|error| TicketError::Content { reason: error.to_string() })
    }
}

fn checksum(fields: &[u8]) -> [u8; 4] {
    *blake3::hash(fields).as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// The beginning of every ticket; the last character is the number of the format.
const PREFIX: &str = "estafette1";
/// The prefix without its number.
const FAMILY: &str = "estafette";
/// The most characters of a ticket.
const TEXT_LIMIT: usize = 2048;
const ADDRESS_COUNT: usize = 8;
const ADDRESS_LIMIT: usize = 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> Ticket {
        Ticket::new(
            PeerId::from_bytes([1; 32]),
            vec!["127.0.0.1:7400".to_owned()],
            "in".to_owned(),
            [2; 32],
        )
        .unwrap()
    }

    #[test]
    fn the_text_is_held() {
        assert_eq!(
            ticket().to_string(),
            "estafette1aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaaaaaaaaaaabyaaaaaaaaaaamjsg4xdalrqfyytunzugayaeaaaaaaaaaaanfxaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaxawnzgq"
        );
    }

    #[test]
    fn a_pasted_ticket_may_be_broken_into_lines_and_shouted() {
        let text = ticket().to_string();
        let broken = format!("  {}\r\n\t{} \n", &text[..40], text[40..].to_uppercase());
        assert_eq!(broken.parse(), Ok(ticket()));
        for around in [["\u{feff}", "\r\n"], ["\"", "\"\n"], ["'", "'"]] {
            assert_eq!(around.join(&text).parse(), Ok(ticket()), "{around:?}");
        }
    }

    #[test]
    fn debug_does_not_show_the_token() {
        let shown = format!("{:?}", ticket());
        assert!(shown.contains("redacted") && !shown.contains("2, 2"), "{shown}");
    }

    #[test]
    fn every_mistake_has_its_error() {
        let text = ticket().to_string();
        assert_eq!("hello".parse::<Ticket>(), Err(TicketError::Prefix));
        assert_eq!("".parse::<Ticket>(), Err(TicketError::Prefix));
        assert_eq!("éstafettééé".parse::<Ticket>(), Err(TicketError::Prefix));
        assert_eq!(text.replacen('1', "2", 1).parse::<Ticket>(), Err(TicketError::OtherFormat));
        assert_eq!(PREFIX.parse::<Ticket>(), Err(TicketError::Checksum));
        let mut wrong = text.clone();
        wrong.replace_range(12..13, "0");
        assert_eq!(wrong.parse::<Ticket>(), Err(TicketError::Character { number: 13, found: '0' }));
        assert_eq!(
            text.repeat(20).parse::<Ticket>(),
            Err(TicketError::TooLong { given: text.len() * 20 })
        );
        assert_eq!(text[..text.len() - 8].parse::<Ticket>(), Err(TicketError::Checksum));
    }

    #[test]
    fn a_content_that_makes_no_sense_is_named_even_with_a_good_checksum() {
        let fields = [0; 40];
        let text =
            format!("{PREFIX}{}", base32::encode(&[&fields[..], &checksum(&fields)].concat()));
        assert!(matches!(text.parse::<Ticket>(), Err(TicketError::Content { .. })));
    }

    #[test]
    fn a_ticket_too_long_to_paste_is_not_made() {
        let make = |count, length, inbox: usize| {
            Ticket::new(
                PeerId::from_bytes([1; 32]),
                vec!["a".repeat(length); count],
                "i".repeat(inbox),
                [2; 32],
            )
        };
        assert!(make(4, 255, 128).is_ok());
        assert!(matches!(make(8, 255, 1), Err(TicketError::TooLong { .. })));
        assert!(matches!(make(9, 1, 1), Err(TicketError::Content { .. })));
        assert!(matches!(make(1, 256, 1), Err(TicketError::Content { .. })));
        assert!(matches!(make(1, 1, 129), Err(TicketError::Content { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn text_and_ticket_are_inverses(peer: [u8; 32], token: [u8; 32], addresses in prop::collection::vec("\\PC{0,60}", 0..4), inbox in "\\PC{0,30}") {
            let ticket = Ticket::new(PeerId::from_bytes(peer), addresses, inbox, token).unwrap();
            prop_assert_eq!(ticket.to_string().parse(), Ok(ticket));
        }

        #[test]
        fn one_mistyped_character_is_noticed(at: prop::sample::Index, letter in "[a-z2-7]") {
            let mut text = ticket().to_string();
            let position = PREFIX.len() + at.index(text.len() - PREFIX.len());
            text.replace_range(position..=position, &letter);
            prop_assert!(text == ticket().to_string() || text.parse::<Ticket>() == Err(TicketError::Checksum));
        }

        #[test]
        fn no_text_panics(text in "(estafette1)?\\PC{0,80}") {
            prop_assert!(text.parse::<Ticket>().is_err());
        }
    }
}
