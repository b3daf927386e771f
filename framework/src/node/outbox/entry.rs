//! The outbox's record of one delivery, which outlives the process.
//!
//! Invariant: a record is durable before its delivery is said to be stored, and its next attempt
//! number before that attempt is offered, so that no two attempts of one delivery ever have the
//! same number.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::delivery::sending::ATTEMPTS_PER_TRY;
use crate::delivery::{Failure, FailureKind, Receipt, TransferId};
use crate::node::clock::Moment;
use crate::node::outbox::elsewhere::Elsewhere;
use crate::node::outbox::schedule::Turn;
use crate::node::pace::Pace;
use crate::pipeline::{Codec, Compression, Priority, SourceReference};
use crate::wire::{PeerId, SecretBytes, WordKind, codec};

/// The table of the spool. Keys are transfer ids: of what is kept for others, those of
/// [`carried_as`](super::carried_as).
pub(crate) const TABLE: &str = "outbox";
/// The end of the name of a copy that was made in parts: a folder, by whoever made it.
pub(crate) const PARTS: &str = ".parts";
/// The file in such a folder without which it is nobody's.
pub(crate) const NOTE: &str = "note";

/// A delivery in the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutboxEntry {
    /// The receiver.
    pub peer: PeerId,
    /// The relay that carries it there, if one does.
    pub via: Option<PeerId>,
    /// The node that packed it, if it is kept here for somebody else.
    pub relayed_for: Option<PeerId>,
    /// The receiver's inbox.
    pub inbox: String,
    /// The addresses at which the peer can be dialled, besides those that the trust names.
    pub addresses: Vec<String>,
    /// The token of a ticket, to come in with.
    pub(crate) token: Option<SecretBytes>,
    /// The place of the content.
    pub(crate) content: Kept,
    /// The marks by which the receiver's word about a package is recognised.
    pub(crate) expected: Option<Expected>,
    /// The content's name, printable.
    pub name: String,
    /// Bytes of content, where that is known.
    pub length: Option<u64>,
    pub(crate) chunk_size: Option<u32>,
    /// The codec of the chunks, where the delivery says so itself. Earlier builds knew raw and
    /// snappy, and wrote the same bytes for these: false and true.
    pub(crate) codec: Option<Codec>,
    pub(crate) stages: Vec<String>,
    /// The time when it was stored, in seconds since the Unix epoch. In a record, all times are by
    /// the node's own clock, which nobody puts forward or back. Times that a node lists are by its
    /// wall clock.
    pub created: u64,
    /// The time of its expiry, in seconds since the Unix epoch.
    pub expires: u64,
    /// The number of tries, the one under way included.
    pub tries: u32,
    /// The state of the delivery.
    pub state: OutboxState,
    /// The failure of the last try, if it did not deliver.
    pub last_failure: Option<Failure>,
    /// The last word about it that who packed it has heard.
    pub(crate) heard: Option<WordKind>,
    /// The id that who packed it knows it by, if it is kept here for somebody else. Not in records
    /// of earlier builds, where that is the key.
    pub(crate) packed_as: Option<TransferId>,
    /// The rate that it keeps to. Not in records of earlier builds.
    pub(crate) pace: Option<Pace>,
    /// Its priority: who goes first. Not in records of earlier builds.
    pub priority: Priority,
    /// Others than the [next hop](Self::next_hop) that may have it, too. Once there are any, and it
    /// is dead, the next hop is among them, if it may. Not in records of earlier builds.
    pub(crate) elsewhere: Option<Elsewhere>,
}

/// The place where the content of a delivery is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kept {
    /// At the place where it lay when it was stored; it is read from there.
    Reference {
        /// The reopener that understands it.
        kind: String,
        /// The data that this one needs.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// In a package in the spool's folder.
    Package {
        /// The file's name there.
        file: String,
        /// Its length.
        bytes: u64,
    },
    /// In a copy in the spool's folder, which only this node opens.
    Copy {
        /// The file's name there.
        file: String,
        /// Its length; until it is made, that of the content, as far as that is known.
        bytes: u64,
    },
}

