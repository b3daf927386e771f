//! Cutting content into chunks, hashing them, and putting them together again.

mod assembler;
mod chunker;
mod digest;

pub use assembler::Assembler;
pub use chunker::Chunker;
pub use digest::Digest;
