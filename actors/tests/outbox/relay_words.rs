//! Tests of the news that a sender gets through a relay: its delivery was delivered, processed or
//! refused, or it expired. A relay can't make other news of it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use estafette::delivery::FailureKind;
use estafette::node::{OutboxError, OutboxState, RelayQuota, Store};
use estafette::{Node, SendOptions, TransferHandle, TransferNews, TrustedPeer};
use estafette_actors::sink::{FileSink, MemorySink};
use estafette_actors::source::BytesSource;
use estafette_actors::spool::Spool;
use tempfile::TempDir;

use super::endings::{At, Still, names};
use super::harness::{entry, within};
use super::three::{PARIS, World, content, relayed};

async fn relay(world: &World) -> Node {
    world.relay(RelayQuota::default()).await
}

/// A delivery that dijon keeps, of a lyon that is gone.
async fn kept(world: &World, inbox: &str, bytes: &[u8]) -> TransferHandle {
    let (lyon, dijon) = (world.node(0).await, relay(world).await);
    let transfer = world.send_by_relay(&lyon, inbox, bytes).await;
    relayed(&lyon, &transfer).await;
    lyon.shutdown().await;
    dijon.shutdown().await;
    transfer
}

async fn all_stop(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn that_the_application_is_done_is_heard_through_the_relay_over_restarts_of_all_three() {
    within(async {
        let world = World::new();
        let id = kept(&world, "in", &content(100_000)).await.id();
        let (dijon, (paris, mut arrived)) = (relay(&world).await, world.paris().await);
        arrived.recv().await.unwrap();
        dijon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
        // Nobody is there to hear it.
        dijon.shutdown().await;
        assert!(paris.processed(world.identities[0].peer(), id).await.unwrap());
        paris.shutdown().await;
        let (dijon, (paris, _arrived)) = (relay(&world).await, world.paris().await);
        paris.stay_connected(dijon.peer());
        dijon.outbox().transfer(id).await.unwrap().processed().await.unwrap();
        all_stop([paris, dijon]).await;
        let (dijon, lyon) = (relay(&world).await, world.node(0).await);
        lyon.stay_connected(dijon.peer());
        let receipt = lyon.outbox().transfer(id).await.unwrap().processed().await.unwrap();
        assert_eq!(receipt.digest, *blake3::hash(&content(100_000)).as_bytes());
        lyon.shutdown().await;
        let lyon = world.node(0).await;
        assert!(
            matches!(entry(&lyon, id).await.unwrap().state, OutboxState::Processed { .. }),
            "it is durable"
        );
        all_stop([lyon, dijon]).await;
    })
    .await;
}

#[tokio::test]
async fn all_words_are_heard_at_once_where_all_are_there_and_each_delivery_is_listed_where_it_belongs()
 {
    within(async {
        let world = World::new();
        let (lyon, dijon, (paris, mut arrived)) =
            (world.node(0).await, relay(&world).await, world.paris().await);
        let mut events = lyon.events();
        let transfer = world.send_by_relay(&lyon, "in", b"letter").await;
        arrived.recv().await.unwrap();
        transfer.delivered().await.unwrap();
        let mut news = Vec::new();
        while let Some(one) = events.next_news().await {
            match one {
                TransferNews::Relayed { relay } => {
                    assert_eq!(relay, dijon.peer());
                    news.push("relayed");
                }
                TransferNews::Delivered { receipt } => {
                    assert_eq!(
                        (receipt.length, receipt.digest),
                        (6, *blake3::hash(b"letter").as_bytes()),
                        "not that of the package"
                    );
                    news.push("delivered");
                    break;
                }
                _ => {}
            }
        }
        assert_eq!(news, ["relayed", "delivered"]);
        let arrivals = paris.arrivals();
        assert_eq!(
            arrivals.iter().map(|(peer, id, _)| (*peer, *id)).collect::<Vec<_>>(),
            [(lyon.peer(), transfer.id())]
        );
        assert_eq!(dijon.arrivals().len(), 0, "what a relay keeps was not delivered to it");
        assert!(paris.processed(lyon.peer(), transfer.id()).await.unwrap());
        transfer.processed().await.unwrap();
        all_stop([lyon, paris, dijon]).await;
    })
    .await;
}

#[tokio::test]
async fn a_refusal_of_the_receiver_is_a_dead_letter_of_the_sender_that_may_be_sent_again() {
    within(async {
        let world = World::new();
        let id = kept(&world, "later", b"letter").await.id();
        let (dijon, (paris, _arrived)) = (relay(&world).await, world.paris().await);
        let failure = dijon.outbox().transfer(id).await.unwrap().delivered().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
        assert_eq!(world.packages(1), 0, "a dead letter takes no room at a relay");
        let lyon = world.node(0).await;
        lyon.stay_connected(dijon.peer());
        let failure = lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        for part in ["the relay dijon", "no inbox \"later\""] {
            assert!(failure.message.contains(part), "{failure}");
        }
        let (inbox, mut arrived) = MemorySink::channel(1 << 20, 1);
        paris.receive("later", inbox).unwrap();
        lyon.outbox().retry(id).await.unwrap();
        assert!(arrived.recv().await.unwrap().bytes == b"letter"[..]);
        lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
        all_stop([lyon, paris, dijon]).await;
    })
    .await;
}

#[tokio::test]
async fn what_came_by_a_relay_waits_for_its_inbox_at_the_receivers_next_start() {
    within(async {
        let world = World::new();
        let id = kept(&world, "late", b"letter").await.id();
        let (dijon, (paris, _arrived)) = (relay(&world).await, world.paris().await);
        let into = world.folder.path().join("in");
        let dies = Still::new(&into, At::DeadBehindCommit);
        paris.receive("late", dies.clone()).unwrap();
        dies.reached().await;
        assert_eq!(names(&into), ["letter"]);
        paris.abort().await;
        let mut events = dijon.events();
        let (paris, _arrived) = world.paris().await;
        loop {
            match events.next_news().await.unwrap() {
                TransferNews::Deferred { failure } if failure.message.contains("inbox") => break,
                TransferNews::Failed { failure } => panic!("it was given up: {failure}"),
                _ => {}
            }
        }
        paris.receive("late", FileSink::into_dir(&into)).unwrap();
        dijon.outbox().retry(id).await.unwrap();
        dijon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
        assert_eq!(names(&into), ["letter"]);
        all_stop([paris, dijon]).await;
    })
    .await;
}

#[tokio::test]
async fn what_expires_at_the_relay_or_is_taken_out_there_is_said_to_the_sender() {
    within(async {
        let world = World::new();
        let (lyon, dijon) = (world.node(0).await, relay(&world).await);
        let to = || estafette::node::Destination::Peer(world.identities[PARIS].peer(), "in".into());
        let mut life = Duration::from_secs(3);
        loop {
            let short = SendOptions { expiry: Some(life), ..SendOptions::default() };
            let expired = world.send_by_relay_with(&lyon, to(), b"short", short).await;
            let failure = expired.delivered().await.unwrap_err();
            if failure.message.contains("the relay dijon") {
                assert_eq!(failure.kind, FailureKind::Expired, "{failure}");
                break;
            }
            // On a busy machine it may expire before the relay has it: the next one has longer.
            life *= 2;
        }
        let taken = world.send_by_relay_with(&lyon, to(), b"taken", SendOptions::default()).await;
        relayed(&lyon, &taken).await;
        dijon.outbox().withdraw(taken.id()).await.unwrap();
        let failure = taken.delivered().await.unwrap_err();
        assert!(
            failure.kind == FailureKind::Cancelled && failure.message.contains("the relay dijon"),
            "{failure}"
        );
        assert_eq!(world.packages(1), 0);
        all_stop([lyon, dijon]).await;
    })
    .await;
}

#[tokio::test]
async fn a_relay_refuses_what_it_could_never_deliver() {
    within(async {
        let world = World::new();
        let dijon = world.node_knowing(
            1,
            estafette::NodeConfig {
                relay: Some(RelayQuota::default()),
                ..super::harness::config()
            },
            &[0],
        );
        let (lyon, dijon) = (world.node(0).await, dijon.await);
        let transfer = world.send_by_relay(&lyon, "in", b"x").await;
        let failure = transfer.delivered().await.unwrap_err();
        assert!(
            failure.kind == FailureKind::Refused
                && failure.message.contains("does not know the receiver"),
            "{failure}"
        );
        all_stop([lyon, dijon]).await;
    })
    .await;
}

#[tokio::test]
async fn a_ticket_is_redeemed_by_what_a_relay_brings_and_without_it_a_stranger_is_refused() {
    within(async {
        let world = World::new();
        let (lyon, dijon) = (world.node(0).await, relay(&world).await);
        let (paris, mut arrived) = world.paris_knowing(&[1]).await;
        let stranger =
            world.send_by_relay(&lyon, "in", b"stranger").await.delivered().await.unwrap_err();
        assert!(
            stranger.kind == FailureKind::Refused && stranger.message.contains("may not deliver"),
            "{stranger}"
        );
        let ticket = paris.ticket("in").unwrap();
        let transfer =
            world.send_by_relay_with(&lyon, ticket, b"guest", SendOptions::default()).await;
        transfer.delivered().await.unwrap();
        let delivered = arrived.recv().await.unwrap();
        assert!(delivered.bytes == b"guest"[..] && delivered.offer.peer == lyon.peer());
        assert!(
            paris.trust().allows(&lyon.peer(), "in")
                && !paris.trust().allows(&lyon.peer(), "files")
        );
        all_stop([lyon, paris, dijon]).await;
    })
    .await;
}

#[tokio::test]
async fn who_is_trusted_as_a_relay_only_carries_and_delivers_nothing_of_its_own() {
    within(async {
        let world = World::new();
        let (lyon, dijon) = (world.node(0).await, relay(&world).await);
        let (paris, mut arrived) = world.paris_knowing(&[0]).await;
        let only = TrustedPeer {
            addresses: vec!["dijon".into()],
            inboxes: Vec::new(),
            ..TrustedPeer::new("dijon")
        };
        paris.trust().add(dijon.peer(), only).unwrap();
        world.send_by_relay(&lyon, "in", b"carried").await.delivered().await.unwrap();
        assert!(arrived.recv().await.unwrap().bytes == b"carried"[..]);
        let own =
            dijon.send("paris/in", BytesSource::new("own", &b"own"[..]).unwrap()).await.unwrap();
        let failure = own.delivered().await.unwrap_err();
        assert!(failure.message.contains("may not deliver"), "{failure}");
        assert_eq!(paris.arrivals().len(), 1);
        all_stop([lyon, paris, dijon]).await;
    })
    .await;
}

/// A copy of what dijon keeps now: for a relay that gives it out again later.
fn copy_of_dijon(world: &World) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let from = world.folder.path().join("dijon");
    fs::create_dir(copy.path().join("bulk")).unwrap();
    for folder in ["", "bulk"] {
        for file in fs::read_dir(from.join(folder)).unwrap().map(|file| file.unwrap()) {
            if file.metadata().unwrap().is_file() {
                fs::copy(file.path(), copy.path().join(folder).join(file.file_name())).unwrap();
            }
        }
    }
    copy
}

