//! The first bytes in the clear: which versions each side speaks, and what the connection is for.
//!
//! ```text
//!  initiator, 60 bytes   "ESTF" │ min u16 │ max u16 │ purpose u8 │ 0 0 0 │ lane id, 16 bytes (zeros for a link) │ nonce, 16 bytes │ MAC, 16 bytes
//!  responder, 28 bytes   "ESTF" │ status u8 │ 0 │ min u16 │ max u16 │ chosen u16 │ nonce, 16 bytes
//! ```
//! Little-endian; the MAC is [`KnockKey`]'s. Both messages look like this in every version, so that
//! versions can be compared.
//!
//! Invariants: who does not know the responder's key reads no byte of it. Nothing read here is
//! believed until the handshake, whose prologue both messages form, has verified it; the nonces
//! make each prologue, and so each handshake, another one.

use std::fmt;

use super::KnockKey;
use super::knock::{KNOCK_LENGTH, nonce};

/// The lowest version of the wire this build speaks.
pub(crate) const VERSION_MIN: u16 = 1;
/// The highest version of the wire this build speaks.
pub(crate) const VERSION_MAX: u16 = 1;
/// Bytes of the initiator's preamble.
pub const PREAMBLE_LENGTH: usize = CONTENT_LENGTH + KNOCK_LENGTH;
/// Bytes of the responder's reply.
pub const REPLY_LENGTH: usize = 28;
/// Bytes of the initiator's preamble without its MAC.
const CONTENT_LENGTH: usize = 44;

/// A range of versions, both ends included; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    min: u16,
    max: u16,
}

/// The first message of the initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The versions it speaks.
    pub versions: VersionRange,
    /// The purpose for which it opened the connection.
    pub purpose: Purpose,
    /// Drawn for this connection: what is said to one node twice does not look alike.
    pub nonce: [u8; 16],
}

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A new link, on its express lane.
    Link,
    /// A bulk lane of a link that stands, under the id of its `LaneTicket`.
    Lane([u8; 16]),
}

/// The answer of the responder to a preamble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreambleReply {
    /// The versions it speaks.
    pub versions: VersionRange,
    /// The decision to go on or not, and the version if it goes on.
    pub answer: Answer,
    /// Drawn for this connection: what was said on another one fits this one no more.
    pub nonce: [u8; 16],
}

/// The responder's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The handshake follows, in this version.
    Chosen(u16),
    /// No version in common.
    VersionUnsupported,
    /// Too many handshakes are under way.
    Busy,
    /// No ticket with this lane id is open.
    UnknownLane,
}

/// An error of exchanging preambles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreambleError {
    /// Something else than estafette is at the other end.
    #[error(
        "the other side does not speak estafette: it began with {}; check the address and the port",
        shown(found)
    )]
    Magic {
        /// The four bytes in place of the magic.
        found: [u8; 4],
    },
    /// A stranger: it does not know this node's key, or is no node at all.
    #[error(
        "the other side does not know this node's key, or does not speak estafette: it began with \
         {}. It was given another id, its release is too old, or it looks for open ports; it was \
         told nothing",
        shown(found)
    )]
    Stranger {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// A range whose least is above its highest.
    #[error(
        "the other side says that it speaks the versions {min} to {max}, which is no range: it is \
         no node, or sends back what it is sent"
    )]
    EmptyRange {
        /// The lower end.
        min: u16,
        /// The upper end.
        max: u16,
    },
    /// A purpose this version does not know.
    #[error("the purpose {found} of a connection is unknown: 0 is a link, 1 a lane")]
    Purpose {
        /// The byte found.
        found: u8,
    },
    /// A status this version does not know.
    #[error("the status {found} of a reply is unknown: 0 to 3 are known")]
    Status {
        /// The byte found.
        found: u8,
    },
    /// Bytes that must be zero are not.
    #[error("reserved bytes of the preamble are not zero")]
    Reserved,
    /// No version in common.
    #[error("no common version: this side speaks {ours}, the other {theirs}; update the older one")]
    NoCommonVersion {
        /// The versions that this side speaks.
        ours: VersionRange,
        /// The versions that the other side speaks.
        theirs: VersionRange,
    },
    /// The other side chose a version outside one of the ranges.
    #[error(
        "the other side chose version {chosen}, but this side speaks {ours} and the other {theirs}"
    )]
    ChosenOutside {
        /// The version chosen.
        chosen: u16,
        /// The versions that this side speaks.
        ours: VersionRange,
        /// The versions that the other side speaks.
        theirs: VersionRange,
    },
    /// The responder has too many handshakes under way.
    #[error("the responder has too many handshakes under way: try again later")]
    Busy,
    /// The responder has no open ticket with this lane id.
    #[error(
        "the responder does not know this lane: its ticket was used or has expired; ask for a new \
         one"
    )]
    UnknownLane,
}

