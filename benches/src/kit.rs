//! One chunk, and everything the codecs make of it: what `codec` times and `instructions` counts.
//!
//! Invariant: every operation runs over buffers made once, as in the pipeline, so none of them
//! counts an allocation.

use anyhow::{Context as _, Result, ensure};
use bytes::BytesMut;
use estafette::delivery::Subtree;
use estafette::pipeline::ChunkCodec;
use estafette::wire::{Frame, FrameDecoder, FrameHeader, FrameKind, HEADER_LENGTH};
use estafette_actors::compress::Snappy;
use estafette_actors::seal::Cipher;

use crate::corpus::{Corpus, Kind};

/// A chunk in all its states.
#[derive(Debug)]
pub struct Kit {
    chunk_size: u32,
    plain: Vec<u8>,
    packed: Vec<u8>,
    packed_length: usize,
    unpacked: Vec<u8>,
    sealed: Vec<u8>,
    tag: [u8; 16],
    opened: Vec<u8>,
    frame: Vec<u8>,
}

impl Kit {
    /// A chunk of `chunk` bytes of content of `kind`.
    ///
    /// # Errors
    /// When snappy fails, or a chunk has more than 32 bits of bytes.
    pub fn new(kind: Kind, chunk: usize) -> Result<Self> {
        let plain = Corpus::generate(kind, 1, chunk).block().to_vec();
        let mut kit = Self {
            chunk_size: u32::try_from(chunk).context("a chunk beyond 4 GiB")?,
            packed: vec![0; OFFSET + 2 * Snappy.bound(chunk)],
            packed_length: 0,
            unpacked: vec![0; chunk],
            sealed: vec![0; chunk],
            tag: [0; 16],
            opened: vec![0; chunk],
            frame: Vec::new(),
            plain,
        };
        kit.compress(&Snappy)?;
        kit.frame = kit.header().encode().to_vec();
        kit.frame.extend_from_slice(&kit.plain);
        Ok(kit)
    }

    /// The codec over the chunk; the length it comes to.
    ///
    /// # Errors
    /// When it fails.
    pub fn compress(&mut self, codec: &impl ChunkCodec) -> Result<usize> {
        self.packed_length = codec.compress(&self.plain, &mut self.packed[OFFSET..])?;
        Ok(self.packed_length)
    }

    /// The chunk back from what [`compress`](Self::compress) made.
    ///
    /// # Errors
    /// When the codec fails.
    pub fn decompress(&mut self, codec: &impl ChunkCodec) -> Result<usize> {
        let packed = &self.packed[OFFSET..OFFSET + self.packed_length];
        Ok(codec.decompress(packed, &mut self.unpacked)?)
    }

    /// Seals the chunk with this implementation.
    pub fn seal<const N: usize>(&mut self, cipher: &impl Cipher<Nonce = [u8; N]>) -> [u8; 16] {
        self.tag = cipher.seal(&KEY, &[9; N], &self.plain, &mut self.sealed);
        self.tag
    }

    /// Opens what [`seal`](Self::seal) made, by an implementation of the same suite.
    ///
    /// # Errors
    /// When the tag does not agree.
    pub fn open<const N: usize>(&mut self, cipher: &impl Cipher<Nonce = [u8; N]>) -> Result<()> {
        Ok(cipher.open(&KEY, &[9; N], &self.tag, &self.sealed, &mut self.opened)?)
    }

    /// BLAKE3 of the chunk as a part of larger content.
    #[must_use]
    pub fn subtree(&self) -> Subtree {
        Subtree::of(1, self.chunk_size, &self.plain)
    }

    /// The header of the chunk's frame.
    #[must_use]
    pub fn header(&self) -> FrameHeader {
        FrameHeader { len: self.chunk_size, kind: FrameKind::Chunk, flags: 0, stream: 1, index: 1 }
    }

    /// Puts the header in front of the chunk.
    pub fn encode_frame(&mut self) -> usize {
        let header = self.header().encode();
        self.frame[..HEADER_LENGTH].copy_from_slice(&header);
        self.frame.len()
    }

    /// Cuts the frame out of what was read, as a host without lanes does; what is read is copied,
    /// as from a socket.
    ///
    /// # Errors
    /// When the frame is not whole.
    pub fn decode_frame(&self, buffer: &mut BytesMut) -> Result<Frame> {
        buffer.extend_from_slice(&self.frame);
        FrameDecoder::new(self.chunk_size).decode(buffer)?.context("the frame is not whole")
    }

    /// Checks that every state is what it should be: to be asked once all operations have run.
    ///
    /// # Errors
    /// Which one is not.
    pub fn check(&self) -> Result<()> {
        ensure!(self.unpacked == self.plain, "what was decompressed is not what was compressed");
        ensure!(self.opened == self.plain, "what was opened is not what was sealed");
        Ok(())
    }
}

const KEY: [u8; 32] = [7; 32];
/// Targets that lie a few bytes further into their page than the source are slow for `rep movsb`:
/// so far away they do not.
const OFFSET: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use estafette_actors::seal::{Fast, Reference};

    #[test]
    fn both_ciphers_open_what_the_other_sealed_and_all_comes_back() {
        for kind in [Kind::Text, Kind::Random] {
            let mut kit = Kit::new(kind, 64 << 10).unwrap();
            assert_eq!(kit.decompress(&Snappy).unwrap(), 64 << 10);
            kit.seal(&Fast);
            kit.open(&Reference).unwrap();
            kit.check().unwrap();
            kit.seal(&Reference);
            kit.open(&Fast).unwrap();
            kit.tag[3] ^= 1;
            assert!(kit.open(&Fast).is_err());
            let frame = kit.decode_frame(&mut BytesMut::new()).unwrap();
            assert_eq!(frame.header, kit.header());
            assert_eq!(frame.body(), kit.plain);
        }
    }
}
