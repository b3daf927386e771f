//! How values become bytes: the only place that knows bincode.
//!
//! For what the wire itself says: fixed-width little-endian integers, `u32` variant tags, `u64` lengths. Invariant: nothing longer than [`CONTROL_LIMIT`] is
//! written or read, a length inside the bytes cannot make a reader allocate more than that, and no byte is left over.

mod tolerant;

use std::cell::Cell;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::error::DecodeError;
use bincode::serde::{BorrowedSerdeDecoder, OwnedSerdeDecoder};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::tolerant::{Rest, TopLevel};
use super::message::MESSAGE_LIMIT;

/// The most bytes a value may have, in either direction.
pub const CONTROL_LIMIT: usize = 65_536;

/// Why a value could not be written or read.
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
    /// Bytes that stand for no value of the type.
    #[error("a message of {given} bytes is malformed: {reason}")]
    Malformed {
        /// Bytes given.
        given: usize,
        /// What is wrong with them.
        reason: String,
    },
    /// The value itself breaks a limit of its type, so it was not written.
    #[error("a message could not be written: {reason}")]
    Unwritable {
        /// What is wrong with the value.
        reason: String,
    },
}

/// The bytes of `value`.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes =
        bincode::serde::encode_to_vec(value, CONFIGURATION).map_err(|error| CodecError::Unwritable { reason: error.to_string() })?;
    if bytes.len() > CONTROL_LIMIT {
        return Err(CodecError::TooLarge { limit: CONTROL_LIMIT });
    }
    Ok(bytes)
}

/// The value of `bytes`, all of them.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let given = bytes.len();
    if given > CONTROL_LIMIT {
        return Err(CodecError::TooLarge { limit: CONTROL_LIMIT });
    }
    let (value, consumed) = bincode::serde::decode_from_slice(bytes, CONFIGURATION).map_err(|error| failed(error, given, CONTROL_LIMIT))?;
    match given - consumed {
        0 => Ok(value),
        left => Err(CodecError::Trailing { given, left }),
    }
}

fn failed(error: DecodeError, given: usize, limit: usize) -> CodecError {
    match error {
        DecodeError::UnexpectedEnd { .. } => CodecError::Truncated { given },
        DecodeError::LimitExceeded => CodecError::TooLarge { limit },
        other => CodecError::Malformed { given, reason: other.to_string() },
    }
}

/// Writes a user's message behind what is in `out`: varints, little-endian.
pub fn encode_message<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    bincode::serde::encode_into_std_write(value, out, bincode::config::standard())
        .map_err(|error| CodecError::Unwritable { reason: error.to_string() })?;
    if out.len() - start > MESSAGE_LIMIT {
        return Err(CodecError::TooLarge { limit: MESSAGE_LIMIT });
    }
    Ok(())
}

/// Reads a user's message.
///
/// Where its type is a struct, what a newer writer has behind the fields known here is left alone, and for fields that an older
/// writer does not have, `#[serde(default)]` stands in; a last field of no bytes, like `()`, needs it, too. A length
/// inside the bytes can't make it allocate more than 64 KiB for a message of up to 4 KiB, and so on up to 16 times [`MESSAGE_LIMIT`].
#[inline(always)]
pub fn decode_message<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    // Most are short: only what reads these stands where it is called.
    if bytes.len() <= 0x1000 { decode_tolerant(bytes, bincode::config::standard().with_limit::<0x1_0000>()) } else { decode_long(bytes) }
}

fn decode_long<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    // What is read is counted as it is in memory: up to 16 times of what a varint takes.
    let plain = bincode::config::standard();
    match bytes.len() {
        ..=0x1_0000 => decode_tolerant(bytes, plain.with_limit::<0x10_0000>()),
        0x1_0001..=0x10_0000 => decode_tolerant(bytes, plain.with_limit::<0x100_0000>()),
        0x10_0001..=MESSAGE_LIMIT => decode_tolerant(bytes, plain.with_limit::<{ 16 * MESSAGE_LIMIT }>()),
        _ => Err(CodecError::TooLarge { limit: MESSAGE_LIMIT }),
    }
}

