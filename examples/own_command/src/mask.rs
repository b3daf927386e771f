//! A coder: what every chunk passes, and its inverse.

use estafette::pipeline::{Chunk, Transform, TransformError};

/// Turns all bits of a chunk, and back again: a transform that is its own inverse.
#[derive(Clone, Copy, Debug)]
pub struct Mask;

impl Transform for Mask {
    type In = Chunk;
    type Out = Chunk;

    fn apply(&mut self, chunk: &Chunk) -> Result<Chunk, TransformError> {
        let masked: Vec<u8> = chunk.bytes().iter().map(|byte| !byte).collect();
        Ok(chunk.with_bytes(&masked))
    }
}