/// The marks by which the receiver's word about a package is recognised: the key itself was
/// forgotten when it was packed.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expected {
    pub(crate) digest: [u8; 32],
    pub(crate) length: u64,
    pub(crate) delivered_mac: [u8; 32],
    pub(crate) processed_mac: [u8; 32],
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Expected {
    pub(crate) fn recognises(&self, receipt: &Receipt) -> bool {
        let same =
            blake3::Hash::from_bytes(self.delivered_mac) == blake3::Hash::from_bytes(receipt.mac);
        same && self.digest == receipt.digest && self.length == receipt.length
    }
}

/// The state of a delivery in the outbox. `Debug` does not show proofs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Hash))]
#[non_exhaustive]
pub enum OutboxState {
    /// It is stored, and goes on as soon as the receiver can be reached.
    Stored,
    /// A relay holds it durably.
    Relayed {
        /// The time when this node heard of it, in seconds since the Unix epoch.
        at: u64,
    },
    /// The receiver has verified and committed it.
    Delivered {
        /// The time when this node heard of it, in seconds since the Unix epoch.
        at: u64,
        /// The receiver's word.
        receipt: Receipt,
        /// The proof that the receiver will give of processing. Only the two ends know it.
        proof: [u8; 32],
    },
    /// The receiving application said that it is done with it.
    Processed {
        /// The time when this node heard of it, in seconds since the Unix epoch.
        at: u64,
        /// The receiver's word.
        receipt: Receipt,
        /// The proof that the receiver gave.
        proof: [u8; 32],
    },
    /// A dead letter: it will not be tried again unless somebody says so.
    Dead {
        /// The time of its death, in seconds since the Unix epoch.
        at: u64,
        /// The cause.
        failure: Failure,
    },
}

impl fmt::Debug for OutboxState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => f.write_str("Stored"),
            Self::Relayed { at } => f.debug_struct("Relayed").field("at", at).finish(),
            Self::Delivered { at, receipt, proof: _ } => f
                .debug_struct("Delivered")
                .field("at", at)
                .field("receipt", receipt)
                .finish_non_exhaustive(),
            Self::Processed { at, receipt, proof: _ } => f
                .debug_struct("Processed")
                .field("at", at)
                .field("receipt", receipt)
                .finish_non_exhaustive(),
            Self::Dead { at, failure } => {
                f.debug_struct("Dead").field("at", at).field("failure", failure).finish()
            }
        }
    }
}

impl OutboxEntry {
    /// A record: fields at the end that say nothing are not in it, so that builds which don't know
    /// them read it.
    pub(crate) fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut value = codec::encode(self).map_err(|error| {
            std::io::Error::other(format!(
                "the delivery does not fit into a record of the outbox: {error}"
            ))
        })?;
        let says = [
            self.elsewhere.is_some(),
            self.priority != Priority::default(),
            self.pace.is_some(),
            self.packed_as.is_some(),
        ];
        let lacks = says.iter().take_while(|says| !**says).count();
        value.truncate(value.len() - lacks);
        Ok(value)
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Option<(TransferId, Self)> {
        // It may end before the last field, or the last two, three or four: where they say nothing,
        // and in records of earlier builds.
        let lacks = |count| codec::decode(&[value, &[0; 4][..count]].concat()).ok();
        let entry = (0..=4).find_map(lacks)?;
        Some((TransferId::from_bytes(key.try_into().ok()?), entry))
    }

    /// The number of the first attempt of the try under way. Of one that an earlier process has
    /// stored it is none that may be the very first: this record may be a copy that was put back,
    /// which knows nothing of the tries since.
    pub(crate) fn first_attempt(&self, is_loaded: bool) -> u32 {
        let before = if is_loaded { self.tries } else { self.tries.saturating_sub(1) };
        before.saturating_mul(ATTEMPTS_PER_TRY)
    }

    /// The same, with its times as the wall clock has them at present.
    pub(crate) fn dated(&self, now: Moment) -> Self {
        let mut dated = self.clone();
        (dated.created, dated.expires) =
            (now.on_the_wall(self.created), now.on_the_wall(self.expires));
        match &mut dated.state {
            OutboxState::Stored => {}
            OutboxState::Relayed { at }
            | OutboxState::Delivered { at, .. }
            | OutboxState::Processed { at, .. }
            | OutboxState::Dead { at, .. } => *at = now.on_the_wall(*at),
        }
        dated
    }

