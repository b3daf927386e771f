//! Tests of what either side may do to a transfer, and to a node, while content is on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use estafette::delivery::FailureKind;
use estafette::pipeline::{Committed, Inbox, Offer, Placement, Refusal, Sink, SinkError, Summary};
use estafette::{NodeConfig, NodeEvent, TransferNews};
use estafette_actors::{sink::MemorySink, standard};
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::Semaphore;

use super::harness::{CHUNK, WINDOW, World, config, each_seed, event, news, source};

#[tokio::test]
async fn either_side_can_cancel_and_both_hear_of_it() {
    each_seed(2, |seed| async move {
        let mut world = World::new(seed).await;
        let bytes = world.random.bytes(2000 * CHUNK);
        for by_receiver in [false, true] {
            let mut there = world.pair.paris.events();
            let transfer = world.send(&bytes).await;
            world.network().carries(20 * CHUNK as u64).await;
            if by_receiver {
                world.pair.paris.cancel(transfer.id());
            } else {
                transfer.cancel();
            }
            let failure = transfer.delivered().await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Cancelled);
            assert!(failure.message.contains(if by_receiver { "receiver" } else { "sender" }), "{failure}");
            let failed = news(&mut there, |news| matches!(news, TransferNews::Failed { .. })).await;
            assert!(matches!(failed, TransferNews::Failed { failure } if failure.kind == FailureKind::Cancelled));
        }
        assert!(world.arrived.try_recv().is_err());
        let small = world.random.bytes(CHUNK);
        world.deliver(&small).await;
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn either_side_can_pause_and_either_can_go_on_even_over_a_broken_link() {
    each_seed(4, |seed| async move {
        let mut world = World::new(seed).await;
        let bytes = world.random.bytes(400 * CHUNK);
        let (by_receiver, cut) = (seed % 2 == 0, seed > 2);
        let pauser = if by_receiver { world.pair.paris.clone() } else { world.pair.lyon.clone() };
        let other = if by_receiver { world.pair.lyon.clone() } else { world.pair.paris.clone() };
        let (mut here, mut there) = (pauser.events(), other.events());
        let transfer = world.send(&bytes).await;
        world.network().carries(20 * CHUNK as u64).await;
        pauser.pause(transfer.id());
        news(&mut here, |news| matches!(news, TransferNews::Paused)).await;
        news(&mut there, |news| matches!(news, TransferNews::Paused)).await;
        if cut {
            // Nobody can be told now: what is said while the link is down must be said again.
            world.network().refuse("paris", true);
            world.network().refuse("lyon", true);
            world.network().cut();
            event(&mut here, |event| matches!(event, NodeEvent::LinkDown { .. })).await;
        }
        assert!(transfer.status().outcome.is_none());
        pauser.resume(transfer.id());
        if cut {
            news(&mut here, |news| matches!(news, TransferNews::Resumed)).await;
            world.network().refuse("paris", false);
            world.network().refuse("lyon", false);
        }
        let receipt = transfer.delivered().await.unwrap();
        world.check(&receipt, &bytes).await;
        world.stop().await;
    })
    .await;
}

/// A sink that takes a chunk only when it is let.
#[derive(Debug)]
struct Slow {
    taken: Arc<AtomicUsize>,
    leave: Arc<Semaphore>,
}

impl Inbox for Slow {
    fn open(&self, _: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        Ok(Box::new(Self { taken: Arc::clone(&self.taken), leave: Arc::clone(&self.leave) }))
    }
}

impl Sink for Slow {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(&'a mut self, _: u64, bytes: &'a Bytes) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.leave.acquire().await.expect("it is not closed").forget();
            self.taken.fetch_add(bytes.len(), Ordering::SeqCst);
            Ok(())
        })
    }

    fn commit<'a>(&'a mut self, _: &'a Summary) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async { Ok(Committed::default()) })
    }

    fn abort(&mut self, _: &str) {}
}

