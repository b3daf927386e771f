//! Content as one file that only its receiver opens: what an outbox or a relay keeps until it can
//! be delivered.
//!
//! ```text
//!  0          8       10     12           16
//!  ├ "estafpkg"┼ ver 2 ┼ zero ┼ length u32 ┼ label │ envelope … length bytes ┼ checksum 8 ┤
//!  ├ frame header 24 ┼ box … ┼ checksum 8 ┤   for each chunk, from index 0 on
//!  ├ frame header 24 ┼ box … ┼ checksum 8 ┤   the trailer, flagged as the last; nothing follows
//! ```
//! Little-endian; `docs/package-format.md` has the details. The label tells a carrier whom it is
//! for; the envelope, which vouches for the label, holds the key and what is inside. Checksums find
//! rot, not malice: tags, the envelope and the digest find that.
//!
//! Invariant: a header that was decoded is bounded and whole, and a frame that was
//! [taken](Frames::take) is the next one of a sequence without a hole.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

use super::bounded::{Name, Names};
use super::codec::{self, CodecError};
use super::envelope::{self, EnvelopeError};
use super::opening::{INBOX_LIMIT, STAGE_NAME_LIMIT, STAGES_LIMIT};
use super::{
    FEATURE_DESCRIPTIONS, FrameError, FrameHeader, FrameKind, HEADER_LENGTH, Identity, PeerId,
    SecretBytes, Suite, growth_limit,
};
use crate::wire::{Content, KeyScope, TransferId, TransferKey};

/// The version of the format that is written for what every release reads.
const PLAIN: u16 = 1;
/// The version whose letter tells of holes, or has the attributes of a file.
const DESCRIBED: u16 = 2;
/// The latest version of the format: its letter says what was left behind of a file. Each is
/// written only where one before it could not tell all.
pub const PACKAGE_VERSION: u16 = 3;
/// Bytes before the header: magic, version, length.
pub const PACKAGE_PREAMBLE: usize = 16;
/// The most bytes of a header, without preamble and checksum.
pub const PACKAGE_HEADER_LIMIT: usize = 64 << 10;
/// Bytes of a checksum.
pub const CHECKSUM_LENGTH: usize = 8;

const MAGIC: [u8; 8] = *b"estafpkg";
const CHUNK_SIZES: RangeInclusive<u32> = 1 << 10..=4 << 20;
/// The bytes that a box adds to a chunk, and the stream that all frames name: those of
/// `Transfer::OVERHEAD` and `Transfer::BARE_STREAM`.
const OVERHEAD: u32 = 32;
const STREAM: u64 = 1;

const HEADER_CONTEXT: &str = "estafette 2026-11 v1 package header checksum";
const FRAME_CONTEXT: &str = "estafette 2026-11 v1 package frame checksum";
const IDENTITY_CONTEXT: &str = "estafette 2026-11 v1 package identity";

/// The part of a package's header that anybody who carries the package may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageLabel {
    /// The sender, who made it.
    pub sender: PeerId,
    /// The receiver, who alone opens it.
    pub receiver: PeerId,
    /// The delivery that is inside.
    pub transfer: TransferId,
    /// The time when it was made, in seconds since the Unix epoch.
    pub created: u64,
    /// The time of its expiry, in seconds since the Unix epoch.
    pub expires: u64,
    /// Bytes of a chunk before it is compressed: a power of two from 1 KiB to 4 MiB.
    pub chunk_size: u32,
    /// The suite chunks are sealed with.
    pub suite: Suite,
    /// The stages the chunks passed, in order: at most 8 names of 64 bytes.
    #[serde(with = "Names::<STAGES_LIMIT, STAGE_NAME_LIMIT>")]
    pub stages: Vec<String>,
}

/// The content of the envelope, for the receiver's eyes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The transfer key.
    pub key: SecretBytes,
    /// The commitment to it.
    pub commit: [u8; 32],
    /// The inbox it is for, at most 128 bytes.
    #[serde(with = "Name::<INBOX_LIMIT>")]
    pub inbox: String,
    /// The description of the content.
    pub content: Content,
    /// A value that tells the content from any other, where its source could tell.
    pub version: Option<[u8; 32]>,
    /// The token of a ticket to redeem.
    pub token: Option<SecretBytes>,
}

