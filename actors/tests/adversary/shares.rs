//! A trusted peer that takes as much as it may of what all share: others have theirs all the same.

use std::time::Duration;

use estafette::delivery::{Content, ContentKind, ContentName};
use estafette::node::NodeEvent;
use estafette::pipeline::{Source, SourceError, SourceReport};
use estafette::wire::{Control, RefuseReason};
use estafette::{FailureKind, Node, NodeConfig, TransferNews};
use estafette_actors::standard;
use futures_util::future::BoxFuture;

use super::world::{World, config, source, within};

/// Mallory, as a node that keeps to the protocol.
async fn mallory(world: &World) -> Node {
    let node = Node::builder()
        .name("mallory")
        .identity(world.mallory.identity.clone())
        .stages(standard())
        .config(config());
    node.peer("paris", world.paris.peer(), [&world.mallory.address]).start().await.unwrap()
}

#[tokio::test]
async fn what_one_peer_delivers_does_not_fill_the_memory_for_all() {
    let mut world =
        World::with(61, NodeConfig { remembered: 50, remembered_share: 5, ..config() }).await;
    let node = mallory(&world).await;
    let mut delivered = 0;
    let failure = loop {
        match within(node.send("paris/in", source(b"")).await.unwrap().delivered()).await {
            Ok(_) => delivered += 1,
            Err(failure) => break failure,
        }
        within(world.arrived.recv()).await.unwrap();
    };
    assert_eq!((delivered, failure.kind), (5, FailureKind::Busy));
    assert!(failure.message.contains("this peer may have 5 here"), "{failure}");
    node.shutdown().await;
    world.unharmed_by_mallory().await;
}

/// Begins, and gives nothing.
#[derive(Debug)]
struct Stuck;

impl Source for Stuck {
    fn content(&self) -> Content {
        Content::new(ContentKind::Bytes, ContentName::new("stuck").unwrap(), Some(1 << 20))
    }

    fn read<'a>(&'a mut self, _: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(std::future::pending())
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Ok(SourceReport::default())
    }
}

#[tokio::test]
async fn a_transfer_that_stands_still_gives_its_room_to_one_that_waits_and_to_nobody_else() {
    let stall = Duration::from_millis(300);
    let mut world = World::with(62, NodeConfig { running_transfers: 1, stall, ..config() }).await;
    let node = mallory(&world).await;
    let mut events = world.paris.events();
    let transfer = node.send("paris/in", Stuck).await.unwrap();
    loop {
        if let NodeEvent::Transfer(event) = within(events.next()).await.unwrap()
            && matches!(event.news, TransferNews::Started { .. })
        {
            break;
        }
    }
    // Nobody waits: it may take its time. Two looks at the clock are two seconds.
    assert!(
        tokio::time::timeout(2 * Duration::from_secs(1) + 2 * stall, transfer.delivered())
            .await
            .is_err()
    );
    world.honest_delivery().await;
    let failure = within(transfer.delivered()).await.unwrap_err();
    assert!(
        failure.kind == FailureKind::Busy
            && failure.message.contains("nothing of it came for 300ms"),
        "{failure}"
    );
    node.shutdown().await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn links_that_come_too_fast_are_refused_and_the_one_there_is_stays() {
    let world = World::new(63).await;
    let (mut links, mut last) = (0, None);
    loop {
        let mut link = world.mallory.handshake().await;
        link.say(&Control::Hello { name: "mallory".into(), token: None, inbox: None }).await;
        match link.hear().await {
            Some(Control::Welcome { .. }) => last = Some(link),
            Some(Control::Refuse { reason }) => {
                assert_eq!(reason, RefuseReason::TooManyLinks);
                break;
            }
            other => panic!("{other:?}"),
        }
        links += 1;
        assert!(links < 1000, "nobody stops it");
    }
    last.unwrap().stands().await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn two_programs_with_one_key_are_named_as_that_at_both_ends() {
    let world = World::new(66).await;
    let (first, second) = (mallory(&world).await, mallory(&world).await);
    let mut events = [world.paris.events(), first.events(), second.events()];
    first.stay_connected(world.paris.peer());
    second.stay_connected(world.paris.peer());
    let (key, paris) = (world.mallory.id(), world.paris.peer());
    let [at_paris, at_first, at_second] = &mut events;
    let shared = |event: &NodeEvent, own: bool| matches!(event, NodeEvent::KeyShared { key: of, link } if *of == key && *link == if own { paris } else { key });
    super::world::event(at_paris, |event| shared(event, false)).await;
    // Whichever loses its link first after that.
    tokio::select! {
        _ = super::world::event(at_first, |event| shared(event, true)) => {}
        _ = super::world::event(at_second, |event| shared(event, true)) => {}
    }
    first.abort().await;
    second.abort().await;
    world.unharmed_by_mallory().await;
}
