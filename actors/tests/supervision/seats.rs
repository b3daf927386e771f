//! A user's own chunker and assembler: actors of a route that have no second try, so that their
//! death ends the transfer.

use actix::{Actor, Context, Handler};
use estafette::pipeline::{Chunk, Piece};

use super::fragile::sound;
use super::harness::{World, content, names, source, within};

/// A chunker, or an assembler, that dies of the first thing it is given.
struct Mortal;

impl Actor for Mortal {
    type Context = Context<Self>;
}

impl Handler<Piece> for Mortal {
    type Result = ();

    fn handle(&mut self, _: Piece, _: &mut Context<Self>) {
        panic!("on purpose");
    }
}

impl Handler<Chunk> for Mortal {
    type Result = ();

    fn handle(&mut self, _: Chunk, _: &mut Context<Self>) {
        panic!("on purpose");
    }
}

#[tokio::test]
async fn a_chunker_that_dies_fails_its_transfer_at_both_ends() {
    for chunks in [0, 1, 40] {
        let world = World::new(sound().chunker(|_| Mortal.start().recipient()), sound()).await;
        let (_, failure) = world.fail("in", source(&content(chunks, &[]))).await;
        names(&failure, "chunker", None);
        within(world.lyon.shutdown()).await;
    }
}

#[tokio::test]
async fn an_assembler_that_dies_fails_its_transfer_at_both_ends() {
    for chunks in [0, 1, 40] {
        let world = World::new(sound(), sound().assembler(|_| Mortal.start().recipient())).await;
        let (_, failure) = world.fail("in", source(&content(chunks, &[]))).await;
        names(&failure, "assembler", failure.index);
        within(world.lyon.shutdown()).await;
    }
}

#[tokio::test]
async fn factories_of_them_that_panic_fail_the_transfer_at_both_ends() {
    let world = World::new(sound().chunker(|_| panic!("on purpose")), sound()).await;
    let (_, failure) = world.fail("in", source(&content(4, &[]))).await;
    assert!(failure.message.contains("chunker"), "{failure}");
    let world = World::new(sound(), sound().assembler(|_| panic!("on purpose"))).await;
    let (_, failure) = world.fail("in", source(&content(4, &[]))).await;
    assert!(failure.message.contains("panicked"), "{failure}");
}
