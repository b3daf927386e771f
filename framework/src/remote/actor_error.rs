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
    /// The text, for people. Clients of doors are told 512 characters of it at most, fewer of
    /// those that have four bytes.
    pub message: String,
    /// Details, for programs: 64 at most, more are neither sent nor read. Clients of doors are told
    /// of 4 KiB of them at most, and of none where there are more or the text leaves no room.
    #[serde(with = "few")]
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

/// The most details of an error. On the wire an empty one has two bytes, and 48 once it is read.
const DETAILS_MOST: usize = 64;

/// Details, of which there are no more than may be.
mod few {
    use std::fmt;

    use serde::Serialize;
    use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
    use serde::ser::{Error as _, Serializer};

    use super::{DETAILS_MOST, ErrorDetail};

    pub(super) fn serialize<S: Serializer>(all: &[ErrorDetail], to: S) -> Result<S::Ok, S::Error> {
        if all.len() > DETAILS_MOST {
            let many = all.len();
            return Err(S::Error::custom(format!(
                "an actor's error has {many} details, {DETAILS_MOST} are allowed"
            )));
        }
        all.serialize(to)
    }

    pub(super) fn deserialize<'de, D>(from: D) -> Result<Vec<ErrorDetail>, D::Error>
    where
        D: Deserializer<'de>,
    {
        from.deserialize_seq(Reading)
    }

    struct Reading;

    impl<'de> Visitor<'de> for Reading {
        type Value = Vec<ErrorDetail>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{DETAILS_MOST} details at most")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
            let mut details = Vec::new();
            while let Some(detail) = all.next_element()? {
                if details.len() == DETAILS_MOST {
                    return Err(A::Error::custom(format!(
                        "an actor's error has more than {DETAILS_MOST} details, which are allowed"
                    )));
                }
                details.push(detail);
            }
            Ok(details)
        }
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;
    use crate::wire::codec::{decode_message, encode_message};

    #[test]
    fn an_error_of_more_details_than_may_be_is_neither_written_nor_read() {
        let details = |many: usize| {
            let error = ActorError::internal("");
            (0..many).fold(error, |error, _| error.detail("", []))
        };
        let mut bytes = Vec::new();
        encode_message(&details(DETAILS_MOST), &mut bytes).unwrap();
        assert_eq!(decode_message::<ActorError>(&bytes).unwrap(), details(DETAILS_MOST));
        let refused = encode_message(&details(DETAILS_MOST + 1), &mut Vec::new()).unwrap_err();
        assert!(refused.to_string().contains("has 65 details, 64 are allowed"), "{refused}");

        // As a peer that does not keep to it writes one: the code, the text, how many, and each.
        let mut bytes = Vec::new();
        let empties = vec![(String::new(), String::new()); 100_000];
        encode_message(&(13_u32, String::new(), empties), &mut bytes).unwrap();
        let refused = decode_message::<ActorError>(&bytes).unwrap_err().to_string();
        assert!(refused.contains("more than 64 details"), "{refused}");
    }
}