/// Four bytes as a person knows them: as text, where they are some.
fn shown(found: &[u8; 4]) -> String {
    match std::str::from_utf8(found) {
        Ok(text) if found.iter().all(|byte| matches!(byte, b' '..=b'~')) => format!("{text:?}"),
        _ => format!("{found:02x?}"),
    }
}

/// The answer to a preamble as far as versions go: the highest one in common. Whether there is
/// room, and whether a lane is known, is the caller's to say with another [`Answer`].
pub fn negotiate(theirs: &Preamble) -> PreambleReply {
    let ours = VersionRange::OURS;
    let chosen = ours.max.min(theirs.versions.max);
    let answer = if ours.contains(chosen) && theirs.versions.contains(chosen) {
        Answer::Chosen(chosen)
    } else {
        Answer::VersionUnsupported
    };
    PreambleReply { versions: ours, answer, nonce: nonce() }
}

/// The Noise prologue: both messages, as they went over the wire, but for the MAC.
pub fn prologue(preamble: &Preamble, reply: &PreambleReply) -> [u8; CONTENT_LENGTH + REPLY_LENGTH] {
    let mut bytes = [0; CONTENT_LENGTH + REPLY_LENGTH];
    bytes[..CONTENT_LENGTH].copy_from_slice(&preamble.content());
    bytes[CONTENT_LENGTH..].copy_from_slice(&reply.encode());
    bytes
}

impl VersionRange {
    /// The versions that this build speaks.
    pub const OURS: Self = Self { min: VERSION_MIN, max: VERSION_MAX };

    /// The versions `min` to `max`.
    pub const fn new(min: u16, max: u16) -> Result<Self, PreambleError> {
        if min > max { Err(PreambleError::EmptyRange { min, max }) } else { Ok(Self { min, max }) }
    }

    /// The lowest version.
    pub const fn min(&self) -> u16 {
        self.min
    }

    /// The highest version.
    pub const fn max(&self) -> u16 {
        self.max
    }

    /// Returns whether `version` is one of them.
    pub const fn contains(&self, version: u16) -> bool {
        self.min <= version && version <= self.max
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "version {}", self.min)
        } else {
            write!(f, "versions {} to {}", self.min, self.max)
        }
    }
}

impl Preamble {
    /// The preamble of this build for one connection with this purpose.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    pub fn new(purpose: Purpose) -> Self {
        Self { versions: VersionRange::OURS, purpose, nonce: nonce() }
    }

    /// The bytes for the wire; `key` is that of the node they are for.
    pub fn encode(&self, key: &KnockKey) -> [u8; PREAMBLE_LENGTH] {
        let (mut bytes, content) = ([0; PREAMBLE_LENGTH], self.content());
        bytes[..CONTENT_LENGTH].copy_from_slice(&content);
        bytes[CONTENT_LENGTH..].copy_from_slice(&key.of_preamble(&content));
        bytes
    }

    fn content(&self) -> [u8; CONTENT_LENGTH] {
        let mut bytes = [0; CONTENT_LENGTH];
        bytes[..4].copy_from_slice(MAGIC);
        put(&mut bytes, 4, self.versions.min);
        put(&mut bytes, 6, self.versions.max);
        if let Purpose::Lane(id) = self.purpose {
            bytes[8] = PURPOSE_LANE;
            bytes[12..28].copy_from_slice(&id);
        }
        bytes[28..].copy_from_slice(&self.nonce);
        bytes
    }

    /// Reads the initiator's bytes; `key` is that of this node.
    ///
    /// # Errors
    /// [`PreambleError::Stranger`] gets no answer, not even that of an end with a reason.
    pub fn decode(bytes: &[u8; PREAMBLE_LENGTH], key: &KnockKey) -> Result<Self, PreambleError> {
        let (content, mac) = bytes.split_last_chunk().expect("60 bytes hold 16");
        if !key.fits_preamble(content, mac) {
            return Err(PreambleError::Stranger {
                found: *bytes.first_chunk().expect("60 bytes hold four"),
            });
        }
        check_magic(content)?;
        let versions = VersionRange::new(take(bytes, 4), take(bytes, 6))?;
        if bytes[9..12] != [0; 3] {
            return Err(PreambleError::Reserved);
        }
        let id: [u8; 16] = bytes[12..28].try_into().expect("28 - 12 = 16");
        let purpose = match bytes[8] {
            PURPOSE_LINK if id == [0; 16] => Purpose::Link,
            PURPOSE_LINK => return Err(PreambleError::Reserved),
            PURPOSE_LANE => Purpose::Lane(id),
            found => return Err(PreambleError::Purpose { found }),
        };
        Ok(Self {
            versions,
            purpose,
            nonce: bytes[28..CONTENT_LENGTH].try_into().expect("44 - 28 = 16"),
        })
    }
}

