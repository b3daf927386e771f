//! Sealing before compressing: what is sealed can't be compressed.

use estafette::pipeline::{Chunk, Compressed, Parcel, Pipeline, Sealed, Transform, TransformError};

struct Compress;

impl Transform for Compress {
    type In = Chunk;
    type Out = Compressed;

    fn apply(&mut self, input: &Chunk) -> Result<Compressed, TransformError> {
        Ok(Compressed::from_parts(input.custody().clone(), input.content().clone()))
    }
}

struct Seal;

impl Transform for Seal {
    type In = Compressed;
    type Out = Sealed;

    fn apply(&mut self, input: &Compressed) -> Result<Sealed, TransformError> {
        Ok(Sealed::from_parts(input.custody().clone(), input.content().clone()))
    }
}

fn main() {
    let _ = Pipeline::<Chunk, Chunk>::new().then("seal", || Seal).then("compress", || Compress);
}
