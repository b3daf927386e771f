//! Something that is no transform at all.

use estafette::pipeline::{Chunk, Pipeline};

fn main() {
    let _ = Pipeline::<Chunk, Chunk>::new().then("text", || "text");
}
