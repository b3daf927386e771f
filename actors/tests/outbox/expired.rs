//! Deliveries whose time is over, or that are refused, when somebody else has them: nobody is told
//! that they were not delivered, and the word of who has them counts whenever it comes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use estafette::node::{Destination, RelayQuota};
use estafette::testing::Pair;
use estafette::{FailureKind, NodeConfig, SendOptions, TransferHandle, TransferNews};
use estafette_actors::sink::FileSink;
use estafette_actors::standard;
use tempfile::TempDir;

use super::endings::{At, Still, dead, letter, names, pair, patient, stored_letter};
use super::harness::within;
use super::three::{PARIS, World, relayed};

fn to_live(life: Duration) -> SendOptions {
    SendOptions { expiry: Some(life), ..SendOptions::default() }
}

/// A delivery that stands still at its commit at paris.
struct Committing {
    transfer: TransferHandle,
    life: Duration,
    still: Still,
    /// The folder that it goes into, and nothing else.
    into: PathBuf,
}

/// Returns a delivery that has come to its commit. On a busy machine it may expire before that: the
/// next one has longer, and a sink and a folder of its own, since the first may still come there.
async fn committing(pair: &Pair, folder: &Path, stored: Option<&TempDir>) -> Committing {
    let mut life = Duration::from_secs(1);
    loop {
        let inbox = format!("in{}", life.as_secs());
        let into = folder.join(&inbox);
        let still = Still::new(&into, At::Commit);
        pair.paris.receive(&inbox, still.clone()).unwrap();
        let to = format!("paris/{inbox}");
        let transfer = match stored {
            Some(from) => {
                let source = stored_letter(from, 10_000);
                pair.lyon.send_with(to.as_str(), source, to_live(life)).await.unwrap()
            }
            None => pair.lyon.send_with(to.as_str(), letter(10_000), to_live(life)).await.unwrap(),
        };
        tokio::select! {
            biased;
            () = still.reached() => return Committing { transfer, life, still, into },
            _ = transfer.delivered() => life *= 2,
        }
    }
}

#[tokio::test]
async fn what_expires_while_it_is_committed_is_delivered_or_said_to_be_unsure() {
    within(async {
        let from = tempfile::tempdir().unwrap();
        for stored in [None, Some(&from)] {
            let (pair, folder) = pair(patient()).await;
            let Committing { transfer, life, still, into } =
                committing(&pair, folder.path(), stored).await;
            // Its time is over, and nobody has said yet that it is not there.
            tokio::time::sleep(life + Duration::from_secs(2)).await;
            still.go_on();
            match transfer.delivered().await {
                Ok(receipt) => assert_eq!(receipt.length, 10_000),
                // On a busy machine the wait for the receiver's word may be over.
                Err(failure) => assert_eq!(failure.kind, FailureKind::Unknown, "{failure}"),
            }
            while pair.paris.arrivals().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(names(&into), ["letter"]);
        }
    })
    .await;
}

#[tokio::test]
async fn what_expires_when_its_receiver_can_not_be_asked_may_have_been_delivered() {
    within(async {
        let (pair, folder) = pair(patient()).await;
        let Committing { transfer, still, .. } = committing(&pair, folder.path(), None).await;
        pair.network.refuse("paris", true);
        pair.network.refuse("lyon", true);
        pair.network.cut();
        let failure = transfer.delivered().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unknown, "{failure}");
        still.go_on();
    })
    .await;
}

#[tokio::test]
async fn a_refusal_before_anything_was_looked_up_does_not_say_that_it_is_not_there() {
    within(async {
        let (mut pair, folder) = pair(patient()).await;
        // Its process dies when all is visible, and nothing is said of it.
        let still = Still::new(folder.path(), At::DeadBehindCommit);
        pair.paris.receive("in", still.clone()).unwrap();
        let from = tempfile::tempdir().unwrap();
        let options = SendOptions { chunk_size: Some(32 << 10), ..SendOptions::default() };
        let source = stored_letter(&from, 10_000);
        let transfer = pair.lyon.send_with("paris/in", source, options).await.unwrap();
        still.reached().await;
        pair.network.refuse("paris", true);
        // The next one takes no chunks of that size, and says so before it looks for anything.
        let config = NodeConfig { window: 32 << 10, ..patient() };
        pair.restart_paris_with(standard(), |builder| builder.config(config)).await.unwrap();
        pair.paris.receive("in", FileSink::into_dir(folder.path())).unwrap();
        pair.network.refuse("paris", false);
        let failure = transfer.delivered().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unknown, "{failure}");
        assert!(failure.message.contains("too large here"), "{failure}");
        assert_eq!(dead(&pair.lyon, transfer.id()).await.kind, FailureKind::Unknown);
        assert_eq!(names(folder.path()), ["letter"]);
    })
    .await;
}

