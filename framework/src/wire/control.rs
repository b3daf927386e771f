//! The control messages that two nodes exchange over an established link.
//!
//! Invariant: the order of the variants, and of the fields in each, is the format. A peer ends the
//! link at a variant that it does not know, and at bytes behind the last field that it knows. So a
//! new field is a new variant, at the end, and a new variant is said only where both ends announce
//! a feature for it ([`Offer::features`](super::Offer::features)); others get what they know. The
//! version of the wire that two nodes choose is in the transcript of their handshake, and decides
//! about nothing that is written. Every message fits into one control frame.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::bounded::{Lines, MaybeName, Name, Prose};
use super::codec::{self, CodecError};
use super::failure::Failure;
use super::offer::FEATURE_LAPSED;
use super::opening::{INBOX_LIMIT, Opening};
use super::printable::printable;
use super::{Ranges, SecretBytes};
use crate::wire::TransferId;

/// The most bytes of a node's name.
const NAME_LIMIT: usize = 64;
/// The most bytes of a reason; the rest is cut off.
const REASON_LIMIT: usize = 512;
/// The most lines of remarks.
const REMARKS_LIMIT: usize = 32;
/// The most bytes of a place; the rest is cut off.
const PLACE_LIMIT: usize = 4096;

/// A control message. Limits on texts are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// The initiator's first message. Until it verifies, the responder changes nothing: the
    /// handshake before it may be a replay.
    Hello {
        /// The name that the initiator gives itself, at most 64.
        #[serde(with = "Name::<NAME_LIMIT>")]
        name: String,
        /// The token of a ticket to redeem.
        token: Option<SecretBytes>,
        /// The inbox the ticket is for, at most 128.
        #[serde(with = "MaybeName::<INBOX_LIMIT>")]
        inbox: Option<String>,
    },
    /// The responder's answer: the initiator is in.
    Welcome {
        /// The name that the responder gives itself, at most 64.
        #[serde(with = "Name::<NAME_LIMIT>")]
        name: String,
    },
    /// The responder's answer: the initiator is not in. The link closes.
    Refuse {
        /// The reason.
        reason: RefuseReason,
    },
    /// Asks whether the other side lives.
    Ping {
        /// To be returned.
        nonce: u64,
    },
    /// The answer to a ping.
    Pong {
        /// The ping's.
        nonce: u64,
    },
    /// The initiator wants this bulk lane: the responder answers with a `LaneTicket`.
    LaneRequest {
        /// The number of the lane, from 0.
        lane: u16,
    },
    /// The responder has bulk to send and asks the initiator, who alone can dial, to request lanes.
    LaneWanted,
    /// Leave to open a bulk lane: once, within 10 s.
    LaneTicket {
        /// The number of the lane.
        lane: u16,
        /// The id that the lane's preamble names.
        id: [u8; 16],
        /// The lane's pre-shared key.
        secret: SecretBytes,
    },
    /// The sender opens an attempt at a transfer.
    Open(Box<Opening>),
    /// The receiver takes it.
    Accept {
        /// The stream of the opening.
        stream: u64,
        /// Chunks below this index may be sent.
        limit: u64,
        /// Chunks it has from before, durably: to be skipped where the sender can vouch for them.
        received: Ranges,
        /// True if the receiver has the trailer. A trailer that it had and has lost, with its
        /// process, is sent again.
        trailer: bool,
    },
    /// The receiver does not take it, and has not looked whether an earlier attempt has brought it.
    /// Builds before this one say so of what they have looked for, too.
    Reject {
        /// The stream of the opening.
        stream: u64,
        /// The reason.
        failure: Failure,
    },
    /// More may be sent. Absolute, so a repeated or late one does no harm.
    Grant {
        /// The transfer's stream.
        stream: u64,
        /// Chunks below this index may be sent; a lower limit than before means nothing.
        limit: u64,
    },
    /// The receiver holds these chunks, verified, in memory: their frames are no longer needed.
    Received {
        /// The transfer's stream.
        stream: u64,
        /// The indices of the chunks.
        indices: Ranges,
    },
    /// A chunk did not come through and is wanted again.
    Lost {
        /// The transfer's stream.
        stream: u64,
        /// The index of the chunk.
        index: u64,
        /// The failure of the chunk, where it is known.
        failure: Option<Failure>,
    },
    /// The receiver verified the digest and committed the content durably.
    Delivered {
        /// The transfer's stream.
        stream: u64,
        /// The proof.
        receipt: Receipt,
        /// For a package that was unpacked: the proof for who packed it.
        enclosed: Option<Receipt>,
    },
    /// The sender has the receipt: the receiver may forget the attempt.
    Done {
        /// The transfer's stream.
        stream: u64,
    },
    /// Either side gives this transfer up. A receiver that has a spool has looked, by then, whether
    /// it has it.
    Fail {
        /// The transfer's stream.
        stream: u64,
        /// The reason.
        failure: Failure,
    },
    /// Send no chunk of this transfer until further notice.
    Pause {
        /// The transfer's stream.
        stream: u64,
    },
    /// Go on with this transfer.
    Unpause {
        /// The transfer's stream.
        stream: u64,
    },
    /// This side closes the link now, in order.
    Goodbye {
        /// The reason, for people, at most 512.
        #[serde(with = "Prose::<REASON_LIMIT>")]
        reason: String,
    },
    /// The receiving application is done with a delivery. Said again on each new link until it is
    /// heard.
    Processed {
        /// The id of the transfer, which is one of the side that hears this.
        transfer: TransferId,
        /// The proof: under the key of the attempt that was delivered.
        mac: [u8; 32],
    },
    /// The word of a relay on a package that it was given. Said again on each new link until it is
    /// heard.
    Passed {
        /// The id of the transfer, which is one of the side that hears this.
        transfer: TransferId,
        /// The word.
        word: Word,
    },
    /// A word about a transfer was heard, and is noted.
    Heard {
        /// The id of the transfer.
        transfer: TransferId,
        /// The kind of the word: the next word may be on its way.
        what: WordKind,
    },
    /// Batches of messages follow on this link, sealed under a key of their own: said once, if both
    /// have [`FEATURE_MESSAGES`](super::FEATURE_MESSAGES).
    Messages {
        /// Stands for the stream of batches where its keys are derived.
        transfer: TransferId,
        /// Its key.
        key: SecretBytes,
        /// The commitment of the sender: the key, once more, in another form.
        commitment: [u8; 32],
    },
    /// The sender knows nothing of the stream that the receiver has accepted: what was kept for it
    /// is free.
    Unknown {
        /// The stream of the acceptance.
        stream: u64,
    },
    /// The receiver will take it when there is room for it.
    Waiting {
        /// The stream of the opening.
        stream: u64,
        /// Deliveries of this sender that take the room.
        running: u32,
    },
    /// Said first on each link, by both: transfers that an earlier process began and this one does
    /// not offer again have ended with it.
    Process {
        /// Another one for each process of a node: drawn at random when it starts, and kept
        /// nowhere.
        incarnation: [u8; 16],
    },
    /// Remarks on what is not as it was sent, since the receiver could not, or would not, keep it.
    /// Said before [`Control::Delivered`], if there are any.
    Remarks {
        /// The transfer's stream.
        stream: u64,
        /// For people: at most 32 lines of at most 512.
        #[serde(with = "Lines::<REMARKS_LIMIT, REASON_LIMIT>")]
        lines: Vec<String>,
    },
}

