//! Hashes each chunk as a subtree of the content, where it is in cache anyway.

use estafette::delivery::Subtree;
use estafette::pipeline::{Chunk, Parcel, Transform, TransformError};

/// The transform that hashes: first of all at the sender, last of all at the receiver. It changes
/// nothing.
#[derive(Debug, Default)]
pub struct Digest;

impl Transform for Digest {
    type In = Chunk;
    type Out = Chunk;

    fn apply(&mut self, chunk: &Chunk) -> Result<Chunk, TransformError> {
        let custody = chunk.custody();
        let transfer = custody.transfer();
        transfer.hashed(
            custody.index(),
            Subtree::of(custody.index(), transfer.scope.chunk_size, chunk.bytes()),
        );
        Ok(Chunk::from_parts(custody.clone(), chunk.content().clone()))
    }
}
