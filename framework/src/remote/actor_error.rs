//! An actor's own error, as an answer: a code, a text for people, and details.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::RemoteError;
use crate::wire::printable;

/// An actor's own error, with which it answers in place of a reply. Doors pass it on in the words
/// of their protocol: the code is one of gRPC's, of which every client of it knows the meaning.
///
/// ```
/// use estafette::remote::ActorError;
///
/// fn price(article: &str) -> Result<u64, ActorError> {
///     match article {
///         "tea" => Ok(5),
///         other => Err(ActorError::not_found(format!("there is no {other}"))),
///     }
/// }
/// assert_eq!(price("cup").unwrap_err().code, 5);
/// ```
/// Messages that `estafette-build` makes of a proto are answered with a `Result` that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ActorError {
    /// The number of a status code of gRPC. A number that is none stands for `UNKNOWN`, and so does
    /// 0, which no error has.
    pub code: u32,
    /// The text, for people. Clients of doors are told 512 characters of it at most.
    pub message: String,
    /// Details, for programs. Clients of doors are told of 4 KiB of them at most, and of none where
    /// there are more.
    pub details: Vec<ErrorDetail>,
}

/// A detail of an [`ActorError`]: what a `google.protobuf.Any` is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// The type, such as `type.googleapis.com/google.rpc.BadRequest`.
    pub type_url: String,
    /// The bytes of the message of that type.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        impl ActorError {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(message: impl Into<String>) -> Self {
                    Self::new($code, message)
                }
            )*
        }
    };
}

codes! {
    /// `CANCELLED` (1): it was given up.
    cancelled = 1,
    /// `UNKNOWN` (2): no other code fits.
    unknown = 2,
    /// `INVALID_ARGUMENT` (3): the request is wrong, whatever the state of things.
    invalid_argument = 3,
    /// `DEADLINE_EXCEEDED` (4): it took too long.
    deadline_exceeded = 4,
    /// `NOT_FOUND` (5): there is no such thing.
    not_found = 5,
    /// `ALREADY_EXISTS` (6): there is such a thing already.
    already_exists = 6,
    /// `PERMISSION_DENIED` (7): the caller may not do this.
    permission_denied = 7,
    /// `RESOURCE_EXHAUSTED` (8): there is no room, or no quota is left.
    resource_exhausted = 8,
    /// `FAILED_PRECONDITION` (9): something else has to be done first.
    failed_precondition = 9,
    /// `ABORTED` (10): others were in the way; a caller may begin anew.
    aborted = 10,
    /// `OUT_OF_RANGE` (11): there is nothing so far out, yet.
    out_of_range = 11,
    /// `UNIMPLEMENTED` (12): this is not done here.
    unimplemented = 12,
    /// `INTERNAL` (13): a fault of this program.
    internal = 13,
    /// `UNAVAILABLE` (14): not now. Stock clients may send such a request again by themselves: only
    /// for one that had no effect.
    unavailable = 14,
    /// `DATA_LOSS` (15): something can't be had back.
    data_loss = 15,
    /// `UNAUTHENTICATED` (16): it is not known who calls.
    unauthenticated = 16,
}

impl ActorError {
    /// An error with the number of a status code of gRPC.
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    /// One more detail: the name of its type, and its bytes.
    #[must_use]
    pub fn detail(mut self, type_url: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.details.push(ErrorDetail { type_url: type_url.into(), value: value.into() });
        self
    }
}

/// An error of the way there, for a [`Recipient`](super::Remote::recipient) that stands for an actor
/// elsewhere.
impl From<RemoteError> for ActorError {
    fn from(error: RemoteError) -> Self {
        Self::unknown(error.message)
    }
}

impl fmt::Display for ActorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.message))
    }
}

impl std::error::Error for ActorError {}