/// Everything before the first frame.
#[derive(Clone, PartialEq, Eq)]
pub struct PackageHeader {
    version: u16,
    label: PackageLabel,
    envelope: Vec<u8>,
    bytes: Vec<u8>,
}

/// Checks frame after frame of a package.
#[derive(Clone, Debug)]
pub struct Frames {
    transfer: TransferId,
    limit: u32,
    next: u64,
    ended: bool,
}

/// An error of making, reading or opening a package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// Other bytes at the front.
    #[error("it does not begin as a package does")]
    NotAPackage,
    /// A version this release does not read.
    #[error(
        "it is a package of version {found}, and this release reads versions {PLAIN} to \
         {PACKAGE_VERSION}: use the release that wrote it, or a later one"
    )]
    UnknownVersion {
        /// The version found.
        found: u16,
    },
    /// A header above its limit.
    #[error("its header claims {given} bytes, {PACKAGE_HEADER_LIMIT} are allowed")]
    HeaderLength {
        /// Bytes claimed, or needed.
        given: usize,
    },
    /// Fewer or more bytes than it says itself.
    #[error("it has {given} bytes where {wanted} belong")]
    Cut {
        /// Bytes given.
        given: usize,
        /// Bytes wanted.
        wanted: usize,
    },
    /// The header rotted.
    #[error("the checksum of its header does not agree")]
    HeaderChecksum,
    /// The header or the letter is whole and makes no sense.
    #[error("what is in it can't be read: {0}")]
    Malformed(#[from] CodecError),
    /// A chunk size outside of the allowed ones.
    #[error("a chunk size of {given} is not a power of two from 1 KiB to 4 MiB")]
    ChunkSize {
        /// The size found.
        given: u32,
    },
    /// A frame's header is wrong.
    #[error("the header of frame {index} is wrong: {error}")]
    Frame {
        /// The index that is due.
        index: u64,
        /// The cause.
        error: FrameError,
    },
    /// The frame rotted.
    #[error("the checksum of frame {index} does not agree")]
    FrameChecksum {
        /// The index that is due.
        index: u64,
    },
    /// Another frame than the next one.
    #[error("frame {index} was due, and {found} stands there")]
    OtherFrame {
        /// The index that is due.
        index: u64,
        /// A description of what stands there.
        found: String,
    },
    /// Something follows the trailer.
    #[error("something follows its last frame")]
    BehindTheEnd,
    /// The envelope does not open, or could not be made.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// It is somebody else's.
    #[error("it is for {receiver}, and this node is {us}")]
    OtherReceiver {
        /// Whom it is for.
        receiver: PeerId,
        /// The node that tried to open it.
        us: PeerId,
    },
    /// The one who made the envelope is not the one on the label.
    #[error("its label says it is from {label}, and its envelope was made by {envelope}")]
    OtherSender {
        /// The sender on the label.
        label: PeerId,
        /// The authenticated one.
        envelope: PeerId,
    },
    /// The key is not the one committed to.
    #[error("the key in it is not the one committed to")]
    Commitment,
}

impl PackageLabel {
    /// Returns the inputs of the package's keys, besides the transfer key.
    pub fn scope(&self) -> KeyScope {
        let Self { transfer, suite, sender, receiver, chunk_size, .. } = *self;
        KeyScope { transfer, attempt: 0, suite, sender, receiver, chunk_size }
    }

    fn check(&self) -> Result<(), PackageError> {
        let fits = self.chunk_size.is_power_of_two() && CHUNK_SIZES.contains(&self.chunk_size);
        if fits { Ok(()) } else { Err(PackageError::ChunkSize { given: self.chunk_size }) }
    }
}

impl Letter {
    /// A letter with this key, and the commitment to it for chunks under `suite`.
    pub fn new(key: &TransferKey, suite: Suite, inbox: String, content: Content) -> Self {
        let commit = key.commitment(suite);
        Self {
            key: SecretBytes::new(*key.as_bytes()),
            commit,
            inbox,
            content,
            version: None,
            token: None,
        }
    }
}