#[tokio::test]
async fn a_relay_that_gives_a_package_out_again_gets_the_old_word_and_nothing_arrives_twice() {
    within(async {
        let mut world = World::new();
        let id = kept(&world, "in", b"once").await.id();
        let copy = copy_of_dijon(&world);
        let (dijon, (paris, mut arrived)) = (relay(&world).await, world.paris().await);
        arrived.recv().await.unwrap();
        let first = dijon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
        all_stop([dijon, paris]).await;
        world.spools[1] = Arc::new(Spool::open(copy.path()).unwrap()) as Arc<dyn Store>;
        let (dijon, (paris, mut arrived)) = (relay(&world).await, world.paris().await);
        let second = dijon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
        assert_eq!(first, second);
        let lyon = world.node(0).await;
        lyon.stay_connected(dijon.peer());
        assert_eq!(lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap(), first);
        assert_eq!(paris.arrivals().len(), 1);
        all_stop([lyon, dijon, paris]).await;
        assert!(arrived.try_recv().is_err(), "it was delivered twice");
    })
    .await;
}

/// The same package with checksums that agree: anybody who carries it can make them.
fn with_checksums(mut package: Vec<u8>) -> Vec<u8> {
    let transfer = package[16 + 64..16 + 88].to_vec();
    let length = |package: &[u8], at: usize| {
        u32::from_le_bytes(package[at..at + 4].try_into().unwrap()) as usize
    };
    let mut start = 16 + length(&package, 12) + 8;
    while start < package.len() {
        let end = start + 24 + length(&package, start) + 8;
        let mut hasher =
            blake3::Hasher::new_derive_key("estafette 2026-11 v1 package frame checksum");
        hasher.update(&transfer).update(&package[start..end - 8]);
        package[end - 8..end].copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        start = end;
    }
    package
}

