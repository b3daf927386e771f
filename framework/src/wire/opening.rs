//! The opening of a transfer: everything that the receiver must know before the first chunk.
//!
//! Invariant: what decodes is bounded. Whether it makes sense (sizes, times, suite, inbox) is for
//! the receiver to answer per transfer, so that one bad opening does not close the link.

use serde::{Deserialize, Serialize};

use super::bounded::{Name, Names};
use super::{SecretBytes, Suite};
use crate::wire::{Content, TransferId};

/// The most stages an opening names.
pub(crate) const STAGES_LIMIT: usize = 8;
/// The most bytes of a stage's name.
pub(super) const STAGE_NAME_LIMIT: usize = 64;
/// The most bytes of an inbox's name.
pub(super) const INBOX_LIMIT: usize = 128;

/// The beginning of the name of a codec, where the last of the stages is one.
const CODEC: &str = "codec:";

/// The coders among the stages that an opening or a label names, and the codec behind them by its
/// name. Where none is named it is snappy, or chunks go raw.
pub fn split_codec(stages: &[String]) -> (&[String], Option<&str>) {
    match stages.split_last().and_then(|(last, coders)| Some((coders, last.strip_prefix(CODEC)?))) {
        Some((coders, codec)) => (coders, Some(codec)),
        None => (stages, None),
    }
}

/// The stages that an opening or a label names for these coders and this codec.
pub fn join_codec(coders: &[String], codec: Option<&str>) -> Vec<String> {
    coders.iter().cloned().chain(codec.map(|name| format!("{CODEC}{name}"))).collect()
}

/// The opening of an attempt at a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The stream its frames will name: even from the node with the lower id, odd from the other.
    pub stream: u64,
    /// The id of the transfer.
    pub transfer: TransferId,
    /// The number of the attempt, from 0.
    pub attempt: u32,
    /// The transfer key of this attempt.
    pub key: SecretBytes,
    /// The commitment to the key, checked before anything is opened with it.
    pub commit: [u8; 32],
    /// The inbox it is for, at most 128 bytes.
    #[serde(with = "Name::<INBOX_LIMIT>")]
    pub inbox: String,
    /// The description of the content.
    pub content: Content,
    /// Bytes of a chunk before it is compressed; a power of two, at least 1024.
    pub chunk_size: u32,
    /// The suite chunks are sealed with.
    pub suite: Suite,
    /// The stages the chunks passed, in order, whose inverses the receiver runs: at most 8 names
    /// of 64 bytes. A codec that not every node has is the last one: [`split_codec`].
    #[serde(with = "Names::<STAGES_LIMIT, STAGE_NAME_LIMIT>")]
    pub stages: Vec<String>,
    /// A value that tells this content from any other. An attempt at the same transfer and version
    /// may go on where an earlier one stood.
    pub version: Option<[u8; 32]>,
    /// The time when the transfer was made, in seconds since the Unix epoch, by the sender's
    /// clock. Nothing is decided by it.
    pub created: u64,
    /// The time of its expiry, in seconds since the Unix epoch, by the sender's clock. Nothing is
    /// decided by it.
    pub expires: u64,
    /// The seconds, from this offer on, for which the content is worth delivering.
    pub remaining: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_is_named_behind_the_coders_and_nowhere_else() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (coders, codec, stages) in [
            (&[][..], None, &[][..]),
            (&["a", "b"], None, &["a", "b"]),
            (&[], Some("lz4"), &["codec:lz4"]),
            (&["codec:x", "a"], Some("lz4"), &["codec:x", "a", "codec:lz4"]),
        ] {
            let (coders, stages) = (names(coders), names(stages));
            assert_eq!(join_codec(&coders, codec), stages);
            assert_eq!(split_codec(&stages), (&coders[..], codec));
        }
    }
}
