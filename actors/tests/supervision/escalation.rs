//! Actors that die again and again.

use std::time::Duration;

use estafette::NodeConfig;
use estafette::pipeline::{Hosting, Pipeline};
use estafette::supervise::RestartPolicy;

use super::fragile::{Fuse, sound, with};
use super::harness::{World, config, content, count, names, source};
use super::log;

const BACKOFF: Duration = Duration::from_millis(20);

/// One lane, and so one route: every death counts for it. Two restarts are granted, and never
/// forgotten.
fn strict() -> NodeConfig {
    let restart = RestartPolicy {
        intensity: 2,
        within: Duration::from_secs(3600),
        backoff: BACKOFF,
        backoff_limit: 2 * BACKOFF,
    };
    NodeConfig { hosting: Hosting::Parallel(1), restart, ..config() }
}

#[tokio::test]
async fn a_transfer_whose_chunks_an_actor_dies_of_too_often_is_given_up_and_the_next_one_finds_a_fresh_actor()
 {
    let fuse = Fuse::blows(1);
    let mut world =
        World::with(strict(), with(fuse.actor("often"), Pipeline::new()), sound()).await;
    // Each chunk would pass at its second try: it is the route that fails.
    let (_, failure) = world.fail("in", source(&content(200, &[5, 50, 100, 150]))).await;
    names(&failure, "often", None);
    assert!(failure.message.contains("again and again"), "{failure}");
    // Two as the policy grants, and one for those that come later.
    assert_eq!(count(&world.lyon, "often").restarts, 3);
    assert_eq!(log::lines(&["the transfer it dies of is given up", "stage=often"]).len(), 1);
    // The next ones start at a fresh count, too.
    world.deliver(&content(100, &[5, 50])).await;
    world.check_whole().await;
}

#[tokio::test]
async fn so_is_one_at_the_receiver() {
    let fuse = Fuse::blows(1);
    let world = World::with(strict(), sound(), with(Pipeline::new(), fuse.actor("rarely"))).await;
    let (_, failure) = world.fail("in", source(&content(200, &[5, 50, 100, 150]))).await;
    names(&failure, "rarely", None);
    assert_eq!(count(&world.paris, "rarely").restarts, 3);
    assert_eq!(log::lines(&["the transfer it dies of is given up", "stage=rarely"]).len(), 1);
    world.check_whole().await;
}

#[tokio::test]
async fn a_transfer_beside_it_by_the_same_actors_goes_on() {
    let bad = content(200, &[5, 50, 100, 150]);
    let at_sender =
        World::with(strict(), with(Fuse::blows(1).actor("forth"), Pipeline::new()), sound()).await;
    let at_receiver =
        World::with(strict(), sound(), with(Pipeline::new(), Fuse::blows(1).actor("back"))).await;
    for world in [at_sender, at_receiver] {
        let (_, failure) = world.fail_beside("in", source(&bad)).await;
        assert!(failure.message.contains("again and again"), "{failure}");
        world.check_whole().await;
    }
}

#[tokio::test]
async fn restarts_wait_as_the_policy_says() {
    let fuse = Fuse::blows(1);
    let restart = RestartPolicy {
        intensity: 4,
        within: Duration::from_secs(3600),
        backoff: BACKOFF,
        backoff_limit: 2 * BACKOFF,
    };
    let config = NodeConfig { hosting: Hosting::Parallel(1), restart, ..config() };
    let mut world =
        World::with(config, with(fuse.actor("patient"), Pipeline::new()), sound()).await;
    world.deliver(&content(400, &[5, 100, 200, 300])).await;
    let (blown, made) =
        (fuse.times_blown.lock().unwrap().clone(), fuse.times_made.lock().unwrap().clone());
    assert_eq!((blown.len(), made.len()), (4, 5));
    let waits: Vec<_> =
        blown.iter().zip(&made[1..]).map(|(blown, made)| made.duration_since(*blown)).collect();
    for (wait, least) in waits.iter().zip([Duration::ZERO, BACKOFF, 2 * BACKOFF, 2 * BACKOFF]) {
        assert!(*wait >= least, "{waits:?}");
    }
    for wait in ["wait=0ns", "wait=20ms", "wait=40ms"] {
        assert!(
            !log::lines(&["an actor died: starting it anew", "stage=patient", wait]).is_empty(),
            "{wait}"
        );
    }
    world.check_whole().await;
}
