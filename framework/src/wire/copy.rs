//! Content that waits in its sender's own spool: a copy that only the node that made it opens.
//!
//! ```text
//!  0          8       10     12           16
//!  ├ "estafcpy"┼ ver 2 ┼ suite┼ length u32 ┼ transfer 24 ┼ piece size u32 ┼ envelope … ┤   length bytes behind the first 16
//!  ├ len u32 ┼ tag 16 ┼ box, len bytes ┤                                                 a piece: piece size bytes of content
//!  ├ len u32 ┼ tag 16 ┼ box, len bytes ┤                                                 the last one: fewer, or none
//! ```
//! Little-endian; `docs/package-format.md` has the details. The envelope is from the node to
//! itself, vouches for what stands before it, and holds the key and what the content is. A tag
//! tells rot from content, and a piece from any other.
//!
//! Invariant: a header that was opened is bounded and was made by this node.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::codec::{self, CodecError};
use super::envelope::{self, ENVELOPE_LIMIT, ENVELOPE_OVERHEAD, EnvelopeError};
use super::{Identity, PeerId, SecretBytes, Suite};
use crate::wire::{Content, KeyScope, TransferId, TransferKey};

/// The version of the format that is written for the suite that every node has: it names none.
const UNNAMED: u16 = 1;
/// The latest version of the format: it names its suite.
pub const COPY_VERSION: u16 = 2;
/// Bytes before the header: magic, version, length.
pub const COPY_PREAMBLE: usize = 16;
/// Bytes of a piece before its box: length and tag.
pub const PIECE_OVERHEAD: usize = 4 + 16;

const MAGIC: [u8; 8] = *b"estafcpy";
/// Transfer id and piece size.
const LABEL: usize = 24 + 4;
const LENGTHS: RangeInclusive<usize> = LABEL + ENVELOPE_OVERHEAD..=LABEL + ENVELOPE_LIMIT;
const PIECE_SIZES: RangeInclusive<u32> = 1 << 10..=4 << 20;
const IDENTITY_CONTEXT: &str = "estafette 2026-11 v1 copy identity";

/// Everything before the first piece, opened.
#[derive(Clone)]
pub struct CopyHeader {
    owner: PeerId,
    transfer: TransferId,
    suite: Suite,
    piece_size: u32,
    key: TransferKey,
    content: Content,
    bytes: Vec<u8>,
}

/// The content of the envelope.
#[derive(Serialize, Deserialize)]
struct Letter {
    key: SecretBytes,
    content: Content,
}

/// An error of reading or making a copy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// Other bytes at the front.
    #[error("it does not begin as a copy does")]
    NotACopy,
    /// A version this release does not read.
    #[error(
        "it is a copy of version {found}, and this release reads versions {UNNAMED} and \
         {COPY_VERSION}: use the release that wrote it, or a later one"
    )]
    UnknownVersion {
        /// The version found.
        found: u16,
    },
    /// A header that is longer or shorter than one can be, or says so.
    #[error("its header has, or claims, {given} bytes")]
    HeaderLength {
        /// Bytes given, or claimed.
        given: usize,
    },
    /// A piece size outside of the allowed ones.
    #[error("a piece size of {given} is not a power of two from 1 KiB to 4 MiB")]
    PieceSize {
        /// The size found.
        given: u32,
    },
    /// The envelope does not open, or could not be made.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The content of the envelope makes no sense, or could not be written.
    #[error("what is in it can't be read: {0}")]
    Malformed(#[from] CodecError),
    /// Somebody else made it.
    #[error("it was made by {author}, and this node is {us}")]
    OtherAuthor {
        /// The node that made it.
        author: PeerId,
        /// The node that tried to open it.
        us: PeerId,
    },
}

