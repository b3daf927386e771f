//! The trailer of a transfer: its length and digest. It follows the last chunk, and is sealed like
//! one.

/// The end of a transfer's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Chunks before it.
    pub chunks: u64,
    /// Bytes of content.
    pub length: u64,
    /// BLAKE3 of the content.
    pub digest: [u8; 32],
}

/// Bytes that are no trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a trailer has 48 bytes, this one {given}")]
pub struct TrailerError {
    /// Bytes given.
    pub given: usize,
}

impl Trailer {
    /// Bytes of a trailer: `chunks u64 ‖ length u64 ‖ digest`, little-endian.
    pub const LENGTH: usize = 48;

    /// The trailer as bytes.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.chunks.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..].copy_from_slice(&self.digest);
        bytes
    }

    /// Reads a trailer.
    pub fn decode(bytes: &[u8]) -> Result<Self, TrailerError> {
        let bytes: &[u8; Self::LENGTH] =
            bytes.try_into().map_err(|_| TrailerError { given: bytes.len() })?;
        let (chunks, rest) = bytes.split_first_chunk::<8>().expect("48 bytes begin with 8");
        let (length, digest) = rest.split_first_chunk::<8>().expect("40 bytes begin with 8");
        let mut trailer = Self {
            chunks: u64::from_le_bytes(*chunks),
            length: u64::from_le_bytes(*length),
            digest: [0; 32],
        };
        trailer.digest.copy_from_slice(digest);
        Ok(trailer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let trailer = Trailer { chunks: 2, length: 0x0103, digest: [7; 32] };
        let mut bytes = vec![2, 0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend([7; 32]);
        assert_eq!(trailer.encode()[..], bytes);
        assert_eq!(Trailer::decode(&bytes), Ok(trailer));
        assert_eq!(Trailer::decode(&bytes[1..]), Err(TrailerError { given: 47 }));
    }
}
