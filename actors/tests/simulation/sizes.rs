//! Content of every size arrives as it was.

use super::harness::{CHUNK, World, each_seed};

#[tokio::test]
async fn content_of_every_boundary_size_arrives() {
    each_seed(2, |seed| async move {
        let mut world = World::new(seed).await;
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 7 * CHUNK, 16 * CHUNK, 17 * CHUNK + 5, 64 * CHUNK] {
            let bytes = world.random.bytes(length);
            world.deliver(&bytes).await;
        }
        world.deliver(&vec![0; 100 * CHUNK]).await;
        world.stop().await;
    })
    .await;
}
