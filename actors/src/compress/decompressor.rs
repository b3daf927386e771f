//! Makes chunks what they were.
//!
//! Invariant: nothing is decompressed into more than one chunk's size, whatever the bytes claim.

use estafette::delivery::FailureKind;
use estafette::pipeline::{
    Chunk, ChunkCodec, Codec, Compressed, Parcel, Prefix, Transform, TransformError,
};

/// The transform that decompresses, by the codec of the transfer.
#[derive(Debug, Default)]
pub struct Decompressor(());

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
        let codec = custody.transfer().codec.as_deref();
        match (prefix.codec, codec) {
            (Codec::RAW, _) if body.len() == raw_len => {
                Ok(Chunk::from_parts(custody.clone(), compressed.content().clone()))
            }
            (Codec::RAW, _) => {
                Err(wrong(format!("a raw chunk of {} bytes that says {raw_len}", body.len())))
            }
            (used, Some(codec)) if used == codec.id() => decompress(codec, compressed, raw_len),
            (Codec(other), codec) => Err(wrong(format!(
                "codec {other} is not known here: the transfer was opened with {}",
                codec.map_or("none", ChunkCodec::name)
            ))),
        }
    }
}

fn decompress(
    codec: &dyn ChunkCodec,
    compressed: &Compressed,
    raw_len: usize,
) -> Result<Chunk, TransformError> {
    let custody = compressed.custody();
    let mut buffer = custody.transfer().buffers.take(Prefix::LENGTH + raw_len);
    let body = &mut buffer[Prefix::LENGTH..Prefix::LENGTH + raw_len];
    match codec.decompress(compressed.body(), body) {
        Ok(length) if length == raw_len => {}
        Ok(length) => {
            return Err(wrong(format!(
                "a chunk that says {raw_len} bytes, but would decompress to {length}"
            )));
        }
        Err(error) => return Err(wrong(format!("{}: {error}", codec.name()))),
    }
    let prefix = Prefix { codec: Codec::RAW, raw_len: raw_len as u32, index: custody.index() };
    buffer[..Prefix::LENGTH].copy_from_slice(&prefix.encode());
    Ok(Chunk::from_parts(custody.clone(), buffer.freeze(0..Prefix::LENGTH + raw_len)))
}

/// The chunk was authentic, so its sender made it so: asking again would bring the same.
fn wrong(message: String) -> TransformError {
    TransformError { kind: FailureKind::Protocol, message }
}
