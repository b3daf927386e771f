//! LZ4, block format: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>. The length
//! stands in the prefix of the chunk.

use estafette::pipeline::{ChunkCodec, Codec, CodecFault};
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

/// LZ4, by the safe half of `lz4_flex`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lz4;

impl ChunkCodec for Lz4 {
    fn id(&self) -> Codec {
        Codec::LZ4
    }

    fn name(&self) -> &str {
        "lz4"
    }

    fn bound(&self, length: usize) -> usize {
        get_maximum_output_size(length)
    }

    fn compress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
        compress_into(bytes, into).map_err(CodecFault::new)
    }

    fn decompress(&self, bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
        // What does not fit is an error before it is written.
        decompress_into(bytes, into).map_err(CodecFault::new)
    }
}