/// A responder's reason for refusing an initiator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RefuseReason {
    /// The initiator is not in its trust store, and brought no ticket.
    Untrusted,
    /// The initiator was in its trust store, and has been taken out.
    Revoked,
    /// It never issued this ticket, or no longer knows it.
    TicketUnknown,
    /// Somebody else redeemed this ticket.
    TicketUsed,
    /// This ticket is too old.
    TicketExpired,
    /// It has as many links as it allows.
    Busy,
    /// It is about to stop.
    ShuttingDown,
    /// Anything else, in its own words, at most 512.
    Other(#[serde(with = "Prose::<REASON_LIMIT>")] String),
    /// The initiator makes links faster than it may.
    TooManyLinks,
    /// The trust in the initiator is over.
    TrustExpired,
}

/// The receiver's word that it has the content, durably. `Debug` does not show its proof.
///
/// It is a part of records in spools (`delivered`), and of what relays bring back: a field of it
/// changes these, too.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Hash))]
pub struct Receipt {
    /// BLAKE3 of the content.
    pub digest: [u8; 32],
    /// Bytes of the content.
    pub length: u64,
    /// The place of the content at the receiver, printable, at most 4096 bytes; empty when the
    /// content is not in one place.
    #[serde(with = "Prose::<PLACE_LIMIT>")]
    pub place: String,
    /// Files written.
    pub files: u64,
    /// Keyed BLAKE3 under a key derived from the transfer key: no relay can forge it.
    pub mac: [u8; 32],
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest, length, place, files, mac: _ } = self;
        let digest = blake3::Hash::from_bytes(*digest).to_hex();
        f.debug_struct("Receipt")
            .field("digest", &digest)
            .field("length", length)
            .field("place", place)
            .field("files", files)
            .finish_non_exhaustive()
    }
}