impl CopyHeader {
    /// The header of a new copy under a fresh key, in pieces of `piece_size` bytes: a power of two
    /// from 1 KiB to 4 MiB; they are to be sealed with `suite`.
    pub fn seal(
        identity: &Identity,
        transfer: TransferId,
        suite: Suite,
        piece_size: u32,
        content: Content,
    ) -> Result<Self, CopyError> {
        check(piece_size)?;
        let key = TransferKey::random();
        let letter = Letter { key: SecretBytes::new(*key.as_bytes()), content };
        let inside = Zeroizing::new(codec::encode(&letter)?);
        let length = LABEL + inside.len() + ENVELOPE_OVERHEAD;
        let (version, named) = match suite {
            Suite::XSALSA20_POLY1305 => (UNNAMED, 0),
            Suite(number) => (COPY_VERSION, number),
        };
        let (version, named) = (version.to_le_bytes(), named.to_le_bytes());
        let mut bytes = [&MAGIC[..], &version, &named, &(length as u32).to_le_bytes()].concat();
        bytes.extend(transfer.as_bytes());
        bytes.extend(piece_size.to_le_bytes());
        let envelope = envelope::seal(identity, identity.peer(), &bytes, &inside)?;
        bytes.extend(envelope);
        Ok(Self {
            owner: identity.peer(),
            transfer,
            suite,
            piece_size,
            key,
            content: letter.content,
            bytes,
        })
    }

    /// Returns the length of the whole header in bytes, which its first bytes tell.
    pub fn length(preamble: &[u8; COPY_PREAMBLE]) -> Result<usize, CopyError> {
        let &[magic @ .., v0, v1, _, _, l0, l1, l2, l3] = preamble;
        if magic != MAGIC {
            return Err(CopyError::NotACopy);
        }
        match (u16::from_le_bytes([v0, v1]), u32::from_le_bytes([l0, l1, l2, l3]) as usize) {
            (UNNAMED | COPY_VERSION, given) if LENGTHS.contains(&given) => {
                Ok(COPY_PREAMBLE + given)
            }
            (UNNAMED | COPY_VERSION, given) => Err(CopyError::HeaderLength { given }),
            (found, _) => Err(CopyError::UnknownVersion { found }),
        }
    }

    /// Opens a header, all of it.
    pub fn open(identity: &Identity, bytes: &[u8]) -> Result<Self, CopyError> {
        let given = bytes.len();
        let preamble: &[u8; COPY_PREAMBLE] =
            bytes.first_chunk().ok_or(CopyError::HeaderLength { given })?;
        if Self::length(preamble)? != given {
            return Err(CopyError::HeaderLength { given });
        }
        let (before, envelope) = bytes.split_at(COPY_PREAMBLE + LABEL);
        let (transfer, size) = before[COPY_PREAMBLE..].split_at(24);
        let transfer =
            TransferId::from_bytes(transfer.try_into().expect("a label has 24 bytes of it"));
        let piece_size = u32::from_le_bytes(size.try_into().expect("the label ends with 4 bytes"));
        let (author, inside) = envelope::open(identity, before, envelope)?;
        if author != identity.peer() {
            return Err(CopyError::OtherAuthor { author, us: identity.peer() });
        }
        check(piece_size)?;
        let Letter { key, content } = codec::decode(&Zeroizing::new(inside))?;
        let key = TransferKey::from_bytes(*key.expose());
        let suite = match *preamble {
            [_, _, _, _, _, _, _, _, v0, v1, ..] if u16::from_le_bytes([v0, v1]) == UNNAMED => {
                Suite::XSALSA20_POLY1305
            }
            [_, _, _, _, _, _, _, _, _, _, s0, s1, ..] => Suite(u16::from_le_bytes([s0, s1])),
        };
        Ok(Self { owner: author, transfer, suite, piece_size, key, content, bytes: bytes.to_vec() })
    }

    /// The bytes of the file before its first piece.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the description of the content, as it was known when the copy was begun.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Bytes of content in each piece but the last.
    pub fn piece_size(&self) -> usize {
        self.piece_size as usize
    }

    /// Returns the key that seals the pieces.
    pub fn key(&self) -> &TransferKey {
        &self.key
    }

    /// Returns the inputs of the copy's keys, besides the transfer key.
    pub fn scope(&self) -> KeyScope {
        let Self { transfer, suite, owner, piece_size, .. } = *self;
        KeyScope {
            transfer,
            attempt: 0,
            suite,
            sender: owner,
            receiver: owner,
            chunk_size: piece_size,
        }
    }

    /// Returns a value that tells this copy from any other: no two have the same envelope.
    pub fn identity(&self) -> [u8; 32] {
        blake3::derive_key(IDENTITY_CONTEXT, &self.bytes)
    }
}

impl fmt::Debug for CopyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transfer, suite, piece_size, content, .. } = self;
        f.debug_struct("CopyHeader")
            .field("transfer", transfer)
            .field("suite", suite)
            .field("piece_size", piece_size)
            .field("content", content)
            .finish_non_exhaustive()
    }
}

