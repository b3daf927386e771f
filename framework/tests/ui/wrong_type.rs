//! A transform of the wrong type between two right ones.

use estafette::pipeline::{Chunk, Compressed, Parcel, Pipeline, Sealed, Transform, TransformError};

struct Compress;

impl Transform for Compress {
    type In = Chunk;
    type Out = Compressed;

    fn apply(&mut self, input: &Chunk) -> Result<Compressed, TransformError> {
        Ok(Compressed::from_parts(input.custody().clone(), input.content().clone()))
    }
}

struct Open;

impl Transform for Open {
    type In = Sealed;
    type Out = Compressed;

    fn apply(&mut self, input: &Sealed) -> Result<Compressed, TransformError> {
        Ok(Compressed::from_parts(input.custody().clone(), input.content().clone()))
    }
}

fn main() {
    let _ = Pipeline::new().then("compress", || Compress).then("open", || Open);
}
