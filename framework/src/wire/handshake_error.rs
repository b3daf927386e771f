//! Errors of handshakes.

use super::Suite;
use super::codec::CodecError;

/// An error of going through a handshake. The connection is of no use after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// A message above [`HANDSHAKE_LIMIT`](super::HANDSHAKE_LIMIT), or none at all.
    #[error("a handshake message has {given} bytes, 1 to {limit} are allowed")]
    Length {
        /// Bytes given or claimed.
        given: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// Too short for what it must hold, or otherwise impossible.
    #[error("the {message} of the handshake, {given} bytes, is malformed: {reason}")]
    Malformed {
        /// The name of the message.
        message: &'static str,
        /// Bytes given.
        given: usize,
        /// The problem with the message.
        reason: String,
    },
    /// It does not verify.
    #[error(
        "the {message} of the handshake does not verify: the other side has another key than \
         expected, or bytes were changed on the way; check the peer's id or ask for a new ticket"
    )]
    NotAuthentic {
        /// The name of the message.
        message: &'static str,
    },
    /// Message 1 was made for another connection, or by somebody who does not know this node's key.
    #[error(
        "the first message of the handshake does not fit this connection: it is a copy of another \
         one's, or bytes were changed on the way; nothing was computed for it"
    )]
    NotFresh,
    /// It verifies, but what is inside cannot be read.
    #[error(
        "the {message} of the handshake verifies, but its content cannot be read: the other side \
         may run another release"
    )]
    Payload {
        /// The name of the message.
        message: &'static str,
        /// The cause.
        source: CodecError,
    },
    /// This side could not make its own part.
    #[error("this side could not make its part of the handshake: {reason}")]
    Local {
        /// The reason.
        reason: String,
    },
    /// No suite in common.
    #[error(
        "no way to seal chunks in common: this side has {ours:?}, the other {theirs:?}; update \
         the older one"
    )]
    NoCommonSuite {
        /// The suites that this side has.
        ours: Vec<Suite>,
        /// The suites that the other side has.
        theirs: Vec<Suite>,
    },
    /// A frame limit too small for control messages.
    #[error(
        "a limit of {given} bytes for a frame's body was offered, at least {least} are needed: \
         raise max_frame"
    )]
    FrameLimitTooSmall {
        /// Bytes offered.
        given: u32,
        /// The least that is needed.
        least: u32,
    },
    /// The responder chose what was not offered.
    #[error("the other side chose a value of {what} that was not offered to it")]
    ChoiceOutsideOffer {
        /// The field.
        what: &'static str,
    },
}
