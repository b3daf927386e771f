//! Too many messages, or too much of what comes with them: what it costs is bounded, its link ends, and others are served.

use estafette::NodeConfig;
use estafette::wire::LinkConfig;
use estafette::wire::message::{BATCH_LIMIT, Item, Shape};
use std::time::Duration;

use super::post::{Echo, Hang, Post, batch, bind, body, serves_lyon, world};
use super::world::{World, link_down, within};
use tokio::io::AsyncWriteExt;

/// Sends batches as `make` makes them until the link ends; why it did.
async fn flood(world: &World, mut post: Post, mut make: impl FnMut(u64) -> Vec<u8>) -> String {
    let mut events = world.paris.events();
    let flooding = async {
        for round in 0.. {
            let made = make(round);
            let frame = post.batch(&made);
            // Until the connection is reset.
            if post.link.channel.io.write_all(&frame).await.is_err() {
                return;
            }
        }
    };
    let (why, ()) = within(async { tokio::join!(link_down(&mut events, world.mallory.id()), flooding) }).await;
    why
}

/// Batches of what `item` makes of rising numbers.
fn many(item: impl Fn(u64) -> Vec<u8>) -> impl FnMut(u64) -> Vec<u8> {
    let mut number = 0;
    move |_| {
        let mut batch = Vec::new();
        loop {
            let next = item(number);
            if batch.len() + next.len() > BATCH_LIMIT {
                return batch;
            }
            batch.extend(next);
            number += 1;
        }
    }
}

#[tokio::test]
async fn names_and_watches_without_end_end_the_link() {
    let world = world(31).await;
    let post = Post::begin(&world.mallory).await;
    let why = flood(&world, post, many(|number| batch(&[bind::<Echo>(number as u32)]))).await;
    assert!(why.contains("one too many"), "{why}");
    serves_lyon(&world).await;
    let post = Post::begin(&world.mallory).await;
    let why = flood(&world, post, many(|watch| batch(&[Item::Watch { watch, name: "target" }]))).await;
    assert!(why.contains("watches"), "{why}");
    serves_lyon(&world).await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn calls_and_tells_beyond_their_credit_end_the_link() {
    let world = world(32).await;
    let body = body(60_000);
    let mut post = Post::begin(&world.mallory).await;
    post.send(&[bind::<Hang>(0)]).await;
    let why = flood(&world, post, |call| batch(&[Item::Call { call, target: 0, shape: Shape::Ask, body: &body }])).await;
    assert!(why.contains("more calls than it has credit for"), "{why}");
    serves_lyon(&world).await;
    let mut post = Post::begin(&world.mallory).await;
    post.send(&[bind::<Hang>(0)]).await;
    let why = flood(&world, post, |_| batch(&[Item::Tell { target: 0, body: &body }])).await;
    assert!(why.contains("more messages than it has credit for"), "{why}");
    serves_lyon(&world).await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn parts_without_end_end_the_link() {
    let world = world(33).await;
    let mut post = Post::begin(&world.mallory).await;
    post.send(&[Item::Begin { total: 16 << 20 }]).await;
    let part = vec![7; 60_000];
    let why = flood(&world, post, |_| batch(&[Item::Part { bytes: &part }])).await;
    assert!(why.contains("does not fit"), "{why}");
    serves_lyon(&world).await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn a_peer_that_asks_and_does_not_read_loses_its_link() {
    // No patience of the link's own would end it in time.
    let link = LinkConfig::new(Duration::from_secs(60), Duration::from_secs(600), Duration::from_secs(3600)).unwrap();
    let world = super::post::world_with(34, NodeConfig { link, ..super::world::config() }).await;
    let mut post = Post::narrow(&world.mallory).await;
    post.announce().await;
    post.send(&[bind::<Echo>(0)]).await;
    // Each is answered with what was sent; beyond the limit of answers, with an error.
    let (large, small) = (body(60_000), body(0));
    // Few at a time: the actor answers them as fast as they come, and the credit for calls is not what ends it.
    let few = |round: u64| {
        (round * 8..round * 8 + 8).map(|number| Item::Call { call: (1 << 32) + number, target: 0, shape: Shape::Ask, body: &small })
    };
    let why = flood(&world, post, |call| match call {
        0..600 => batch(&[Item::Call { call, target: 0, shape: Shape::Ask, body: &large }]),
        round => batch(&few(round).collect::<Vec<_>>()),
    })
    .await;
    assert!(why.contains("does not read"), "{why}");
    serves_lyon(&world).await;
    world.unharmed_by_mallory().await;
}