#[tokio::test]
async fn a_slow_sink_holds_no_more_than_its_window_and_delays_nobody() {
    each_seed(2, |seed| async move {
        let mut world = World::new(seed).await;
        let (taken, leave) = (Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(0)));
        world
            .pair
            .paris
            .receive("slow", Slow { taken: Arc::clone(&taken), leave: Arc::clone(&leave) })
            .unwrap();
        let bytes = world.random.bytes(200 * CHUNK);
        let slow = world.pair.lyon.send("paris/slow", source(&bytes)).await.unwrap();
        for _ in 0..10 {
            let others = world.random.bytes(30 * CHUNK);
            world.deliver(&others).await;
        }
        assert_eq!(taken.load(Ordering::SeqCst), 0);
        let carried = world.network().carried();
        assert!(
            carried < (300 * CHUNK + WINDOW + 40 * CHUNK) as u64,
            "{carried} bytes went, more than the window of the slow one"
        );
        leave.add_permits(200);
        slow.delivered().await.unwrap();
        assert_eq!(taken.load(Ordering::SeqCst), bytes.len());
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn more_transfers_than_may_run_at_once_all_arrive() {
    each_seed(2, |seed| async move {
        let limits = NodeConfig { running_transfers: 4, ..config() };
        let mut world = World::with(seed, limits, standard(), standard()).await;
        let mut contents: Vec<_> = (0..60).map(|i| world.random.bytes(1000 * i + 1)).collect();
        let transfers = join_all(contents.iter().map(|bytes| world.send(bytes))).await;
        for transfer in &transfers {
            transfer.delivered().await.unwrap();
        }
        let mut arrived = Vec::new();
        while let Ok(delivered) = world.arrived.try_recv() {
            arrived.push(delivered.bytes.to_vec());
        }
        arrived.sort();
        contents.sort();
        assert!(arrived == contents, "{} arrived", arrived.len());
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn both_sides_send_at_once_whoever_dialled() {
    each_seed(4, |seed| async move {
        let mut world = World::new(seed).await;
        let (inbox, mut arrived) = MemorySink::channel(1 << 24, 8);
        world.pair.lyon.receive("back", inbox).unwrap();
        let (there, back) = (world.random.bytes(80 * CHUNK), world.random.bytes(90 * CHUNK));
        let (one, two) =
            tokio::join!(world.send(&there), world.pair.paris.send("lyon/back", source(&back)));
        let two = two.unwrap();
        one.delivered().await.unwrap();
        two.delivered().await.unwrap();
        assert!(world.arrived.recv().await.unwrap().bytes == there);
        assert!(arrived.recv().await.unwrap().bytes == back);
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_has_lost_its_memory_gets_everything_anew_and_once() {
    each_seed(4, |seed| async move {
        let mut world = World::new(seed).await;
        let bytes = world.random.bytes(300 * CHUNK);
        let mut events = world.pair.lyon.events();
        let transfer = world.send(&bytes).await;
        world.network().carries(100 * CHUNK as u64).await;
        world.network().refuse("paris", true);
        world.pair.restart_paris(standard()).await.unwrap();
        let (inbox, arrived) = MemorySink::channel(1 << 24, 8);
        world.pair.paris.receive("in", inbox).unwrap();
        world.arrived = arrived;
        world.network().refuse("paris", false);
        let receipt = transfer.delivered().await.unwrap();
        world.check(&receipt, &bytes).await;
        news(&mut events, |news| matches!(news, TransferNews::Restarted { attempt: 1, .. })).await;
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_revoked_peer_is_cut_off_in_the_middle_and_stays_out() {
    each_seed(2, |seed| async move {
        let mut world = World::new(seed).await;
        let bytes = world.random.bytes(2000 * CHUNK);
        let transfer = world.send(&bytes).await;
        world.network().carries(30 * CHUNK as u64).await;
        assert!(world.pair.paris.trust().revoke(world.pair.lyon.peer()).unwrap());
        let failure = transfer.delivered().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Untrusted, "{failure}");
        let failure = world.send(&bytes).await.delivered().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Untrusted, "{failure}");
        assert!(world.arrived.try_recv().is_err());
        world.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_shutdown_lets_what_runs_end_and_takes_nothing_new() {
    each_seed(2, |seed| async move {
        let mut world = World::new(seed).await;
        let bytes = world.random.bytes(300 * CHUNK);
        let transfer = world.send(&bytes).await;
        world.network().carries(5 * CHUNK as u64).await;
        world.pair.lyon.shutdown().await;
        let receipt = transfer.delivered().await.unwrap();
        world.check(&receipt, &bytes).await;
        world.pair.paris.shutdown().await;
        let late = world.pair.lyon.send("paris/in", source(b"late")).await;
        assert!(late.is_err() || late.unwrap().delivered().await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_node_that_is_gone_leaves_no_connection_and_nobody_waiting() {
    each_seed(2, |seed| async move {
        let mut world = World::new(seed).await;
        let bytes = world.random.bytes(2000 * CHUNK);
        let transfer = world.send(&bytes).await;
        world.network().carries(5 * CHUNK as u64).await;
        let mut events = world.pair.paris.events();
        world.pair.lyon.abort().await;
        assert_eq!(transfer.delivered().await.unwrap_err().kind, FailureKind::Shutdown);
        event(&mut events, |event| matches!(event, NodeEvent::LinkDown { .. })).await;
        // Of its lanes, whose ends nobody tells of, no more than of its link.
        while world.network().open() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(world.arrived.try_recv().is_err());
        world.pair.paris.abort().await;
    })
    .await;
}

#[tokio::test]
async fn dials_that_are_refused_end_in_an_error_that_says_so() {
    let limits = NodeConfig { dial_for: std::time::Duration::from_millis(300), ..config() };
    each_seed(1, |seed| {
        let limits = limits.clone();
        async move {
            let world = World::with(seed, limits, standard(), standard()).await;
            world.network().refuse("paris", true);
            let failure = world.send(b"hello").await.delivered().await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Unreachable);
            world.stop().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_given_up_and_the_transfer_goes_on_when_it_reads_again() {
    let link = estafette::wire::LinkConfig::new(
        std::time::Duration::from_millis(50),
        std::time::Duration::from_millis(200),
        std::time::Duration::from_secs(3600),
    );
    let limits = NodeConfig { link: link.unwrap(), ..config() };
    each_seed(2, |seed| {
        let limits = limits.clone();
        async move {
            let mut world = World::with(seed, limits, standard(), standard()).await;
            let bytes = world.random.bytes(400 * CHUNK);
            let mut events = world.pair.lyon.events();
            let transfer = world.send(&bytes).await;
            world.network().carries(20 * CHUNK as u64).await;
            world.network().stall();
            event(&mut events, |event| matches!(event, NodeEvent::LinkDown { .. })).await;
            let receipt = transfer.delivered().await.unwrap();
            world.check(&receipt, &bytes).await;
            world.stop().await;
        }
    })
    .await;
}
