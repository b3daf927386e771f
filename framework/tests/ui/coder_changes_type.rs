//! A coder that makes something other than chunks: the compressor behind it could not take them.

use estafette::pipeline::{Chunk, Compressed, Parcel, Pipeline, Transform, TransformError};
use estafette::node::StageRegistry;

struct Compress;

impl Transform for Compress {
    type In = Chunk;
    type Out = Compressed;

    fn apply(&mut self, input: &Chunk) -> Result<Compressed, TransformError> {
        Ok(Compressed::from_parts(input.custody().clone(), input.content().clone()))
    }
}

fn main() {
    let _ = StageRegistry::new().coder("zip", Pipeline::new().then("zip", || Compress), Pipeline::new());
}
