//! More deliveries than descriptors: what waits holds none, and running out of them passes.
//!
//! One test, in a program of its own: the limit is one of the process.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

#[path = "outbox/harness.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests need the rest of it")]
mod harness;

use estafette::delivery::FailureKind;
use estafette::node::OutboxState;
use estafette::pipeline::Source;
use estafette::{NodeConfig, SendOptions, TransferNews};
use estafette_actors::source::{FileSource, TreeSource};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use harness::{World, config, entry, send, within};

/// More than the descriptors that are left.
const DELIVERIES: usize = 300;
const LEFT: usize = 80;

fn open_now() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn allow(descriptors: usize) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors as u64), maximum }).unwrap();
}

#[tokio::test]
async fn more_deliveries_than_descriptors_wait_and_all_arrive() {
    within(async {
        let world = World::new();
        let small = NodeConfig { running_transfers: 3, transfers_per_peer: 1000, ..config() };
        let lyon =
            world.lyon_with_config(std::sync::Arc::clone(&world.lyon_spool), small.clone()).await;
        let before = open_now();
        allow(before + LEFT);
        // Stored, and not stored, by reference: the receiver is away.
        let mut transfers = Vec::new();
        for number in 0..DELIVERIES {
            let file = world.file(&format!("stored{number}"), 10);
            transfers.push(send(&lyon, "paris/files", &file).await);
        }
        let sources: Vec<_> = (0..DELIVERIES)
            .map(|number| FileSource::open(world.file(&format!("live{number}"), 10)).unwrap())
            .collect();
        std::fs::create_dir(world.path("tree")).unwrap();
        std::fs::write(world.path("tree/leaf"), "green").unwrap();
        let trees: Vec<_> =
            (0..DELIVERIES).map(|_| TreeSource::new(vec![world.path("tree")]).unwrap()).collect();
        assert!(trees.iter().all(|tree| tree.content().length.is_some()));
        assert!(
            open_now() < before + LEFT / 2,
            "what waits holds descriptors: {} of {before}",
            open_now()
        );
        let paris = world.paris_with(small).await;
        for transfer in &transfers {
            transfer.delivered().await.unwrap();
        }
        let options = SendOptions { transient: true, ..SendOptions::default() };
        let mut live = Vec::new();
        for source in sources {
            live.push(lyon.send_with("paris/files", source, options.clone()).await.unwrap());
        }
        for transfer in live {
            transfer.delivered().await.unwrap();
        }
        assert_eq!(world.arrived(), 2 * DELIVERIES);
        // None at all are left: that passes, too, at whichever end, and kills neither the delivery
        // nor a node.
        let mut events = lyon.events();
        let last = world.path("last");
        std::fs::write(&last, "the last").unwrap();
        let source = FileSource::open(&last).unwrap();
        allow(3);
        let transfer = lyon.send("paris/files", source).await.unwrap();
        let failure = loop {
            match events.next_news().await.unwrap() {
                TransferNews::Deferred { failure } => break failure,
                TransferNews::Failed { failure } => panic!("it was given up: {failure}"),
                _ => {}
            }
        };
        assert!(matches!(failure.kind, FailureKind::Busy | FailureKind::Io), "{failure}");
        assert_eq!(entry(&lyon, transfer.id()).await.unwrap().state, OutboxState::Stored);
        allow(before + LEFT);
        lyon.outbox().retry(transfer.id()).await.unwrap();
        transfer.delivered().await.unwrap();
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}