impl PackageHeader {
    /// The header of a package that `identity`, who must be the sender on the label, makes for the
    /// receiver on it.
    pub fn seal(
        identity: &Identity,
        label: PackageLabel,
        letter: &Letter,
    ) -> Result<Self, PackageError> {
        label.check()?;
        if label.sender != identity.peer() {
            return Err(PackageError::OtherSender {
                label: label.sender,
                envelope: identity.peer(),
            });
        }
        let version = match letter.content.needs() {
            0 => PLAIN,
            FEATURE_DESCRIPTIONS => DESCRIBED,
            _ => PACKAGE_VERSION,
        };
        let letter = Zeroizing::new(codec::encode(letter)?);
        let prologue = prologue(version, &label)?;
        let envelope = envelope::seal(identity, label.receiver, &prologue, &letter)?;
        let header = codec::encode(&(&label, ByteBuf::from(envelope.clone())))?;
        if header.len() > PACKAGE_HEADER_LIMIT {
            return Err(PackageError::HeaderLength { given: header.len() });
        }
        let length = (header.len() as u32).to_le_bytes();
        let mut bytes = [&beginning(version)[..], &length, &header].concat();
        bytes.extend(checksum(HEADER_CONTEXT, &[&bytes]));
        Ok(Self { version, label, envelope, bytes })
    }

    /// Returns the length of the header in bytes, from its first byte to the end of its checksum.
    /// Its first bytes tell it.
    pub fn length(preamble: &[u8; PACKAGE_PREAMBLE]) -> Result<usize, PackageError> {
        let &[magic @ .., v0, v1, z0, z1, l0, l1, l2, l3] = preamble;
        if magic != MAGIC {
            return Err(PackageError::NotAPackage);
        }
        let found = u16::from_le_bytes([v0, v1]);
        let known = (PLAIN..=PACKAGE_VERSION).contains(&found);
        if !known || (z0, z1) != (0, 0) {
            return Err(if known {
                PackageError::HeaderChecksum
            } else {
                PackageError::UnknownVersion { found }
            });
        }
        match u32::from_le_bytes([l0, l1, l2, l3]) as usize {
            given @ 0..=PACKAGE_HEADER_LIMIT => Ok(PACKAGE_PREAMBLE + given + CHECKSUM_LENGTH),
            given => Err(PackageError::HeaderLength { given }),
        }
    }

    /// Reads a header, all of it.
    pub fn decode(bytes: &[u8]) -> Result<Self, PackageError> {
        let given = bytes.len();
        let preamble =
            bytes.first_chunk().ok_or(PackageError::Cut { given, wanted: PACKAGE_PREAMBLE })?;
        let wanted = Self::length(preamble)?;
        if given != wanted {
            return Err(PackageError::Cut { given, wanted });
        }
        let (covered, sum) = bytes.split_at(wanted - CHECKSUM_LENGTH);
        if checksum(HEADER_CONTEXT, &[covered]) != sum {
            return Err(PackageError::HeaderChecksum);
        }
        let (label, envelope): (PackageLabel, ByteBuf) =
            codec::decode(&covered[PACKAGE_PREAMBLE..])?;
        label.check()?;
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        Ok(Self { version, label, envelope: envelope.into_vec(), bytes: bytes.to_vec() })
    }

    /// Returns the label, which stands in the clear.
    pub fn label(&self) -> &PackageLabel {
        &self.label
    }

    /// The bytes of the file before its first frame.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns a value that tells this package from any other: no two have the same envelope.
    pub fn identity(&self) -> [u8; 32] {
        blake3::derive_key(IDENTITY_CONTEXT, &self.bytes)
    }

    /// Opens the envelope: the label is true, and the letter from the sender that stands on it.
    pub fn open(&self, identity: &Identity) -> Result<Letter, PackageError> {
        let PackageLabel { sender, receiver, .. } = self.label;
        if receiver != identity.peer() {
            return Err(PackageError::OtherReceiver { receiver, us: identity.peer() });
        }
        let prologue = prologue(self.version, &self.label)?;
        let (author, letter) = envelope::open(identity, &prologue, &self.envelope)?;
        let letter: Letter = codec::decode(&Zeroizing::new(letter))?;
        if author != sender {
            return Err(PackageError::OtherSender { label: sender, envelope: author });
        }
        if TransferKey::from_bytes(*letter.key.expose()).commitment(self.label.suite)
            != letter.commit
        {
            return Err(PackageError::Commitment);
        }
        Ok(letter)
    }
}