    /// Returns its turn among those that wait for the same peer.
    pub(crate) fn turn(&self) -> Turn {
        (self.priority.rank(), self.created)
    }

    /// Returns the peer that is dialled for it.
    pub fn next_hop(&self) -> PeerId {
        self.via.unwrap_or(self.peer)
    }

    /// Bytes it takes in the spool's folder, as long as it is still to be delivered.
    pub fn bytes(&self) -> u64 {
        match &self.content {
            Kept::Package { bytes, .. } | Kept::Copy { bytes, .. } if self.is_open() => *bytes,
            _ => 0,
        }
    }

    /// Returns whether it still has to be delivered.
    pub fn is_open(&self) -> bool {
        matches!(self.state, OutboxState::Stored | OutboxState::Relayed { .. })
    }

    /// Returns `true` if it has ended, or stands, without a word of the receiver that would tell
    /// whether it was delivered.
    pub(crate) fn is_unsure(&self) -> bool {
        let unsure = |failure: &Failure| failure.kind == FailureKind::Unknown;
        matches!(&self.state, OutboxState::Dead { failure, .. } if unsure(failure))
            || self.last_failure.as_ref().is_some_and(unsure)
    }

    /// Notes that this one, whom it does not go to next, may have it.
    pub(super) fn suspect(&mut self, peer: PeerId) {
        self.elsewhere.get_or_insert_default().suspect(peer);
    }

    /// Notes that somebody may have it who can't say so any more.
    pub(super) fn suspect_for_good(&mut self) {
        self.elsewhere.get_or_insert_default().suspect_for_good();
    }

    /// This one does not have it. Returns `true` if it might have had it.
    pub(super) fn clear(&mut self, peer: PeerId) -> bool {
        let is_cleared = self.elsewhere.as_mut().is_some_and(|elsewhere| elsewhere.clear(peer));
        self.elsewhere.take_if(|elsewhere| elsewhere.is_empty());
        is_cleared
    }

    /// Returns `true` if this one may have it, by a way that it does not go now.
    pub(super) fn may_be_at(&self, peer: PeerId) -> bool {
        self.elsewhere.as_ref().is_some_and(|elsewhere| elsewhere.has(&peer))
    }

    /// Returns a reference to its source, if the content was not copied into the spool.
    pub fn reference(&self) -> Option<SourceReference> {
        match &self.content {
            Kept::Reference { kind, data } => {
                Some(SourceReference { kind: kind.clone(), data: data.clone() })
            }
            Kept::Package { .. } | Kept::Copy { .. } => None,
        }
    }

    /// The file in the spool's folder that its content was copied into, if it was.
    pub fn file(&self) -> Option<&str> {
        match &self.content {
            Kept::Package { file, .. } | Kept::Copy { file, .. } => Some(file),
            Kept::Reference { .. } => None,
        }
    }

    /// Returns `true` if it was there before this record, and is somebody else's without it.
    pub(crate) fn is_in_parts(&self) -> bool {
        self.file().is_some_and(|file| file.ends_with(PARTS))
    }

    /// Returns `true` if that file is still good for anything: a dead letter may come to life
    /// again, unless it is somebody else's.
    pub(crate) fn needs_file(&self) -> bool {
        self.is_open()
            || (matches!(self.state, OutboxState::Dead { .. }) && self.relayed_for.is_none())
    }

    /// Returns `true` if a package is sent, with the content and the receiver's word inside.
    pub(crate) fn is_package(&self) -> bool {
        matches!(self.content, Kept::Package { .. })
    }

    /// Returns `true` if it is sent from a copy of the content.
    pub(crate) fn is_copy(&self) -> bool {
        matches!(self.content, Kept::Copy { .. })
    }

    pub(crate) fn compression(&self) -> Option<Compression> {
        self.codec.map(Compression::from)
    }
}

impl From<SourceReference> for Kept {
    fn from(SourceReference { kind, data }: SourceReference) -> Self {
        Self::Reference { kind, data }
    }
}

/// Returns `true` if a record that can't be read may be about the delivery that this file is of.
pub(crate) fn may_name(record: &[u8], file: &str) -> bool {
    !file.is_empty() && record.windows(file.len()).any(|part| part == file.as_bytes())
}

