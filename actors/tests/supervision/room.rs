//! Tests that a failed transfer gives back all that it held: rooms, credit, places among the
//! stages, threads.

use estafette::node::StageRegistry;
use estafette::pipeline::Pipeline;

use super::ends::{At, BadInbox, BadSource};
use super::fragile::{Fuse, sound, with};
use super::harness::{POOL, RUNNING, WINDOW, World, content, source};

/// More failures than there are rooms, windows in the pool, or places among the stages.
const FAILURES: usize = 2 * (RUNNING + POOL / WINDOW);

async fn fails_and_fails(lyon: StageRegistry, paris: StageRegistry, inbox: At, bad: At) {
    let world = World::new(lyon, paris).await;
    world.paris.receive("bad", BadInbox(inbox)).unwrap();
    for _ in 0..FAILURES {
        match bad {
            At::Content => _ = world.fail("bad", source(&content(40, &[0, 1, 2, 3]))).await,
            at => _ = world.fail("bad", BadSource::at(at)).await,
        }
    }
    world.check_whole().await;
}

#[tokio::test]
async fn after_panics_in_the_senders_stages() {
    let fuse = Fuse::blows(usize::MAX);
    fails_and_fails(
        with(fuse.transform("forth"), Pipeline::new()),
        sound(),
        At::Content,
        At::Content,
    )
    .await;
}

#[tokio::test]
async fn after_panics_in_the_receivers_stages() {
    let fuse = Fuse::blows(usize::MAX);
    fails_and_fails(
        sound(),
        with(Pipeline::new(), fuse.transform("back")),
        At::Content,
        At::Content,
    )
    .await;
}

#[tokio::test]
async fn after_deaths_of_the_senders_actors() {
    let fuse = Fuse::blows(usize::MAX);
    fails_and_fails(with(fuse.actor("forth"), Pipeline::new()), sound(), At::Content, At::Content)
        .await;
}

#[tokio::test]
async fn after_deaths_of_the_receivers_actors() {
    let fuse = Fuse::blows(usize::MAX);
    fails_and_fails(sound(), with(Pipeline::new(), fuse.actor("back")), At::Content, At::Content)
        .await;
}

#[tokio::test]
async fn after_panics_in_the_source() {
    fails_and_fails(sound(), sound(), At::Content, At::Read).await;
}

#[tokio::test]
async fn after_panics_in_the_inbox_and_the_sink() {
    for at in [At::Open, At::Placement, At::Write, At::Commit, At::Abort] {
        fails_and_fails(sound(), sound(), at, At::Content).await;
    }
}
