//! Makes chunks smaller, where that is worth it.

use estafette::pipeline::{
    Chunk, ChunkCodec, Compressed, Parcel, Prefix, Transform, TransformError,
};

/// The transform that compresses, by the codec of the transfer. A chunk that would not shrink by an
/// eighth goes raw, without being copied; so does a large one of which no sample shrinks.
#[derive(Debug, Default)]
pub struct Compressor {
    sample: Vec<u8>,
}

/// Samples of a chunk that are compressed first, and the bytes of each. Codecs run fast over what
/// they can't compress, but still copy all of it; when no sample shrinks at all, that copy is
/// saved.
const SAMPLES: usize = 4;
const SAMPLE: usize = 2 << 10;

/// The bytes by which the result begins further into its page than the chunk: copying what does not
/// compress to a few bytes further into a page is slow (see the pool of buffers).
const APART: usize = 1 << 10;

impl Compressor {
    /// Returns `true` if samples from front to back all fail to shrink by even a 32nd: text in any
    /// of them is enough to try the whole.
    fn samples_are_incompressible(&mut self, codec: &dyn ChunkCodec, bytes: &[u8]) -> bool {
        if bytes.len() < 8 * SAMPLES * SAMPLE {
            return false;
        }
        let step = (bytes.len() - SAMPLE) / (SAMPLES - 1);
        self.sample.resize(codec.bound(SAMPLE), 0);
        (0..SAMPLES).all(|i| {
            let sample = &bytes[i * step..i * step + SAMPLE];
            codec
                .compress(sample, &mut self.sample)
                .is_ok_and(|length| length > SAMPLE - SAMPLE / 32)
        })
    }
}

impl Transform for Compressor {
    type In = Chunk;
    type Out = Compressed;

    fn apply(&mut self, chunk: &Chunk) -> Result<Compressed, TransformError> {
        let (custody, bytes) = (chunk.custody(), chunk.bytes());
        let raw = || Compressed::from_parts(custody.clone(), chunk.content().clone());
        let most = custody.transfer().chunk_limit() as usize;
        if bytes.len() > most {
            let text = "a stage before it made a chunk of";
            return Err(TransformError::new(format!(
                "{text} {} bytes, {most} are allowed; see `Pipeline::growing`",
                bytes.len()
            )));
        }
        let Some(codec) = custody.transfer().codec.as_deref() else { return Ok(raw()) };
        if self.samples_are_incompressible(codec, bytes) {
            return Ok(raw());
        }
        let room = codec.bound(bytes.len());
        let mut buffer = custody.transfer().buffers.take(APART + Prefix::LENGTH + room);
        let (prefix, body) =
            buffer[APART..APART + Prefix::LENGTH + room].split_at_mut(Prefix::LENGTH);
        let compressed = codec.compress(bytes, body);
        let compressed = compressed
            .map_err(|error| TransformError::new(format!("{}: {error}", codec.name())))?;
        // Rounded up: what did not shrink at all, and was perhaps never written, is above it, too.
        if compressed > bytes.len() - bytes.len().div_ceil(8) {
            return Ok(raw());
        }
        if compressed > room {
            let name = codec.name();
            let text = format!("{name} says it wrote {compressed} bytes to {room}");
            return Err(TransformError::new(text));
        }
        let raw_len = u32::try_from(bytes.len()).expect("checked against the chunk size");
        prefix.copy_from_slice(
            &Prefix { codec: codec.id(), raw_len, index: custody.index() }.encode(),
        );
        Ok(Compressed::from_parts(
            custody.clone(),
            buffer.freeze(APART..APART + Prefix::LENGTH + compressed),
        ))
    }
}
