//! Each chunk made smaller by itself, with a fresh context, by the codec of its transfer.
//!
//! A codec of your own is a [`ChunkCodec`](estafette::pipeline::ChunkCodec) that both ends
//! register.

mod compressor;
mod decompressor;
mod lz4;
mod snappy;

pub use compressor::Compressor;
pub use decompressor::Decompressor;
pub use lz4::Lz4;
pub use snappy::Snappy;