#[tokio::test]
async fn what_a_relay_has_that_is_not_met_again_may_have_been_delivered_and_its_word_counts() {
    within(async {
        let world = World::new();
        let mut life = Duration::from_secs(3);
        let id = loop {
            let lyon = world.node(0).await;
            let dijon = world.relay(RelayQuota::default()).await;
            let to = Destination::Peer(world.identities[PARIS].peer(), "in".into());
            let transfer = world.send_by_relay_with(&lyon, to, b"letter", to_live(life)).await;
            let is_relayed = tokio::select! {
                () = relayed(&lyon, &transfer) => true,
                _ = transfer.delivered() => false,
            };
            // It does not hear how it ends.
            lyon.shutdown().await;
            let (paris, _arrived) = world.paris().await;
            let id = transfer.id();
            let delivered = match dijon.outbox().transfer(id).await {
                Ok(kept) if is_relayed => kept.delivered().await.is_ok(),
                _ => false,
            };
            paris.shutdown().await;
            dijon.shutdown().await;
            if delivered {
                break id;
            }
            // On a busy machine it may expire before it is there: the next one has longer.
            life *= 2;
        };
        let lyon = world.node(0).await;
        let failure = lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unknown, "{failure}");
        assert_eq!(dead(&lyon, id).await.kind, FailureKind::Unknown);
        let refused = lyon.outbox().retry(id).await.unwrap_err().to_string();
        assert!(
            refused.contains("may have been delivered") && refused.contains("look at the receiver"),
            "{refused}"
        );
        let mut events = lyon.events();
        let dijon = world.relay(RelayQuota::default()).await;
        lyon.stay_connected(dijon.peer());
        while !matches!(events.next_news().await.unwrap(), TransferNews::Delivered { .. }) {}
        lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
        for node in [lyon, dijon] {
            node.shutdown().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_expires_at_a_relay_while_its_receiver_commits_is_said_so_to_its_sender() {
    within(async {
        let world = World::new();
        let into = world.folder.path().join("in");
        let (lyon, dijon) = (world.node(0).await, world.relay(RelayQuota::default()).await);
        let (paris, _arrived) = world.paris().await;
        let mut life = Duration::from_secs(3);
        loop {
            // One that stands still at its commit, for good.
            let inbox = format!("in{}", life.as_secs());
            let still = Still::new(&into, At::DeadAtCommit);
            paris.receive(&inbox, still.clone()).unwrap();
            let to = Destination::Peer(world.identities[PARIS].peer(), inbox);
            let transfer = world.send_by_relay_with(&lyon, to, b"letter", to_live(life)).await;
            tokio::select! {
                biased;
                () = still.reached() => {
                    let failure = transfer.delivered().await.unwrap_err();
                    assert_eq!(failure.kind, FailureKind::Unknown, "{failure}");
                    break;
                }
                // On a busy machine it may expire before that: the next one has longer.
                _ = transfer.delivered() => life *= 2,
            }
        }
        // A word that is sure comes through as it is.
        paris.receive("good", FileSink::into_dir(&into)).unwrap();
        let to = Destination::Peer(world.identities[PARIS].peer(), "good".into());
        let good = world.send_by_relay_with(&lyon, to, b"good", SendOptions::default()).await;
        good.delivered().await.unwrap();
        // Paris has a sink that never ends.
        paris.abort().await;
        for node in [lyon, dijon] {
            node.shutdown().await;
        }
    })
    .await;
}
