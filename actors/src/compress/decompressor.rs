//! Makes chunks what they were.
//!
//! Invariant: nothing is decompressed into more than one chunk's size, whatever the bytes claim.

use estafette::delivery::FailureKind;
use estafette::pipeline::{Chunk, Codec, Compressed, Parcel, Prefix, Transform, TransformError};
use snap::raw::{Decoder, decompress_len};

/// The transform that decompresses.
#[derive(Debug)]
pub struct Decompressor {
    decoder: Decoder,
}

impl Default for Decompressor {
    fn default() -> Self {
        Self { decoder: Decoder::new() }
    }
}

impl Transform for Decompressor {
    type In = Compressed;
    type Out = Chunk;

    fn apply(&mut self, compressed: &Compressed) -> Result<Chunk, TransformError> {
        let (custody, body) = (compressed.custody(), compressed.body());
        let prefix = compressed.prefix().map_err(|error| wrong(error.to_string()))?;
        let (raw_len, most) = (prefix.raw_len as usize, custody.transfer().chunk_limit() as usize);
        if raw_len == 0 || raw_len > most {
            return Err(wrong(format!(
                "a chunk of {raw_len} bytes, where 1 to {most} are allowed"
            )));
        }
        match prefix.codec {
            Codec::RAW if body.len() == raw_len => {
                Ok(Chunk::from_parts(custody.clone(), compressed.content().clone()))
            }
            Codec::RAW => {
                Err(wrong(format!("a raw chunk of {} bytes that says {raw_len}", body.len())))
            }
            Codec::SNAPPY => self.snappy(compressed, raw_len),
            Codec(other) => Err(wrong(format!("codec {other} is not known here"))),
        }
    }
}

impl Decompressor {
    fn snappy(&mut self, compressed: &Compressed, raw_len: usize) -> Result<Chunk, TransformError> {
        let (custody, body) = (compressed.custody(), compressed.body());
        match decompress_len(body) {
            Ok(length) if length == raw_len => {}
            Ok(length) => {
                return Err(wrong(format!(
                    "a chunk that says {raw_len} bytes, but would decompress to {length}"
                )));
            }
            Err(error) => return Err(wrong(format!("snappy: {error}"))),
        }
        let mut buffer = custody.transfer().buffers.take(Prefix::LENGTH + raw_len);
        self.decoder
            .decompress(body, &mut buffer[Prefix::LENGTH..])
            .map_err(|error| wrong(format!("snappy: {error}")))?;
        let prefix = Prefix { codec: Codec::RAW, raw_len: raw_len as u32, index: custody.index() };
        buffer[..Prefix::LENGTH].copy_from_slice(&prefix.encode());
        Ok(Chunk::from_parts(custody.clone(), buffer.freeze(0..Prefix::LENGTH + raw_len)))
    }
}

/// The chunk was authentic, so its sender made it so: asking again would bring the same.
fn wrong(message: String) -> TransformError {
    TransformError { kind: FailureKind::Protocol, message }
}