#[inline(always)]
fn decode_tolerant<T: DeserializeOwned>(bytes: &[u8], configuration: impl bincode::config::Config) -> Result<T, CodecError> {
    // Most are written and read by programs of one version, and bincode alone is faster.
    let mut decoder = BorrowedSerdeDecoder::from_slice(bytes, configuration, ());
    match T::deserialize(decoder.as_deserializer()) {
        Ok(value) => Ok(value),
        Err(DecodeError::UnexpectedEnd { .. }) => decode_shorter(bytes, configuration),
        Err(error) => Err(failed(error, bytes.len(), MESSAGE_LIMIT)),
    }
}

/// What an older writer may have made, without the last fields.
#[cold]
fn decode_shorter<T: DeserializeOwned>(bytes: &[u8], configuration: impl bincode::config::Config) -> Result<T, CodecError> {
    let rest = Cell::new(bytes);
    let mut decoder = OwnedSerdeDecoder::from_reader(Rest(&rest), configuration);
    T::deserialize(TopLevel { decoder: &mut decoder, rest: &rest }).map_err(|error| failed(error, bytes.len(), MESSAGE_LIMIT))
}

const CONFIGURATION: Configuration<LittleEndian, Fixint, Limit<CONTROL_LIMIT>> = bincode::config::legacy().with_limit::<CONTROL_LIMIT>();

#[cfg(test)]
mod tests {
    use serde_bytes::ByteBuf;

    use super::*;

    #[test]
    fn integers_are_fixed_and_little_endian_and_lengths_take_eight_bytes() {
        assert_eq!(encode(&(0x0102_u16, Some(3_u32), "ab")).unwrap(), [2, 1, 1, 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b']);
    }

    #[test]
    fn a_short_message_that_claims_much_is_refused() {
        let mut claim = (1_u64 << 40).to_le_bytes().to_vec();
        claim.push(0);
        assert!(matches!(decode::<ByteBuf>(&claim), Err(CodecError::TooLarge { .. })));
        assert!(matches!(decode::<String>(&claim), Err(CodecError::TooLarge { .. })));
        assert!(decode::<Vec<u64>>(&claim).is_err());
        assert!(decode::<Vec<u64>>(&u64::MAX.to_le_bytes()).is_err());
    }

    #[test]
    fn a_byte_too_few_and_a_byte_too_many_are_errors() {
        let mut bytes = encode(&7_u64).unwrap();
        assert_eq!(decode::<u64>(&bytes), Ok(7));
        bytes.push(0);
        assert_eq!(decode::<u64>(&bytes), Err(CodecError::Trailing { given: 9, left: 1 }));
        assert_eq!(decode::<u64>(&bytes[..7]), Err(CodecError::Truncated { given: 7 }));
    }

    #[test]
    fn the_limit_holds_in_both_directions() {
        assert!(encode(&ByteBuf::from(vec![0; CONTROL_LIMIT - 8])).is_ok());
        assert_eq!(encode(&ByteBuf::from(vec![0; CONTROL_LIMIT - 7])), Err(CodecError::TooLarge { limit: CONTROL_LIMIT }));
        assert_eq!(decode::<u8>(&vec![0; CONTROL_LIMIT + 1]), Err(CodecError::TooLarge { limit: CONTROL_LIMIT }));
    }

    #[test]
    fn bytes_that_stand_for_nothing_are_malformed() {
        assert!(matches!(decode::<bool>(&[2]), Err(CodecError::Malformed { given: 1, .. })));
        assert!(matches!(decode::<String>(&[1, 0, 0, 0, 0, 0, 0, 0, 0xff]), Err(CodecError::Malformed { given: 9, .. })));
    }
}
