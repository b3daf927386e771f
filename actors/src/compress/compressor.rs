//! Makes chunks smaller, where that is worth it.

use estafette::pipeline::{Chunk, Codec, Compressed, Compression, Parcel, Prefix, Transform, TransformError};
use snap::raw::{Encoder, max_compress_len};

/// The transform that compresses. A chunk that would not shrink by an eighth goes raw, without being copied.
#[derive(Debug)]
pub struct Compressor {
    encoder: Encoder,
}

impl Default for Compressor {
    fn default() -> Self {
        Self { encoder: Encoder::new() }
    }
}

impl Transform for Compressor {
    type In = Chunk;
    type Out = Compressed;

    fn apply(&mut self, chunk: &Chunk) -> Result<Compressed, TransformError> {
        let (custody, bytes) = (chunk.custody(), chunk.bytes());
        let raw = || Compressed::from_parts(custody.clone(), chunk.content().clone());
        let size = custody.transfer().scope.chunk_size as usize;
        if bytes.len() > size {
            return Err(TransformError::new(format!("a stage before it made a chunk of {} bytes, {size} are allowed", bytes.len())));
        }
        if custody.transfer().compression == Compression::Off {
            return Ok(raw());
        }
        let mut buffer = custody.transfer().buffers.take(Prefix::LENGTH + max_compress_len(bytes.len()));
        let compressed = self.encoder.compress(bytes, &mut buffer[Prefix::LENGTH..]);
        let compressed = compressed.map_err(|error| TransformError::new(format!("snappy: {error}")))?;
        if compressed > bytes.len() - bytes.len() / 8 {
            return Ok(raw());
        }
        let raw_len = u32::try_from(bytes.len()).expect("checked against the chunk size");
        buffer[..Prefix::LENGTH].copy_from_slice(&Prefix { codec: Codec::SNAPPY, raw_len, index: custody.index() }.encode());
        Ok(Compressed::from_parts(custody.clone(), buffer.freeze(0..Prefix::LENGTH + compressed)))
    }
}