fn check(given: u32) -> Result<(), CopyError> {
    let fits = given.is_power_of_two() && PIECE_SIZES.contains(&given);
    if fits { Ok(()) } else { Err(CopyError::PieceSize { given }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;
    use crate::wire::{ContentKind, ContentName};

    const ID: TransferId = TransferId::from_bytes([3; 24]);

    fn header(identity: &Identity) -> CopyHeader {
        sealed_with(identity, Suite::XSALSA20_POLY1305)
    }

    fn sealed_with(identity: &Identity, suite: Suite) -> CopyHeader {
        let content =
            Content::new(ContentKind::Bytes, ContentName::new("letter").unwrap(), Some(7));
        CopyHeader::seal(identity, ID, suite, 1 << 10, content).unwrap()
    }

    #[test]
    fn who_made_a_copy_opens_it_and_nobody_else() {
        let us = Identity::from_secret([1; 32]);
        let made = header(&us);
        let bytes = made.as_bytes();
        assert_eq!(CopyHeader::length(bytes.first_chunk().unwrap()), Ok(bytes.len()));
        let opened = CopyHeader::open(&us, bytes).unwrap();
        assert_eq!(
            (opened.content(), opened.piece_size(), opened.scope()),
            (made.content(), 1 << 10, made.scope())
        );
        assert_eq!(
            (opened.key().as_bytes(), opened.identity()),
            (made.key().as_bytes(), made.identity())
        );
        assert_ne!(header(&us).identity(), made.identity(), "each has a key of its own");
        let other = Identity::from_secret([2; 32]);
        assert!(matches!(
            CopyHeader::open(&other, bytes),
            Err(CopyError::Envelope(EnvelopeError::NotAuthentic))
        ));
        // Somebody who knows only our public key makes one for us.
        let foreign = {
            let before = &bytes[..COPY_PREAMBLE + LABEL];
            let letter = codec::encode(&Letter {
                key: SecretBytes::new([9; 32]),
                content: made.content().clone(),
            })
            .unwrap();
            [before, &envelope::seal(&other, us.peer(), before, &letter).unwrap()].concat()
        };
        assert_eq!(
            CopyHeader::open(&us, &foreign).unwrap_err(),
            CopyError::OtherAuthor { author: other.peer(), us: us.peer() }
        );
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let us = Identity::from_secret([1; 32]);
        let bytes = header(&us).as_bytes().to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(CopyHeader::open(&us, &changed).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(CopyHeader::open(&us, &bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn the_bytes_before_the_envelope_are_those_of_the_format() {
        let bytes = header(&Identity::from_secret([1; 32])).as_bytes().to_vec();
        let length = (bytes.len() - COPY_PREAMBLE) as u32;
        let expected =
            [&b"estafcpy\x01\0\0\0"[..], &length.to_le_bytes(), &[3; 24], &[0, 4, 0, 0]].concat();
        assert_eq!(bytes[..COPY_PREAMBLE + LABEL], expected);
        let mut later = bytes;
        later[8] = 3;
        assert_eq!(
            CopyHeader::length(later.first_chunk().unwrap()),
            Err(CopyError::UnknownVersion { found: 3 })
        );
    }

    #[test]
    fn a_copy_names_the_suite_it_is_sealed_with_unless_every_node_has_it() {
        let us = Identity::from_secret([1; 32]);
        for (suite, front) in [(1, &b"estafcpy\x01\0\0\0"[..]), (2, b"estafcpy\x02\0\x02\0")] {
            let made = sealed_with(&us, Suite(suite));
            assert_eq!(&made.as_bytes()[..12], front);
            let opened = CopyHeader::open(&us, made.as_bytes()).unwrap();
            assert_eq!((opened.scope().suite, opened.scope()), (Suite(suite), made.scope()));
        }
        // Said to be sealed with another suite: the envelope vouches for the suite, too.
        let mut other = sealed_with(&us, Suite(2)).as_bytes().to_vec();
        other[10] = 3;
        assert!(CopyHeader::open(&us, &other).is_err());
    }

    #[test]
    fn a_piece_size_that_is_none_is_refused() {
        let us = Identity::from_secret([1; 32]);
        let content = header(&us).content().clone();
        for given in [0, 1000, 512, 8 << 20] {
            assert_eq!(
                CopyHeader::seal(&us, ID, Suite(1), given, content.clone()).unwrap_err(),
                CopyError::PieceSize { given }
            );
        }
    }
}
