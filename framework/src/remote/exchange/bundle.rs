//! Replies of one stream that came together: they go to their reader as one, since handing each
//! over by itself costs more than most of them are worth.

use bytes::Bytes;

use super::SHORT;

/// Replies, in their order.
#[derive(Debug, Default)]
pub(in crate::remote) struct Bundle {
    bytes: Bytes,
    /// The place in them behind what was taken.
    at: usize,
    /// The number of replies that are left.
    left: usize,
    /// Each has its length before it.
    packed: bool,
}

/// The bytes in which a length is written.
const LENGTH: usize = size_of::<u32>();

impl Bundle {
    /// One reply, with hardly more memory than it takes: one that is short is copied out of the
    /// batch that brought it.
    pub(super) fn one(body: Bytes) -> Self {
        let bytes = if body.len() < SHORT { Bytes::copy_from_slice(&body) } else { body };
        Self { bytes, at: 0, left: 1, packed: false }
    }

    /// Replies that came in one batch, copied out of it.
    pub(super) fn of(bodies: &[&[u8]]) -> Self {
        let length = bodies.iter().map(|body| LENGTH + body.len()).sum();
        let mut bytes = Vec::with_capacity(length);
        for body in bodies {
            // A batch is shorter than that.
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(body);
        }
        Self { bytes: bytes.into(), at: 0, left: bodies.len(), packed: true }
    }

    /// The number of replies that are left.
    pub(in crate::remote) fn left(&self) -> usize {
        self.left
    }

    /// Takes the next one.
    pub(in crate::remote) fn next(&mut self) -> Option<&[u8]> {
        self.left = self.left.checked_sub(1)?;
        if !self.packed {
            return Some(&self.bytes);
        }
        let (&length, rest) = self.bytes[self.at..].split_first_chunk::<LENGTH>()?;
        let length = u32::from_le_bytes(length) as usize;
        self.at += LENGTH + length;
        Some(&rest[..length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut bundle: Bundle) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(next) = bundle.next() {
            all.push(next.to_vec());
            assert_eq!(bundle.left() == 0, bundle.at == bundle.bytes.len() || !bundle.packed);
        }
        all
    }

    #[test]
    fn replies_are_taken_as_they_came() {
        let bodies: [&[u8]; 4] = [b"one", b"", b"three", &[7; 40_000]];
        assert_eq!(all(Bundle::of(&bodies)), bodies);
        assert_eq!(all(Bundle::of(&[])), [b""; 0]);
        for body in bodies {
            assert_eq!(all(Bundle::one(Bytes::copy_from_slice(body))), [body]);
        }
        assert_eq!(all(Bundle::default()), [b""; 0]);
    }
}
