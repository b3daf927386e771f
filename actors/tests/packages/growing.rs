//! Coders that make chunks longer, by what they declare and no more.

use estafette::node::{PackError, PackOrder};
use estafette::node::{RegistryError, StageRegistry};
use estafette::pipeline::{Chunk, Parcel, Pipeline, Transform, TransformError};

use super::harness::{CHUNK, Scene, noise, registry, run, source};

/// Puts a checksum of so many bytes behind each chunk.
struct Sum(usize);

/// Checks it, and takes it away.
struct Check(usize);

fn sum(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut sum = vec![0; length];
    blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut sum);
    sum
}

impl Transform for Sum {
    type In = Chunk;
    type Out = Chunk;

    fn apply(&mut self, chunk: &Chunk) -> Result<Chunk, TransformError> {
        Ok(Chunk::new(
            chunk.custody().clone(),
            &[chunk.bytes(), &sum(chunk.bytes(), self.0)].concat(),
        ))
    }
}

impl Transform for Check {
    type In = Chunk;
    type Out = Chunk;

    fn apply(&mut self, chunk: &Chunk) -> Result<Chunk, TransformError> {
        let (bytes, given) = chunk.bytes().split_at(chunk.bytes().len().saturating_sub(self.0));
        if sum(bytes, self.0) != given {
            return Err(TransformError::new("another checksum"));
        }
        Ok(Chunk::new(chunk.custody().clone(), bytes))
    }
}

/// A coder that adds `adds` bytes and declares `declared`.
fn summing(adds: usize, declared: u32) -> StageRegistry {
    let (forward, inverse) = (
        Pipeline::new().then("sum", move || Sum(adds)),
        Pipeline::new().then("check", move || Check(adds)),
    );
    registry().coder("sum", forward.growing(declared), inverse)
}

async fn packed(scene: &Scene, coders: &[&str]) -> Result<(), PackError> {
    let coders = coders.iter().map(|stage| (*stage).to_owned()).collect();
    let order = PackOrder { coders, ..scene.order("package", source(&noise(20 * CHUNK + 7))) };
    scene.try_pack(order).await.map(drop)
}

#[test]
fn a_coder_makes_chunks_longer_by_what_it_declares() {
    run(async {
        for adds in [1, 32, 512] {
            let scene = Scene::with(summing(adds, adds as u32));
            packed(&scene, &["sum"]).await.unwrap();
            assert!(scene.unpack("package").await.unwrap().1 == noise(20 * CHUNK + 7), "{adds}");
        }
        // What several add is added up.
        let scene = Scene::with(summing(100, 100));
        packed(&scene, &["sum", "flip", "sum"]).await.unwrap();
        assert!(scene.unpack("package").await.unwrap().1 == noise(20 * CHUNK + 7));
    });
}

#[test]
fn a_coder_that_adds_more_than_it_declares_or_may_is_refused() {
    run(async {
        let error = packed(&Scene::with(summing(33, 32)), &["sum"]).await.unwrap_err();
        assert!(error.to_string().contains("1057 bytes, 1056 are allowed"), "{error}");
        // A quarter of the chunk size and 256.
        for (declared, stages) in [(513, vec!["sum"]), (257, vec!["sum", "sum"])] {
            let error = packed(&Scene::with(summing(1, declared)), &stages).await.unwrap_err();
            let limited =
                matches!(error, PackError::Registry(RegistryError::Grows { limit: 512, .. }));
            assert!(limited, "{error:?}");
        }
    });
}

#[test]
fn a_receiver_takes_no_more_than_it_has_declared_itself() {
    run(async {
        let scene = Scene::with(summing(64, 64));
        packed(&scene, &["sum"]).await.unwrap();
        let declares_less = Scene { registry: summing(64, 63), ..scene };
        let failure = declares_less.unpack("package").await.unwrap_err();
        assert!(failure.message.contains("at most 1119 were agreed on"), "{failure}");
    });
}
