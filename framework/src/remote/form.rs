//! The forms in which messages of a type are written: native, or JSON for programs that don't have
//! the type.
//!
//! Invariant: the name of a type says how it is written, so that a mailbox never has to guess.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{RemoteError, RemoteErrorKind};
use super::message::RemoteMessage;
use crate::wire::codec::{CodecError, decode_message};

/// Writes an answer behind what is in a buffer; the error says what is wrong with it.
pub(super) type Writer<R> = fn(&R, &mut Vec<u8>) -> Result<(), String>;

/// Reads a message that came later than its call.
pub(super) type Reader<M> = fn(&[u8]) -> Result<M, RemoteError>;

/// A way to write messages and their answers.
pub(crate) trait Form: Send + Sync + 'static {
    /// The fault in bytes that stand for no message.
    type Fault;

    /// The name on the wire of a type that is written in this form.
    fn name<M: RemoteMessage>() -> &'static str;

    /// Reads a message.
    fn decode<M: RemoteMessage>(body: &[u8]) -> Result<M, Self::Fault>;

    /// Returns the error for the sender of bytes that stand for no message.
    fn undecodable<M: RemoteMessage>(fault: &Self::Fault) -> RemoteError;

    /// Returns the writer of answers; `None` for the native form, whose way is shorter.
    fn writer<R: Serialize + DeserializeOwned>() -> Option<Writer<R>>;

    /// Returns the reader of messages that come later; `None` for the native form.
    fn reader<M: RemoteMessage>() -> Option<Reader<M>>;
}

/// The form of those who have the type.
pub(crate) struct Native;

impl Form for Native {
    type Fault = CodecError;

    fn name<M: RemoteMessage>() -> &'static str {
        M::NAME
    }

    #[inline(always)]
    fn decode<M: RemoteMessage>(body: &[u8]) -> Result<M, CodecError> {
        decode_message(body)
    }

    fn undecodable<M: RemoteMessage>(fault: &CodecError) -> RemoteError {
        undecodable::<M>(fault)
    }

    fn writer<R: Serialize + DeserializeOwned>() -> Option<Writer<R>> {
        None
    }

    fn reader<M: RemoteMessage>() -> Option<Reader<M>> {
        None
    }
}

/// Returns the error for a message that can't be read: which type, where in it, and why.
pub(super) fn undecodable<M: RemoteMessage>(error: &CodecError) -> RemoteError {
    let (message, named) = (M::NAME, std::any::type_name::<M>());
    let text = match error {
        // Whoever wrote it has found that its own type reads it: here is another one.
        CodecError::Truncated { .. }
        | CodecError::Trailing { .. }
        | CodecError::Malformed { .. } => {
            format!(
                "a {message} can't be read as `{named}` ({error}): do both programs have the same \
                 version of it?"
            )
        }
        _ => format!("a {message} can't be read as `{named}`: {error}"),
    };
    RemoteError::new(RemoteErrorKind::Undecodable, text)
}
