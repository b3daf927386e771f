//! Trust that ends, or can't be read, while there is a link.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use estafette::delivery::FailureKind;
use estafette::node::{FileStore, Trust};
use estafette::testing::Network;
use estafette::{Identity, Node, NodeEvent, TrustedPeer};
use estafette_actors::sink::{Delivered, MemorySink};
use estafette_actors::standard;
use tokio::sync::mpsc::Receiver;

use super::harness::{CHUNK, World, config, event, source};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn trust_that_expires_ends_link_and_transfers_at_its_time() {
    let mut world = World::new(3).await;
    let bytes = world.random.bytes(2000 * CHUNK);
    let transfer = world.send(&bytes).await;
    world.network().carries(30 * CHUNK as u64).await;
    // So that it does not end by itself.
    world.pair.paris.pause(transfer.id());
    let mut events = world.pair.paris.events();
    let end = now() + 2;
    let lyon = TrustedPeer { expires: Some(end), ..TrustedPeer::new("lyon") };
    world.pair.paris.trust().add(world.pair.lyon.peer(), lyon).unwrap();
    let failure = transfer.delivered().await.unwrap_err();
    assert!(now() >= end, "not before its time");
    assert!(
        failure.kind == FailureKind::Untrusted && failure.message.contains("expired"),
        "{failure}"
    );
    event(&mut events, |event| matches!(event, NodeEvent::Transfer(_))).await;
    let failure = world.send(&bytes).await.delivered().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Untrusted, "{failure}");
    assert!(world.arrived.try_recv().is_err());
    world.stop().await;
}

/// Paris, whose trust is in a folder, and lyon, which is linked with it.
async fn linked(folder: &std::path::Path) -> (Node, Node, Receiver<Delivered>) {
    let (network, identities) = (Network::seeded(5), [Identity::generate(), Identity::generate()]);
    let [one, two] = &identities;
    let paris = Node::builder().name("paris").identity(two.clone()).listen("paris").peer(
        "lyon",
        one.peer(),
        ["lyon"],
    );
    let paris = paris
        .store(Arc::new(FileStore::open(folder).unwrap()))
        .stages(standard().transport(network.transport("paris")));
    let paris = paris.config(config()).start().await.unwrap();
    let lyon =
        Node::builder().name("lyon").identity(one.clone()).peer("paris", two.peer(), ["paris"]);
    let lyon = lyon
        .stages(standard().transport(network.transport("lyon")))
        .config(config())
        .start()
        .await
        .unwrap();
    let (inbox, arrived) = MemorySink::channel(1 << 20, 8);
    paris.receive("in", inbox).unwrap();
    lyon.send("paris/in", source(b"first")).await.unwrap().delivered().await.unwrap();
    (paris, lyon, arrived)
}

#[tokio::test]
async fn what_another_process_revokes_is_noticed_by_a_node_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (paris, lyon, _arrived) = linked(folder.path()).await;
    let mut events = lyon.events();
    let other_process = Trust::load(Arc::new(FileStore::open(folder.path()).unwrap())).unwrap();
    assert!(other_process.revoke(lyon.peer()).unwrap());
    event(&mut events, |event| matches!(event, NodeEvent::LinkDown { .. })).await;
    assert!(paris.trust().peer(&lyon.peer()).is_none());
    let failure =
        lyon.send("paris/in", source(b"second")).await.unwrap().delivered().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Untrusted, "{failure}");
}

#[tokio::test]
async fn a_node_whose_trust_can_t_be_read_lets_nobody_in_and_ends_its_links() {
    let folder = tempfile::tempdir().unwrap();
    let (paris, lyon, _arrived) = linked(folder.path()).await;
    let mut events = lyon.events();
    let (peers, aside) = (folder.path().join("peers"), folder.path().join("aside"));
    std::fs::rename(&peers, &aside).unwrap();
    // A file in the place of a folder can't be listed, whoever asks.
    std::fs::write(&peers, "").unwrap();
    std::fs::write(folder.path().join("version"), "another").unwrap();
    event(&mut events, |event| matches!(event, NodeEvent::LinkDown { .. })).await;
    assert!(paris.trust().peer(&lyon.peer()).is_none() && paris.trust().refresh().is_err());
    let failure =
        lyon.send("paris/in", source(b"second")).await.unwrap().delivered().await.unwrap_err();
    assert_ne!(failure.kind, FailureKind::Integrity, "{failure}");
    assert!(std::fs::metadata(&peers).unwrap().is_file(), "nothing was put over it");
    // It goes on as soon as it can be read.
    std::fs::remove_file(&peers).unwrap();
    std::fs::rename(&aside, &peers).unwrap();
    let trust = paris.trust().clone();
    tokio::task::spawn_blocking(move || trust.refresh().unwrap()).await.unwrap();
    lyon.send("paris/in", source(b"third")).await.unwrap().delivered().await.unwrap();
}

#[tokio::test]
async fn while_trust_can_t_be_read_nobody_who_is_trusted_is_refused_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let (paris, lyon, _arrived) = linked(folder.path()).await;
    let (peers, aside) = (folder.path().join("peers"), folder.path().join("aside"));
    std::fs::rename(&peers, &aside).unwrap();
    std::fs::write(&peers, "").unwrap();
    std::fs::write(folder.path().join("version"), "another").unwrap();
    let refresh = || {
        let trust = paris.trust().clone();
        tokio::task::spawn_blocking(move || trust.refresh())
    };
    refresh().await.unwrap().unwrap_err();
    // The link is up still.
    let failure =
        lyon.send("paris/in", source(b"second")).await.unwrap().delivered().await.unwrap_err();
    assert!(
        failure.kind == FailureKind::Busy
            && failure.message.contains("can't read now whom it trusts"),
        "{failure}"
    );
    std::fs::remove_file(&peers).unwrap();
    std::fs::rename(&aside, &peers).unwrap();
    refresh().await.unwrap().unwrap();
    lyon.send("paris/in", source(b"third")).await.unwrap().delivered().await.unwrap();
}