/// The word of a relay on a package. All but a failure is the receiver's own word, and proves
/// itself. `Debug` does not show the proofs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Hash))]
pub enum Word {
    /// The receiver has verified and committed it.
    Delivered(Receipt),
    /// The receiving application is done with it.
    Processed {
        /// The word that came before.
        receipt: Receipt,
        /// The proof.
        mac: [u8; 32],
    },
    /// The relay has given it up: the receiver refused it, or it expired; or, where the kind is
    /// [`Unknown`](super::FailureKind::Unknown), it may have been delivered: it was taken out after
    /// somebody was offered it, or the relay keeps it no longer and does not know why. The relay's
    /// own word.
    Failed(Failure),
    /// The relay has given it up since its time is over by the relay's clock, and it may have been
    /// delivered: it can be sent again while there is time by its sender's. The kind of the failure
    /// is [`Unknown`](super::FailureKind::Unknown). Said where both have
    /// [`FEATURE_LAPSED`](super::FEATURE_LAPSED); to others it is said to have failed.
    Lapsed(Failure),
}

/// The kind of a [`Word`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(Hash))]
pub enum WordKind {
    /// The package was delivered.
    Delivered,
    /// The package was processed.
    Processed,
    /// The package was given up.
    Failed,
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered(receipt) => f.debug_tuple("Delivered").field(receipt).finish(),
            Self::Processed { receipt, mac: _ } => {
                f.debug_struct("Processed").field("receipt", receipt).finish_non_exhaustive()
            }
            Self::Failed(failure) => f.debug_tuple("Failed").field(failure).finish(),
            Self::Lapsed(failure) => f.debug_tuple("Lapsed").field(failure).finish(),
        }
    }
}

impl Word {
    /// Returns the kind of the word.
    pub fn kind(&self) -> WordKind {
        match self {
            Self::Delivered(_) => WordKind::Delivered,
            Self::Processed { .. } => WordKind::Processed,
            Self::Failed(_) | Self::Lapsed(_) => WordKind::Failed,
        }
    }

    /// Returns the word as a peer with these features knows it.
    #[must_use]
    pub(crate) fn understood(self, features: u64) -> Self {
        match self {
            Self::Lapsed(failure) if features & FEATURE_LAPSED == 0 => Self::Failed(failure),
            word => word,
        }
    }
}

impl Control {
    /// The plaintext of a control frame.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self)
    }

    /// Reads the plaintext of a control frame.
    pub fn decode(plaintext: &[u8]) -> Result<Self, CodecError> {
        codec::decode(plaintext)
    }
}

impl fmt::Display for RefuseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untrusted => {
                "it does not know this node: ask for a ticket, or to be added to its peers"
            }
            Self::Revoked => {
                "it no longer trusts this node: ask whoever runs it to add this node again"
            }
            Self::TicketUnknown => {
                "it does not know this ticket: check that it was issued there, or ask for a new one"
            }
            Self::TicketUsed => "somebody else has used this ticket: ask for a new one",
            Self::TicketExpired => "this ticket has expired: ask for a new one",
            Self::Busy => "it has as many links as it allows: try again later",
            Self::ShuttingDown => "it is shutting down: try again later",
            Self::TrustExpired => {
                "its trust in this node has expired: ask there for a new ticket, or to be trusted \
                 again"
            }
            Self::TooManyLinks => {
                "this node makes a new link to it again and again, faster than it may: check that \
                 no two programs run with the same key; it will be tried again"
            }
            Self::Other(reason) => return write!(f, "{}", printable(reason)),
        })
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
