//! Preamble, handshake, frames, control messages, link state; identity and PeerId.
//!
//! Sans-I/O: nothing here opens, sleeps, spawns or reads a clock. Bytes, events and `now` come in;
//! bytes, events and the next deadline go out. A new connection passes through these files in this
//! order:
//!
//! ```text
//!  preamble ──▶ handshake (offer ⇄ choice) ──▶ channel ──▶ frame ──▶ control ──▶ link
//!  in the clear: Noise IK, or NNpsk0           seals and   24-byte   what is      heartbeat,
//!  versions,     for a lane                    opens       header    said         renewal
//!  behind a knock
//! ```
//! What has to wait on a disk for its receiver passes by [`envelope`] and [`package`], or [`copy`],
//! instead.
//!
//! Invariant: bytes of a peer end in a value that was checked or in a named error; never in a
//! panic, and never in memory that grows with what the bytes claim.

mod along;
mod base32;
mod bounded;
mod channel;
pub mod codec;
mod content;
mod control;
pub mod copy;
pub mod envelope;
mod failure;
mod frame;
mod handshake;
mod handshake_error;
mod identity;
mod knock;
mod lane;
mod link;
pub mod message;
mod offer;
mod opening;
pub mod package;
mod peer_id;
mod preamble;
mod printable;
mod ranges;
mod secret;
mod speak;
mod suite;
mod ticket;
mod trace;
mod transfer_id;
mod transfer_key;

pub use along::{Along, ON_BEHALF_LIMIT};
pub use channel::{ControlOpener, ControlSealer, LinkError, PLAINTEXT_LIMIT};
pub use content::{Attributes, Content, ContentKind, ContentName, NameError};
pub use control::{Control, Receipt, RefuseReason, Word, WordKind};
pub use failure::{Failure, FailureKind};
pub use frame::{
    CONTROL_BODY_LIMIT, FLAG_LAST, Frame, FrameDecoder, FrameError, FrameHeader, FrameKind,
    HEADER_LENGTH, growth_limit,
};
pub use handshake::{
    Established, HANDSHAKE_LIMIT, LinkInitiator, LinkInitiatorWaiting, LinkResponder,
    LinkResponderReady, frame_handshake, handshake_length,
};
pub use handshake_error::HandshakeError;
pub use identity::Identity;
pub use knock::{KNOCK_LENGTH, KnockKey};
pub use lane::{
    LaneEstablished, LaneInitiator, LaneInitiatorWaiting, LaneResponder, LaneResponderReady,
    lane_prologue,
};
pub use link::{Link, LinkAction, LinkConfig, LinkConfigError};
pub use offer::{
    Choice, FEATURE_DESCRIPTIONS, FEATURE_LAPSED, FEATURE_LETTERS, FEATURE_MESSAGES,
    FEATURE_ON_BEHALF, FEATURE_REMARKS, LEAST_MAX_FRAME, Offer, choose,
};
pub(crate) use opening::STAGES_LIMIT;
pub use opening::{Opening, join_codec, split_codec};
pub use peer_id::{PeerId, PeerIdError};
pub use preamble::{
    Answer, PREAMBLE_LENGTH, Preamble, PreambleError, PreambleReply, Purpose, REPLY_LENGTH,
    VersionRange, negotiate, prologue,
};
pub use printable::{SHOWN_LIMIT, is_visible, printable};
pub(crate) use ranges::RANGES_LIMIT;
pub use ranges::{Ranges, RangesError};
pub use secret::SecretBytes;
pub use speak::SpeakError;
pub use suite::Suite;
pub use ticket::{Ticket, TicketError};
pub use trace::{TraceContext, TraceError};
pub use transfer_id::{TransferId, TransferIdError};
pub use transfer_key::{EpochKey, KeyScope, TransferKey};