impl fmt::Debug for PackageHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackageHeader").field("label", &self.label).finish_non_exhaustive()
    }
}

impl Frames {
    /// The frames of the package with this label.
    pub fn new(label: &PackageLabel) -> Self {
        // Who carries it does not know the stages, nor by how much they make its chunks longer.
        let growth = if label.stages.is_empty() { 0 } else { growth_limit(label.chunk_size) };
        Self {
            transfer: label.transfer,
            limit: label.chunk_size + growth + OVERHEAD,
            next: 0,
            ended: false,
        }
    }

    /// Returns the length of the next frame in bytes, its checksum included. The frame's header
    /// tells it.
    pub fn length(&self, header: &[u8; HEADER_LENGTH]) -> Result<usize, PackageError> {
        self.header(header).map(|header| HEADER_LENGTH + header.len as usize + CHECKSUM_LENGTH)
    }

    /// The next frame, when `record` is that and its checksum.
    pub fn take<'a>(&mut self, record: &'a [u8]) -> Result<&'a [u8], PackageError> {
        let Some((frame, sum)) = record.split_last_chunk::<CHECKSUM_LENGTH>() else {
            return Err(PackageError::Cut {
                given: record.len(),
                wanted: HEADER_LENGTH + CHECKSUM_LENGTH,
            });
        };
        let header = self.whole(frame)?;
        if self.checksum(frame) != *sum {
            return Err(PackageError::FrameChecksum { index: self.next });
        }
        self.advance(header);
        Ok(frame)
    }

    /// The checksum to write behind `frame`, when that is the next one.
    pub fn append(&mut self, frame: &[u8]) -> Result<[u8; CHECKSUM_LENGTH], PackageError> {
        let header = self.whole(frame)?;
        self.advance(header);
        Ok(self.checksum(frame))
    }

    fn checksum(&self, frame: &[u8]) -> [u8; CHECKSUM_LENGTH] {
        checksum(FRAME_CONTEXT, &[self.transfer.as_bytes(), frame])
    }

    /// The index that is due: for the trailer, the number of chunks.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Returns whether the last frame was taken.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    fn advance(&mut self, header: FrameHeader) {
        self.ended = header.is_last();
        self.next += 1;
    }

    fn whole(&self, frame: &[u8]) -> Result<FrameHeader, PackageError> {
        let given = frame.len();
        let header =
            frame.first_chunk().ok_or(PackageError::Cut { given, wanted: HEADER_LENGTH })?;
        let header = self.header(header)?;
        let wanted = HEADER_LENGTH + header.len as usize;
        if given == wanted { Ok(header) } else { Err(PackageError::Cut { given, wanted }) }
    }

    fn header(&self, bytes: &[u8; HEADER_LENGTH]) -> Result<FrameHeader, PackageError> {
        let index = self.next;
        if self.ended {
            return Err(PackageError::BehindTheEnd);
        }
        let header = FrameHeader::decode(bytes, self.limit)
            .map_err(|error| PackageError::Frame { index, error })?;
        let other = |found| Err(PackageError::OtherFrame { index, found });
        match header.kind {
            FrameKind::Chunk if header.stream != STREAM => {
                other(format!("one of stream {}", header.stream))
            }
            FrameKind::Chunk if header.index != index => other(format!("frame {}", header.index)),
            FrameKind::Chunk => Ok(header),
            FrameKind::Control => other("a control frame".into()),
        }
    }
}

fn beginning(version: u16) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&version.to_le_bytes());
    bytes
}

/// Returns what the envelope vouches for: the version and the label.
fn prologue(version: u16, label: &PackageLabel) -> Result<Vec<u8>, CodecError> {
    Ok([&beginning(version)[..], &codec::encode(label)?].concat())
}

fn checksum(context: &str, parts: &[&[u8]]) -> [u8; CHECKSUM_LENGTH] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    let mut sum = [0; CHECKSUM_LENGTH];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

#[cfg(test)]
#[path = "package_tests.rs"]
mod tests;
