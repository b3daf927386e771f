//! Snappy, raw format: <https://github.com/google/snappy/blob/main/format_description.txt>.

use std::cell::RefCell;

use estafette::pipeline::{ChunkCodec, Codec, CodecFault};
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

/// Snappy, which every node has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snappy;

thread_local! {
    /// Its tables are 32 KiB; it forgets what was in them.
    static ENCODER: RefCell<Encoder> = RefCell::new(Encoder::new());
}

impl ChunkCodec for Snappy {
    fn id(&self) -> Codec {
        Codec::SNAPPY
    }

    fn name(&self) -> &str {
        "snappy"
    }

    fn bound(&self, length: usize) -> usize {
        max_compress_len(length)
    }

    fn compress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
        ENCODER.with_borrow_mut(|encoder| encoder.compress(bytes, into)).map_err(CodecFault::new)
    }

    fn decompress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
        match decompress_len(bytes).map_err(CodecFault::new)? {
            length if length == into.len() => {
                Decoder::new().decompress(bytes, into).map_err(CodecFault::new)
            }
            other => Ok(other),
        }
    }
}
