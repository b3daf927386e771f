//! The encoding of values as bytes: the only place that knows bincode.
//!
//! For what the wire itself says: fixed-width little-endian integers, `u32` variant tags, `u64`
//! lengths. Invariant: nothing longer than [`CONTROL_LIMIT`] is written or read, a length inside
//! the bytes cannot make a reader allocate more than that, and no byte is left over.
//!
//! For both, and for users' messages: nothing is nested deeper than [`DEPTH_LIMIT`], lists have no
//! more elements than [`FREE_ELEMENTS`] and twice the bytes, and what would be read as another
//! value is not written.

mod fault;
#[cfg(test)]
mod limit_tests;
mod read;
mod rehearsal;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod travel_tests;
mod write;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::fault::Fault;
use self::read::{Page, Shorter};
use self::rehearsal::Sites;
use self::write::Unwatched;
use super::message::MESSAGE_LIMIT;

/// The most bytes a value may have, in either direction.
pub const CONTROL_LIMIT: usize = 65_536;

/// The most levels to which a value may be nested: structs, tuples, lists, maps, filled options and
/// variants within each other, the value itself included. Reading and writing takes stack for each.
pub const DEPTH_LIMIT: usize = 128;

/// The most elements that the lists and maps of a value may have together, beyond twice its bytes.
/// Elements may have no bytes, as those of a `Vec<()>`, and take time all the same.
pub const FREE_ELEMENTS: usize = 65_536;

/// From which length on what is in a tuple or an array counts as the elements of a list do.
const LONG_TUPLE: usize = 32;

/// An error of writing or reading a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// More than [`CONTROL_LIMIT`] bytes, as they are or as they claim.
    #[error("a message has more than the {limit} bytes a message may have")]
    TooLarge {
        /// The most that is allowed.
        limit: usize,
    },
    /// The bytes end in the middle of a value.
    #[error("a message of {given} bytes ends before its value does")]
    Truncated {
        /// Bytes given.
        given: usize,
    },
    /// Bytes left over behind the value.
    #[error("a message of {given} bytes has {left} too many")]
    Trailing {
        /// Bytes given.
        given: usize,
        /// Bytes behind the value.
        left: usize,
    },
    /// Nested deeper than [`DEPTH_LIMIT`].
    #[error("a message is nested more than {limit} deep")]
    TooDeep {
        /// The most that is allowed.
        limit: usize,
    },
    /// More elements than [`FREE_ELEMENTS`] and twice its bytes.
    #[error("a message has lists of more elements than {limit} and twice its bytes")]
    TooMany {
        /// Those that need no bytes.
        limit: usize,
    },
    /// Bytes that stand for no value of the type.
    #[error("a message of {given} bytes is malformed: {reason}")]
    Malformed {
        /// Bytes given.
        given: usize,
        /// The problem with the bytes.
        reason: String,
    },
    /// A type that asks the bytes what they are, which they do not say.
    #[error("{reason}")]
    Undescribed {
        /// The problem: what the type asks for, where, and what to do.
        reason: String,
    },
    /// The value breaks a limit of its type, or would be read as another one, so it was not
    /// written.
    #[error("a message could not be written: {reason}")]
    Unwritable {
        /// The problem with the value.
        reason: String,
    },
}

/// The bytes of `value`.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    write::write(value, &mut bytes, CONTROL_LIMIT, CONFIGURATION, &mut Unwatched)
        .map(|()| bytes)
        .map_err(|fault| fault.writing(CONTROL_LIMIT))
}

/// The value of `bytes`, all of them.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let given = bytes.len();
    if given > CONTROL_LIMIT {
        return Err(CodecError::TooLarge { limit: CONTROL_LIMIT });
    }
    let mut page = Page::new(bytes, CONFIGURATION, Unwatched);
    let value =
        T::deserialize(page.reading()).map_err(|fault| fault.reading(given, CONTROL_LIMIT))?;
    match page.left() {
        0 => Ok(value),
        left => Err(CodecError::Trailing { given, left }),
    }
}

/// Writes a user's message behind what is in `out`: varints, little-endian.
///
/// What its type would read as another value is not written; see the [list of what
/// travels](crate::remote::RemoteMessage#what-travels).
#[inline(always)]
pub fn encode_message<T: Serialize + DeserializeOwned>(
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    // It stays where it is: what is moved behind a write to it is slow to read.
    let mut sites = Sites::of::<T>();
    sites.begin();
    match write::write(value, out, MESSAGE_LIMIT, bincode::config::standard(), &mut sites) {
        Ok(()) if !sites.is_new() => Ok(()),
        outcome => look_closer(value, outcome, sites),
    }
}

/// The outcome for a value that was not written, or has something new in it.
#[cold]
#[inline(never)]
fn look_closer<T: Serialize + DeserializeOwned>(
    value: &T,
    outcome: Result<(), Fault>,
    sites: Sites,
) -> Result<(), CodecError> {
    outcome
        .and_then(|()| rehearsal::rehearse(value, MESSAGE_LIMIT, sites))
        .map_err(|fault| fault.writing(MESSAGE_LIMIT))
}

/// Reads a user's message.
///
/// Where its type is a struct, what a newer writer has behind the fields known here is left alone,
/// and for fields that an older writer does not have, `#[serde(default)]` stands in; a last field
/// of no bytes, like `()`, needs it, too. What is claimed inside the bytes allocates no more than
/// they could hold: a list or text as long as they are.
#[inline(always)]
pub fn decode_message<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > MESSAGE_LIMIT {
        return Err(CodecError::TooLarge { limit: MESSAGE_LIMIT });
    }
    match read_message(bytes, Unwatched) {
        // What an older writer may have made, without the last fields.
        Err(fault) if fault.is_end() => read_shorter(bytes),
        outcome => outcome,
    }
    .map_err(|fault| fault.reading(bytes.len(), MESSAGE_LIMIT))
    .and_then(|(value, left)| match left {
        0 => Ok(value),
        left => Err(CodecError::Trailing { given: bytes.len(), left }),
    })
}

#[cold]
#[inline(never)]
fn read_shorter<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), Fault> {
    read_message(bytes, Shorter)
}

#[inline(always)]
fn read_message<T: DeserializeOwned>(
    bytes: &[u8],
    watch: impl read::Watch,
) -> Result<(T, usize), Fault> {
    let mut page = Page::new(bytes, bincode::config::standard(), watch);
    let value = T::deserialize(page.reading())?;
    Ok((value, page.too_many()))
}

const CONFIGURATION: Configuration<LittleEndian, Fixint, Limit<CONTROL_LIMIT>> =
    bincode::config::legacy().with_limit::<CONTROL_LIMIT>();