#[tokio::test]
async fn what_a_relay_has_altered_reaches_no_inbox_and_is_no_success_for_the_sender() {
    within(async {
        for checksums in [false, true] {
            let world = World::new();
            let id = kept(&world, "in", &content(50_000)).await.id();
            let mut package = fs::read(world.kept(id)).unwrap();
            let middle = package.len() / 2;
            package[middle] ^= 1;
            fs::write(world.kept(id), if checksums { with_checksums(package) } else { package })
                .unwrap();
            let (dijon, (paris, mut arrived), lyon) =
                (relay(&world).await, world.paris().await, world.node(0).await);
            lyon.stay_connected(dijon.peer());
            let failure = lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap_err();
            assert!(failure.message.contains("the relay dijon gave it up"), "{failure}");
            assert_eq!(paris.arrivals().len(), 0);
            // Lyon still has it, and may send it again.
            lyon.outbox().retry(id).await.unwrap();
            assert!(arrived.recv().await.unwrap().bytes == content(50_000));
            lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
            all_stop([lyon, dijon, paris]).await;
        }
    })
    .await;
}

#[tokio::test]
async fn only_what_nobody_else_can_have_is_recalled() {
    within(async {
        let world = World::new();
        let lyon = world.node(0).await;
        let away = world.send_by_relay(&lyon, "in", b"for a relay that is away").await;
        lyon.outbox().recall(away.id()).await.unwrap();
        assert_eq!(away.delivered().await.unwrap_err().kind, FailureKind::Cancelled);
        assert!(entry(&lyon, away.id()).await.is_none());
        let dijon = world.relay(RelayQuota::default()).await;
        let there = world.send_by_relay(&lyon, "in", b"for one that is there").await;
        relayed(&lyon, &there).await;
        assert!(matches!(lyon.outbox().recall(there.id()).await, Err(OutboxError::Unfit { .. })));
        // It is offered, and perhaps there by now.
        let large = world.send_by_relay(&lyon, "in", &content(4_000_000)).await;
        let mut events = lyon.events();
        while !large.status().started
            && matches!(entry(&lyon, large.id()).await.unwrap().state, OutboxState::Stored)
        {
            events.next_news().await.unwrap();
        }
        assert!(matches!(lyon.outbox().recall(large.id()).await, Err(OutboxError::Unfit { .. })));
        let (paris, mut arrived) = world.paris().await;
        let mut lengths = [0; 2];
        for length in &mut lengths {
            *length = arrived.recv().await.unwrap().bytes.len();
        }
        lengths.sort_unstable();
        assert_eq!(lengths, [21, 4_000_000]);
        lyon.shutdown().await;
        dijon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}
