//! Snappy, chunk by chunk, each with a fresh context.

mod compressor;
mod decompressor;

pub use compressor::Compressor;
pub use decompressor::Decompressor;
