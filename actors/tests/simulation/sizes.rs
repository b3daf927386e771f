//! Content of every size arrives as it was.

use estafette::SendOptions;
use estafette::pipeline::{Chunk, Parcel, Pipeline, Transform, TransformError};
use estafette_actors::standard;

use super::harness::{CHUNK, World, config, each_seed, source};

/// Makes each chunk longer, or as long as it was.
struct Pad(bool);

impl Transform for Pad {
    type In = Chunk;
    type Out = Chunk;

    fn apply(&mut self, chunk: &Chunk) -> Result<Chunk, TransformError> {
        let (custody, bytes) = (chunk.custody().clone(), chunk.bytes());
        Ok(if self.0 {
            Chunk::new(custody, &[bytes, &[7; 40]].concat())
        } else {
            Chunk::new(custody, &bytes[..bytes.len() - 40])
        })
    }
}

#[tokio::test]
async fn chunks_that_a_coder_has_made_longer_arrive_as_they_were() {
    each_seed(2, |seed| async move {
        let pad = Pipeline::new().then("pad", || Pad(true)).growing(40);
        let stages = standard().coder("pad", pad, Pipeline::new().then("unpad", || Pad(false)));
        let mut world = World::with(seed, config(), stages.clone(), stages).await;
        let bytes = world.random.bytes(50 * CHUNK + 3);
        let options = SendOptions { stages: vec!["pad".into()], ..SendOptions::default() };
        let transfer =
            world.pair.lyon.send_with("paris/in", source(&bytes), options).await.unwrap();
        world.check(&transfer.delivered().await.unwrap(), &bytes).await;
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn content_of_every_boundary_size_arrives() {
    each_seed(2, |seed| async move {
        let mut world = World::new(seed).await;
        for length in [
            0,
            1,
            CHUNK - 1,
            CHUNK,
            CHUNK + 1,
            2 * CHUNK,
            7 * CHUNK,
            16 * CHUNK,
            17 * CHUNK + 5,
            64 * CHUNK,
        ] {
            let bytes = world.random.bytes(length);
            world.deliver(&bytes).await;
        }
        world.deliver(&vec![0; 100 * CHUNK]).await;
        world.stop().await;
    })
    .await;
}
