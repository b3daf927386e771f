//! The parcels that flow: one message type for each state of a chunk, so that a wrong order of
//! stages does not compile.

use actix::Message;
use bytes::Bytes;

use super::prefix::{Codec, Prefix, PrefixError};
use super::transfer::Custody;
use crate::wire::HEADER_LENGTH;

/// A message of the data path: content in someone's custody.
pub trait Parcel: Message<Result = ()> + Send + Unpin + 'static {
    /// Returns its custody: who answers for it.
    fn custody(&self) -> &Custody;
    /// Its bytes, prefix or header included.
    fn content(&self) -> &Bytes;
    /// The same custody with other content, its prefix or header included. For a chunk,
    /// [`Chunk::new`] puts the prefix before the bytes.
    fn from_parts(custody: Custody, content: Bytes) -> Self;
}

macro_rules! parcel {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            custody: Custody,
            content: Bytes,
        }

        impl Message for $name {
            type Result = ();
        }

        impl Parcel for $name {
            fn custody(&self) -> &Custody {
                &self.custody
            }
            fn content(&self) -> &Bytes {
                &self.content
            }
            fn from_parts(custody: Custody, content: Bytes) -> Self {
                Self { custody, content }
            }
        }
    };
}

parcel! {
    /// A piece of the content, as it was cut.
    Chunk
}
parcel! {
    /// A chunk as a codec left it: smaller, or raw.
    Compressed
}
parcel! {
    /// A chunk nobody but the receiver can read: a whole frame, header ‖ tag ‖ ciphertext.
    Sealed
}

impl Chunk {
    /// A chunk in the custody of another one, with `bytes` copied into a buffer of the transfer's
    /// pool.
    ///
    /// No custody but that of content: the trailer goes on as it came, or as it was
    /// [copied](Self::with_bytes).
    pub fn new(custody: Custody, bytes: &[u8]) -> Self {
        let length = Prefix::LENGTH + bytes.len();
        let mut buffer = custody.transfer().buffers.take(length);
        let raw_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let prefix = Prefix { codec: Codec::RAW, raw_len, index: custody.index() };
        buffer[..Prefix::LENGTH].copy_from_slice(&prefix.encode());
        buffer[Prefix::LENGTH..].copy_from_slice(bytes);
        Self { custody, content: buffer.freeze(0..length) }
    }

    /// The chunk's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.content.get(Prefix::LENGTH..).unwrap_or(&[])
    }

    /// The same chunk with other bytes, copied into a buffer of the transfer's pool. The trailer
    /// stays as it is.
    #[must_use]
    pub fn with_bytes(&self, bytes: &[u8]) -> Self {
        if self.custody.is_trailer() {
            return Self { custody: self.custody.clone(), content: self.content.clone() };
        }
        Self::new(self.custody.clone(), bytes)
    }
}

impl Compressed {
    /// Decodes the prefix, which stands before the body.
    pub fn prefix(&self) -> Result<Prefix, PrefixError> {
        Prefix::decode(&self.content)
    }

    /// The encoded bytes.
    pub fn body(&self) -> &[u8] {
        self.content.get(Prefix::LENGTH..).unwrap_or(&[])
    }
}

impl Sealed {
    /// Bytes of a Poly1305 tag.
    pub const TAG_LENGTH: usize = 16;
    /// The offset at which the ciphertext begins, in bytes.
    pub const BODY: usize = HEADER_LENGTH + Self::TAG_LENGTH;
}
