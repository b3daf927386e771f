//! A network that breaks, delays and damages: what is sent arrives, once, as it was.

use std::time::Duration;

use estafette::NodeEvent;
use estafette::testing::{Connecting, Faults, Random};

use super::harness::{CHUNK, World, each_seed, event};

#[tokio::test]
async fn a_transfer_goes_on_where_it_was_when_the_link_is_cut_many_times() {
    each_seed(4, |seed| async move {
        let mut world = World::new(seed).await;
        let bytes = world.random.bytes(300 * CHUNK + 17);
        let transfer = world.send(&bytes).await;
        for _ in 0..12 {
            let more = world.random.below(80_000);
            tokio::select! {
                () = world.pair.network.carries(more) => world.network().cut(),
                _ = transfer.delivered() => break,
            };
        }
        let receipt = transfer.delivered().await.unwrap();
        world.check(&receipt, &bytes).await;
        assert!(world.network().carried() < 4 * bytes.len() as u64, "it began anew each time");
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn lanes_that_break_one_at_a_time_do_not_stop_a_transfer() {
    each_seed(4, |seed| async move {
        let mut world = World::new(seed).await;
        let bytes = world.random.bytes(300 * CHUNK);
        let mut events = world.pair.lyon.events();
        let transfer = world.send(&bytes).await;
        for _ in 0..12 {
            let more = 20_000 + world.random.below(60_000);
            tokio::select! {
                () = world.pair.network.carries(more) => {}
                _ = transfer.delivered() => break,
            }
            let mut random = world.random.clone();
            world.network().cut_one_lane(&mut random);
            world.random = random;
        }
        let receipt = transfer.delivered().await.unwrap();
        world.check(&receipt, &bytes).await;
        event(&mut events, |event| matches!(event, NodeEvent::LinkUp { .. })).await;
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn connections_that_break_by_themselves_at_random_do_not_stop_a_transfer() {
    each_seed(4, |seed| async move {
        let mut world = World::new(seed).await;
        world.network().plan(|connecting, random| {
            let cut = (connecting.number < 25).then(|| 200 + random.below(60_000));
            if random.below(2) == 0 {
                Faults { cut_there: cut, ..Faults::default() }
            } else {
                Faults { cut_back: cut, ..Faults::default() }
            }
        });
        let bytes = world.random.bytes(200 * CHUNK + 1);
        world.deliver(&bytes).await;
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn lanes_of_different_speed_bring_chunks_out_of_order_and_the_content_in_order() {
    each_seed(3, |seed| async move {
        let mut world = World::new(seed).await;
        world.network().plan(|connecting, random| {
            let delay =
                Duration::from_micros(if connecting.bulk { random.below(3000) } else { 100 });
            Faults { delay_there: delay, delay_back: delay / 2, ..Faults::default() }
        });
        let bytes = world.random.bytes(150 * CHUNK + 3);
        world.deliver(&bytes).await;
        world.stop().await;
    })
    .await;
}

/// One bit of the first bulk lane changes, somewhere behind the lane's handshake. One lane only:
/// the same chunk damaged twice is meant to be the end of its transfer.
fn damaged_lanes(connecting: &Connecting, random: &mut Random) -> Faults {
    let flip = (500 + random.below(30_000), 1 << random.below(8));
    let damaged = connecting.number == 1;
    Faults { flips_there: if damaged { vec![flip] } else { vec![] }, ..Faults::default() }
}

#[tokio::test]
async fn a_bit_that_changes_on_a_bulk_lane_is_repaired() {
    each_seed(8, |seed| async move {
        let mut world = World::new(seed).await;
        world.network().plan(damaged_lanes);
        let (first, second) = (world.random.bytes(100 * CHUNK), world.random.bytes(60 * CHUNK));
        let (one, two) = (world.send(&first).await, world.send(&second).await);
        one.delivered().await.unwrap();
        two.delivered().await.unwrap();
        let mut arrived =
            [world.arrived.recv().await.unwrap().bytes, world.arrived.recv().await.unwrap().bytes];
        arrived.sort_by_key(|bytes| std::cmp::Reverse(bytes.len()));
        assert!(arrived[0] == first && arrived[1] == second, "other bytes arrived than were sent");
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_bit_that_changes_on_the_express_lane_closes_the_link_and_it_comes_back() {
    each_seed(6, |seed| async move {
        let mut world = World::new(seed).await;
        world.network().plan(|connecting, random| {
            let flips = vec![(600 + random.below(600), 1 << random.below(8))];
            let damaged = !connecting.bulk && connecting.number < 3;
            Faults { flips_back: if damaged { flips } else { vec![] }, ..Faults::default() }
        });
        let bytes = world.random.bytes(200 * CHUNK);
        world.deliver(&bytes).await;
        world.stop().await;
    })
    .await;
}