impl PreambleReply {
    /// A reply of this build that does not go on, or [`negotiate`]'s with another answer.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    pub fn new(answer: Answer) -> Self {
        Self { versions: VersionRange::OURS, answer, nonce: nonce() }
    }

    /// The bytes for the wire.
    pub fn encode(&self) -> [u8; REPLY_LENGTH] {
        let mut bytes = [0; REPLY_LENGTH];
        bytes[..4].copy_from_slice(MAGIC);
        let (status, chosen) = match self.answer {
            Answer::Chosen(chosen) => (STATUS_CHOSEN, chosen),
            Answer::VersionUnsupported => (STATUS_VERSION, 0),
            Answer::Busy => (STATUS_BUSY, 0),
            Answer::UnknownLane => (STATUS_LANE, 0),
        };
        bytes[4] = status;
        put(&mut bytes, 6, self.versions.min);
        put(&mut bytes, 8, self.versions.max);
        put(&mut bytes, 10, chosen);
        bytes[12..].copy_from_slice(&self.nonce);
        bytes
    }

    /// Reads the responder's bytes.
    pub fn decode(bytes: &[u8; REPLY_LENGTH]) -> Result<Self, PreambleError> {
        check_magic(bytes)?;
        let versions = VersionRange::new(take(bytes, 6), take(bytes, 8))?;
        let chosen = take(bytes, 10);
        let answer = match bytes[4] {
            STATUS_CHOSEN => Answer::Chosen(chosen),
            STATUS_VERSION => Answer::VersionUnsupported,
            STATUS_BUSY => Answer::Busy,
            STATUS_LANE => Answer::UnknownLane,
            found => return Err(PreambleError::Status { found }),
        };
        if bytes[5] != 0 || (chosen != 0 && answer != Answer::Chosen(chosen)) {
            return Err(PreambleError::Reserved);
        }
        Ok(Self { versions, answer, nonce: bytes[12..].try_into().expect("28 - 12 = 16") })
    }

    /// The version to go on in, for the initiator that said `ours`.
    pub fn accept(&self, ours: &Preamble) -> Result<u16, PreambleError> {
        let (ours, theirs) = (ours.versions, self.versions);
        match self.answer {
            Answer::Chosen(chosen) if ours.contains(chosen) && theirs.contains(chosen) => {
                Ok(chosen)
            }
            Answer::Chosen(chosen) => Err(PreambleError::ChosenOutside { chosen, ours, theirs }),
            Answer::VersionUnsupported => Err(PreambleError::NoCommonVersion { ours, theirs }),
            Answer::Busy => Err(PreambleError::Busy),
            Answer::UnknownLane => Err(PreambleError::UnknownLane),
        }
    }

    /// For the responder: the version to go on in, or the error to report once this reply is sent.
    pub fn outcome(&self, theirs: &Preamble) -> Result<u16, PreambleError> {
        match self.answer {
            Answer::VersionUnsupported => {
                Err(PreambleError::NoCommonVersion { ours: self.versions, theirs: theirs.versions })
            }
            _ => self.accept(theirs),
        }
    }
}

fn check_magic(bytes: &[u8]) -> Result<(), PreambleError> {
    match bytes[..4].try_into().expect("four bytes") {
        found if found != *MAGIC => Err(PreambleError::Magic { found }),
        _ => Ok(()),
    }
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

fn take(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

const MAGIC: &[u8; 4] = b"ESTF";
const PURPOSE_LINK: u8 = 0;
const PURPOSE_LANE: u8 = 1;
const STATUS_CHOSEN: u8 = 0;
const STATUS_VERSION: u8 = 1;
const STATUS_BUSY: u8 = 2;
const STATUS_LANE: u8 = 3;

#[cfg(test)]
mod tests;