/// Returns `true` if it is a record of a delivery.
pub(crate) fn is_readable(key: &[u8], value: &[u8]) -> bool {
    OutboxEntry::decode(key, value).is_some()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry() -> OutboxEntry {
        OutboxEntry {
            peer: PeerId::from_bytes([1; 32]),
            via: None,
            relayed_for: None,
            inbox: "in".into(),
            addresses: vec!["here:1".into()],
            token: None,
            content: Kept::Package { file: "a".into(), bytes: 7 },
            expected: None,
            name: "a".into(),
            length: Some(3),
            chunk_size: None,
            codec: Some(Codec::SNAPPY),
            stages: vec![],
            created: 1,
            expires: 2,
            tries: 1,
            state: OutboxState::Stored,
            last_failure: None,
            heard: None,
            packed_as: None,
            pace: None,
            priority: Priority::Normal,
            elsewhere: None,
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let entry =
            OutboxEntry { last_failure: Some(Failure::new(FailureKind::Io, "x")), ..entry() };
        let pace = Some(Pace { group: "post".into(), rate: 1 << 20 });
        let mut entry = OutboxEntry { pace, priority: Priority::Low, ..entry };
        entry.suspect(PeerId::from_bytes([8; 32]));
        let decoded = OutboxEntry::decode(&[7; 24], &entry.encode().unwrap());
        assert_eq!(decoded, Some((TransferId::from_bytes([7; 24]), entry)));
        assert_eq!(OutboxEntry::decode(&[7; 24], b"garbage"), None);
    }

    #[test]
    fn fields_at_the_end_that_say_nothing_are_not_written_and_need_not_be_there() {
        let pace = Some(Pace { group: "post".into(), rate: 1 });
        let packed_as = Some(TransferId::from_bytes([9; 24]));
        let elsewhere = Some(Elsewhere::default());
        let ends = [
            (entry(), 4),
            (OutboxEntry { packed_as, ..entry() }, 3),
            (OutboxEntry { pace, ..entry() }, 2),
            (OutboxEntry { priority: Priority::High, ..entry() }, 1),
            (OutboxEntry { elsewhere, ..entry() }, 0),
        ];
        for (entry, lacks) in ends {
            // Builds before this one wrote all fields that they knew.
            let mut written = codec::encode(&entry).unwrap();
            let read = Some((TransferId::from_bytes([7; 24]), entry.clone()));
            assert_eq!(OutboxEntry::decode(&[7; 24], &written), read);
            for _ in 0..lacks {
                assert_eq!(written.pop(), Some(0));
                assert_eq!(OutboxEntry::decode(&[7; 24], &written), read);
            }
            assert_eq!(entry.encode().unwrap(), written);
        }
    }

    #[test]
    fn what_earlier_builds_wrote_of_the_codec_is_read() {
        for (written, codec) in [(false, Codec::RAW), (true, Codec::SNAPPY)] {
            assert_eq!(
                codec::encode(&Some(written)).unwrap(),
                codec::encode(&Some(codec)).unwrap()
            );
        }
    }

    #[test]
    fn a_file_is_needed_until_its_delivery_is_over_for_good() {
        let receipt =
            Receipt { digest: [1; 32], length: 3, place: "in/a".into(), files: 1, mac: [2; 32] };
        let dead =
            || OutboxState::Dead { at: 1, failure: Failure::new(FailureKind::Refused, "no") };
        let needs = |state, relayed_for| OutboxEntry { state, relayed_for, ..entry() }.needs_file();
        let other = Some(PeerId::from_bytes([8; 32]));
        assert!(
            needs(OutboxState::Stored, None)
                && needs(OutboxState::Relayed { at: 1 }, None)
                && needs(dead(), None)
        );
        assert!(needs(OutboxState::Stored, other) && !needs(dead(), other));
        assert!(!needs(OutboxState::Delivered { at: 1, receipt, proof: [3; 32] }, None));
    }

    #[test]
    fn tries_never_share_an_attempt() {
        let first = |tries, loaded| OutboxEntry { tries, ..entry() }.first_attempt(loaded);
        assert_eq!([first(1, false), first(2, false), first(3, true)], [0, 16, 48]);
        // A later process has counted its try before.
        assert!(first(0, true) == 0 && first(1, true) > 0);
    }
}
