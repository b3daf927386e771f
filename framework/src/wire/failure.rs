//! The failure of a transfer, or of one chunk of it: told to the other side, and to people.
//!
//! Invariant: a failure is small whatever caused it, and printing it cannot control a terminal.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bounded::{MaybeName, Prose, cut};
use super::opening::STAGE_NAME_LIMIT;
use super::printable::printable;

/// The most bytes of a message; the rest is cut off.
const MESSAGE_LIMIT: usize = 1024;

/// A failure: its kind, its message, and the stage and the chunk it happened to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, Hash)]
pub struct Failure {
    /// The kind of the failure, by which the other side acts.
    pub kind: FailureKind,
    /// The message, for people; at most 1024 bytes go over the wire. The words may be a peer's
    /// own: [`Display`](fmt::Display) shows them so that they can't steer a terminal.
    #[serde(with = "Prose::<MESSAGE_LIMIT>")]
    pub message: String,
    /// The stage it happened in, where it was one.
    #[serde(with = "MaybeName::<STAGE_NAME_LIMIT>")]
    pub stage: Option<String>,
    /// The chunk it happened to, where it was one.
    pub index: Option<u64>,
}

/// The kind of a failure, which decides what the other side can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FailureKind {
    /// The receiver does not take it: by its inbox, its quota or its policy.
    Refused,
    /// The sender may not write to that inbox.
    Untrusted,
    /// Bytes did not verify: a tag, a commitment or the digest.
    Integrity,
    /// A disk or another device failed.
    Io,
    /// Somebody cancelled it.
    Cancelled,
    /// A stage failed or panicked.
    Stage,
    /// A side broke the protocol.
    Protocol,
    /// It was older than its expiry.
    Expired,
    /// The source changed while it was sent.
    Changed,
    /// A node was shut down; it can be resumed.
    Shutdown,
    /// The other node could not be reached.
    Unreachable,
    /// There is no room for it now: later there may be.
    Busy,
    /// It was given up after it was offered, and the receiver did not say how it ended: it may have
    /// been delivered.
    Unknown,
}

impl Failure {
    /// A failure of this kind; of `message` the first 1024 bytes are kept.
    pub fn new(kind: FailureKind, message: impl AsRef<str>) -> Self {
        Self {
            kind,
            message: cut(message.as_ref(), MESSAGE_LIMIT).to_owned(),
            stage: None,
            index: None,
        }
    }

    /// Says in which stage it happened; of the name the first 64 bytes are kept.
    #[must_use]
    pub fn in_stage(mut self, stage: impl AsRef<str>) -> Self {
        self.stage = Some(cut(stage.as_ref(), STAGE_NAME_LIMIT).to_owned());
        self
    }

    /// Says to which chunk it happened.
    #[must_use]
    pub fn at_index(mut self, index: u64) -> Self {
        self.index = Some(index);
        self
    }
}

impl FailureKind {
    /// Returns `true` if a receiver that ends a delivery so, having looked at what it has of it,
    /// does not have it. Of one that it has committed, and can't note that, it says Io; a node that
    /// stops may not wait for its sink; and a broken protocol says nothing of what came before.
    pub(crate) const fn denies(self) -> bool {
        match self {
            Self::Refused
            | Self::Integrity
            | Self::Cancelled
            | Self::Stage
            | Self::Expired
            | Self::Changed => true,
            Self::Untrusted
            | Self::Io
            | Self::Protocol
            | Self::Shutdown
            | Self::Unreachable
            | Self::Busy
            | Self::Unknown => false,
        }
    }
}

impl fmt::Display for Failure {
    /// As it may be shown on a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(stage) = &self.stage {
            write!(f, " in stage {}", printable(stage))?;
        }
        if let Some(index) = self.index {
            write!(f, " at chunk {index}")?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", printable(&self.message)) }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Untrusted => "not allowed",
            Self::Integrity => "bytes did not verify",
            Self::Io => "input or output failed",
            Self::Cancelled => "cancelled",
            Self::Stage => "a stage failed",
            Self::Protocol => "the protocol was broken",
            Self::Expired => "expired",
            Self::Changed => "the source is not what it was",
            Self::Unreachable => "unreachable",
            Self::Shutdown => "the node was shut down",
            Self::Busy => "no room now",
            Self::Unknown => "it may have been delivered",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec;

    #[test]
    fn the_bytes_are_held() {
        let failure = Failure::new(FailureKind::Stage, "no").in_stage("zip").at_index(5);
        let golden =
            b"\x05\0\0\0\x02\0\0\0\0\0\0\0no\x01\x03\0\0\0\0\0\0\0zip\x01\x05\0\0\0\0\0\0\0";
        assert_eq!(codec::encode(&failure).unwrap(), golden);
        assert_eq!(codec::decode::<Failure>(golden).unwrap(), failure);
    }

    #[test]
    fn every_kind_has_its_number() {
        use FailureKind::*;
        let kinds = [
            Refused,
            Untrusted,
            Integrity,
            Io,
            Cancelled,
            Stage,
            Protocol,
            Expired,
            Changed,
            Shutdown,
            Unreachable,
            Busy,
            Unknown,
        ];
        for (number, kind) in kinds.into_iter().enumerate() {
            assert_eq!(codec::encode(&kind).unwrap(), (number as u32).to_le_bytes());
        }
        assert!(codec::decode::<FailureKind>(&13_u32.to_le_bytes()).is_err());
    }

    #[test]
    fn only_what_says_that_it_was_looked_for_denies() {
        use FailureKind::*;
        let denies = [Refused, Integrity, Cancelled, Stage, Expired, Changed];
        let says_nothing = [Untrusted, Io, Protocol, Shutdown, Unreachable, Busy, Unknown];
        assert!(denies.into_iter().all(FailureKind::denies));
        assert!(!says_nothing.into_iter().any(FailureKind::denies));
    }

    #[test]
    fn a_long_message_is_cut_where_it_is_made_and_where_it_is_written() {
        let mut failure = Failure::new(FailureKind::Io, "é".repeat(1000));
        assert_eq!(failure.message.len(), 1024);
        failure.message = "x".repeat(5000);
        let read: Failure = codec::decode(&codec::encode(&failure).unwrap()).unwrap();
        assert_eq!(read.message.len(), 1024);
    }

    #[test]
    fn a_failure_reads_well_and_cannot_control_a_terminal() {
        let failure =
            Failure::new(FailureKind::Stage, "can't \u{1b}[2Jgo on").in_stage("zip").at_index(5);
        assert_eq!(
            failure.to_string(),
            r"a stage failed in stage zip at chunk 5: can't \u{1b}[2Jgo on"
        );
    }
}
