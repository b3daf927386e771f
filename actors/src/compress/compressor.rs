//! Makes chunks smaller, where that is worth it.

use estafette::pipeline::{
    Chunk, Codec, Compressed, Compression, Parcel, Prefix, Transform, TransformError,
};
use snap::raw::{Encoder, max_compress_len};

/// The transform that compresses. A chunk that would not shrink by an eighth goes raw, without
/// being copied; so does a large one of which no sample shrinks.
#[derive(Debug)]
pub struct Compressor {
    encoder: Encoder,
    sample: Vec<u8>,
}

/// Samples of a chunk that are compressed first, and the bytes of each. Snappy runs fast over what
/// it can't compress, but it still copies all of it; when no sample shrinks at all, that copy is
/// saved.
const SAMPLES: usize = 4;
const SAMPLE: usize = 2 << 10;

/// How much further into its page than the chunk the result begins. What does not compress is
/// copied, and copying to a few bytes further into a page is slow (see the pool of buffers).
const APART: usize = 1 << 10;

impl Default for Compressor {
    fn default() -> Self {
        Self { encoder: Encoder::new(), sample: vec![0; max_compress_len(SAMPLE)] }
    }
}

impl Compressor {
    /// Whether samples from front to back all fail to shrink by even a 32nd: text in any of them is
    /// enough to try the whole.
    fn samples_are_incompressible(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() < 8 * SAMPLES * SAMPLE {
            return false;
        }
        let step = (bytes.len() - SAMPLE) / (SAMPLES - 1);
        (0..SAMPLES).all(|i| {
            let sample = &bytes[i * step..i * step + SAMPLE];
            self.encoder
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
        if custody.transfer().compression == Compression::Off
            || self.samples_are_incompressible(bytes)
        {
            return Ok(raw());
        }
        let mut buffer =
            custody.transfer().buffers.take(APART + Prefix::LENGTH + max_compress_len(bytes.len()));
        let (prefix, body) = buffer[APART..].split_at_mut(Prefix::LENGTH);
        let compressed = self.encoder.compress(bytes, body);
        let compressed =
            compressed.map_err(|error| TransformError::new(format!("snappy: {error}")))?;
        if compressed > bytes.len() - bytes.len() / 8 {
            return Ok(raw());
        }
        let raw_len = u32::try_from(bytes.len()).expect("checked against the chunk size");
        prefix.copy_from_slice(
            &Prefix { codec: Codec::SNAPPY, raw_len, index: custody.index() }.encode(),
        );
        Ok(Compressed::from_parts(
            custody.clone(),
            buffer.freeze(APART..APART + Prefix::LENGTH + compressed),
        ))
    }
}
