//! Transforms that panic.

use std::sync::atomic::Ordering;

use estafette::pipeline::Pipeline;

use super::fragile::{Fuse, sound, with};
use super::harness::{World, content, count, names, source};
use super::log;

#[tokio::test]
async fn a_chunk_that_a_transform_panics_on_is_tried_once_more_on_a_fresh_one() {
    let fuse = Fuse::blows(1);
    let mut world = World::new(with(fuse.transform("forth"), Pipeline::new()), sound()).await;
    let id = world.deliver(&content(40, &[7])).await;
    assert_eq!(count(&world.lyon, "forth").panics, 1);
    assert_eq!(count(&world.lyon, "forth").restarts, 0, "the actor around it lives");
    assert!(!fuse.reused.load(Ordering::SeqCst));
    let lines = log::lines(&["a stage panicked", "stage=forth", &id, "chunk=7", "on purpose"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    world.check_whole().await;
}

#[tokio::test]
async fn so_is_one_that_the_receivers_inverse_panics_on() {
    let fuse = Fuse::blows(1);
    let mut world = World::new(sound(), with(Pipeline::new(), fuse.transform("back"))).await;
    let id = world.deliver(&content(40, &[0, 39])).await;
    assert_eq!(count(&world.paris, "back").panics, 2);
    assert!(!fuse.reused.load(Ordering::SeqCst));
    for chunk in ["chunk=0", "chunk=39"] {
        assert_eq!(log::lines(&["a stage panicked", "stage=back", &id, chunk]).len(), 1);
    }
    world.check_whole().await;
}

#[tokio::test]
async fn a_second_panic_on_the_same_chunk_fails_that_transfer_alone_and_names_stage_and_chunk() {
    let fuse = Fuse::blows(usize::MAX);
    let mut world = World::new(with(fuse.transform("forth"), Pipeline::new()), sound()).await;
    let (id, failure) = world.fail_beside("in", source(&content(40, &[7]))).await;
    names(&failure, "forth", Some(7));
    assert_eq!(count(&world.lyon, "forth").panics, 2);
    assert_eq!(log::lines(&["a stage panicked", "stage=forth", &id, "chunk=7"]).len(), 2);
    world.nothing_more_arrives();
    world.check_whole().await;
}

#[tokio::test]
async fn so_does_one_in_the_receivers_inverse() {
    let fuse = Fuse::blows(usize::MAX);
    let mut world = World::new(sound(), with(Pipeline::new(), fuse.transform("back"))).await;
    let (id, failure) = world.fail_beside("in", source(&content(40, &[7]))).await;
    names(&failure, "back", Some(7));
    assert_eq!(count(&world.paris, "back").panics, 2);
    assert_eq!(log::lines(&["a stage panicked", "stage=back", &id, "chunk=7"]).len(), 2);
    world.nothing_more_arrives();
    world.check_whole().await;
}
