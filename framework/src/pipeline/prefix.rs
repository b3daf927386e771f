//! The 16 bytes before every body, inside the sealed box:
//!
//! ```text
//!  0      1      2        4          8            16
//!  ├ codec┼ flags┼ zero 2 ┼ raw_len 4┼ index u64 ─┤ body …      little-endian
//! ```
//!
//! They lie in the same buffer as the body from the moment the chunk is cut, so that a chunk which
//! is sent raw is never copied.

use serde::{Deserialize, Serialize};

/// The encoding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Codec(pub u8);

impl Codec {
    /// The bytes as they are.
    pub const RAW: Self = Self(0);
    /// Snappy, raw format.
    pub const SNAPPY: Self = Self(1);
    /// LZ4, block format, without a length in front.
    pub const LZ4: Self = Self(2);
    /// The body is the trailer of the transfer.
    pub const TRAILER: Self = Self(255);
}

/// The fields before the body of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The encoding of the body.
    pub codec: Codec,
    /// Length of the body once decoded, in bytes.
    pub raw_len: u32,
    /// The chunk's index: again, so that it is authenticated.
    pub index: u64,
}

/// An error of decoding a [`Prefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixError {
    /// Fewer bytes than a prefix has.
    #[error("a box of {given} bytes is too short for its prefix of 16")]
    Truncated {
        /// Bytes given.
        given: usize,
    },
    /// A reserved field is set.
    #[error("a reserved field of a box's prefix is not zero")]
    Reserved,
}

impl Prefix {
    /// Bytes of a prefix.
    pub const LENGTH: usize = 16;

    /// The prefix as bytes.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = self.codec.0;
        bytes[4..8].copy_from_slice(&self.raw_len.to_le_bytes());
        bytes[8..].copy_from_slice(&self.index.to_le_bytes());
        bytes
    }

    /// Reads the prefix at the front of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, PrefixError> {
        let Some(&[codec, flags, zero_a, zero_b, a, b, c, d, ref index @ ..]) =
            bytes.first_chunk::<{ Self::LENGTH }>()
        else {
            return Err(PrefixError::Truncated { given: bytes.len() });
        };
        if flags != 0 || zero_a != 0 || zero_b != 0 {
            return Err(PrefixError::Reserved);
        }
        Ok(Self {
            codec: Codec(codec),
            raw_len: u32::from_le_bytes([a, b, c, d]),
            index: u64::from_le_bytes(*index),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let prefix = Prefix { codec: Codec::SNAPPY, raw_len: 0x0102_0304, index: 5 };
        let bytes = [1, 0, 0, 0, 4, 3, 2, 1, 5, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(prefix.encode(), bytes);
        assert_eq!(Prefix::decode(&bytes), Ok(prefix));
    }

    #[test]
    fn bad_bytes_are_named() {
        assert_eq!(Prefix::decode(&[0; 15]), Err(PrefixError::Truncated { given: 15 }));
        for at in [1, 2, 3] {
            let mut bytes = [0; 16];
            bytes[at] = 1;
            assert_eq!(Prefix::decode(&bytes), Err(PrefixError::Reserved));
        }
    }
}
