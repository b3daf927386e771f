//! Copies for receivers that are reached directly: on their way while they are made, and kept until
//! they have arrived.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use estafette::delivery::FailureKind;
use estafette::node::{
    CopyingError, Direction, EventStream, OutboxError, OutboxState, SendError, Store,
};
use estafette::pipeline::{Compression, SourceError};
use estafette::wire::PeerId;
use estafette::{Node, NodeConfig, NodeEvent, SendOptions, TransferId, TransferNews};
use estafette_actors::source::FileSource;
use estafette_actors::spool::Spool;
use futures_util::FutureExt;

use super::harness::{World, config, entry, within};
use super::held::{HeldSource, HeldSpool};

fn copy() -> SendOptions {
    SendOptions { copy: true, compression: Some(Compression::Off), ..SendOptions::default() }
}

fn spool(world: &World) -> Arc<dyn Store> {
    Arc::new(Spool::open(world.path("spool")).unwrap())
}

/// The files that lie beside the records.
fn left(world: &World) -> Vec<PathBuf> {
    std::fs::read_dir(world.path("spool/bulk"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

/// Waits until `node` tells this of a delivery.
async fn hears(events: &mut EventStream, wanted: impl Fn(&TransferNews) -> bool) -> TransferId {
    loop {
        if let NodeEvent::Transfer(event) = events.next().await.expect("the node runs")
            && event.direction == Direction::Incoming
            && wanted(&event.news)
        {
            return event.transfer;
        }
    }
}

fn noise(length: usize) -> Vec<u8> {
    estafette::testing::Random::seeded(7).bytes(length)
}

/// A delivery whose copy waits for the end of its content, while its first try runs.
async fn held(
    world: &World,
    lyon: &Node,
) -> (
    tokio::sync::oneshot::Sender<Result<(), SourceError>>,
    tokio::task::JoinHandle<Result<estafette::TransferHandle, SendError>>,
) {
    let bytes = noise(3 << 20);
    std::fs::write(world.path("letter"), &bytes).unwrap();
    let (source, go) = HeldSource::new("letter", bytes);
    let lyon = lyon.clone();
    (go, tokio::spawn(async move { lyon.send_with("paris/files", source, copy()).await }))
}

#[tokio::test]
async fn a_copy_is_delivered_by_its_first_try_and_then_goes() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.lyon_with(spool(&world)).await, world.paris().await);
        let file = world.path("letter");
        for length in [0, 1, 4096, (256 << 10) - 1, 256 << 10, (1 << 20) + 1] {
            std::fs::write(&file, noise(length)).unwrap();
            let transfer = lyon
                .send_with("paris/files", FileSource::open(&file).unwrap(), copy())
                .await
                .unwrap();
            assert!(transfer.status().stored);
            let receipt = transfer.delivered().await.unwrap();
            assert_eq!(
                (receipt.length, receipt.digest),
                (length as u64, *blake3::hash(&noise(length)).as_bytes())
            );
            assert!(world.has_arrived("letter"));
            std::fs::remove_file(world.path("in/letter")).unwrap();
            // It proves itself afterwards, as any other.
            paris.processed(lyon.peer(), transfer.id()).await.unwrap();
            transfer.processed().await.unwrap();
        }
        lyon.shutdown().await;
        paris.shutdown().await;
        assert_eq!(left(&world), <[PathBuf; 0]>::default());
    })
    .await;
}

#[tokio::test]
async fn content_is_on_its_way_while_it_is_copied_and_send_returns_when_both_are_durable() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.lyon_with(spool(&world)).await, world.paris().await);
        let mut events = paris.events();
        let (go, sending) = held(&world, &lyon).await;
        hears(
            &mut events,
            |news| matches!(news, TransferNews::Progress { bytes, .. } if *bytes >= 1 << 20),
        )
        .await;
        assert!(!sending.is_finished() && !world.has_arrived("letter"));
        go.send(Ok(())).unwrap();
        let transfer = sending.await.unwrap().unwrap();
        transfer.delivered().await.unwrap();
        assert!(world.has_arrived("letter"));
        assert_eq!(entry(&lyon, transfer.id()).await.unwrap().tries, 1);
        lyon.shutdown().await;
        paris.shutdown().await;
        assert_eq!(left(&world), <[PathBuf; 0]>::default());
    })
    .await;
}

#[tokio::test]
async fn what_is_taken_out_while_it_is_copied_does_not_wait_for_its_end() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.lyon_with(spool(&world)).await, world.paris().await);
        let mut events = paris.events();
        let (never, sending) = held(&world, &lyon).await;
        hears(
            &mut events,
            |news| matches!(news, TransferNews::Progress { bytes, .. } if *bytes >= 1 << 20),
        )
        .await;
        let id = lyon.outbox().list().await.unwrap()[0].0;
        lyon.outbox().withdraw(id).await.unwrap();
        let error = sending.await.unwrap().unwrap_err();
        assert!(matches!(error, SendError::Outbox(OutboxError::Withdrawn)), "{error}");
        hears(&mut events, |news| matches!(news, TransferNews::Failed { .. })).await;
        assert!(entry(&lyon, id).await.is_none() && !world.has_arrived("letter"));
        drop(never);
        lyon.shutdown().await;
        paris.shutdown().await;
        assert_eq!(left(&world), <[PathBuf; 0]>::default());
    })
    .await;
}

#[tokio::test]
async fn content_that_changes_while_it_is_copied_is_neither_stored_nor_delivered() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.lyon_with(spool(&world)).await, world.paris().await);
        let mut events = paris.events();
        let (go, sending) = held(&world, &lyon).await;
        hears(&mut events, |news| matches!(news, TransferNews::Progress { .. })).await;
        go.send(Err(SourceError::Changed {
            what: "letter".into(),
            how: "it was written to".into(),
        }))
        .unwrap();
        let error = sending.await.unwrap().unwrap_err();
        let changed = |error: &SendError| {
            matches!(
                error,
                SendError::Outbox(OutboxError::Copy(CopyingError::Source(
                    SourceError::Changed { .. }
                )))
            )
        };
        assert!(changed(&error), "{error}");
        hears(&mut events, |news| matches!(news, TransferNews::Failed { .. })).await;
        assert_eq!((lyon.outbox().list().await.unwrap().len(), paris.arrivals().len()), (0, 0));
        lyon.shutdown().await;
        paris.shutdown().await;
        assert_eq!((left(&world), world.arrived()), (vec![], 0));
    })
    .await;
}

#[tokio::test]
async fn who_dies_while_it_copies_has_stored_nothing_and_leaves_nothing() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.lyon_with(spool(&world)).await, world.paris().await);
        let mut events = paris.events();
        let (_go, sending) = held(&world, &lyon).await;
        hears(&mut events, |news| matches!(news, TransferNews::Progress { .. })).await;
        lyon.abort().await;
        assert!(sending.await.unwrap().is_err());
        drop(lyon);
        // As a process leaves it that had no time for anything.
        std::fs::write(world.path("spool/bulk/00.copy.new"), "half").unwrap();
        std::fs::write(world.path("spool/bulk/00.copy"), "whole, and of no record").unwrap();
        let lyon = world.lyon_with(spool(&world)).await;
        assert_eq!(lyon.outbox().list().await.unwrap().len(), 0);
        assert_eq!(left(&world), <[PathBuf; 0]>::default());
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn what_a_first_try_comes_to_before_it_is_stored_counts_afterwards() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.lyon_with(spool(&world)).await, world.paris().await);
        std::fs::write(world.path("in/letter"), "taken").unwrap();
        let mut events = paris.events();
        let (go, sending) = held(&world, &lyon).await;
        hears(&mut events, |news| matches!(news, TransferNews::Failed { .. })).await;
        // Nobody is told that it is stored before it is.
        let (id, _) = lyon.outbox().list().await.unwrap().pop().unwrap();
        let looked = lyon.outbox().entry(id).await;
        assert!(
            matches!(looked, Err(OutboxError::Storing(storing)) if storing == id),
            "{looked:?}"
        );
        go.send(Ok(())).unwrap();
        let transfer = sending.await.unwrap().unwrap();
        assert_eq!(transfer.delivered().await.unwrap_err().kind, FailureKind::Refused);
        assert!(matches!(
            entry(&lyon, transfer.id()).await.unwrap().state,
            OutboxState::Dead { .. }
        ));
        assert_eq!(left(&world).len(), 1, "a dead letter keeps its copy");
        std::fs::remove_file(world.path("in/letter")).unwrap();
        lyon.outbox().retry(transfer.id()).await.unwrap();
        lyon.outbox().transfer(transfer.id()).await.unwrap().delivered().await.unwrap();
        assert!(world.has_arrived("letter"));
        lyon.shutdown().await;
        paris.shutdown().await;
        assert_eq!(left(&world), <[PathBuf; 0]>::default());
    })
    .await;
}

#[tokio::test]
async fn what_is_delivered_before_it_is_stored_is_both_even_where_storing_fails() {
    within(async {
        for outcome in [Ok(()), Err(io::ErrorKind::StorageFull)] {
            let world = World::new();
            let spool = HeldSpool::open(&world.path("spool"));
            let (lyon, paris) = (world.lyon_with(spool.clone()).await, world.paris().await);
            let (mut events, mut ours) = (paris.events(), lyon.events());
            let file = world.file("letter", 700_000);
            let sending = tokio::spawn({
                let lyon = lyon.clone();
                async move {
                    lyon.send_with("paris/files", FileSource::open(file).unwrap(), copy()).await
                }
            });
            hears(&mut events, |news| matches!(news, TransferNews::Delivered { .. })).await;
            while !matches!(ours.next_news().await.unwrap(), TransferNews::Delivered { .. }) {}
            assert!(!sending.is_finished());
            spool.answer(outcome.map_err(io::Error::from));
            let transfer = sending.await.unwrap().unwrap();
            assert!(transfer.status().stored);
            transfer.delivered().await.unwrap();
            assert!(matches!(
                entry(&lyon, transfer.id()).await.unwrap().state,
                OutboxState::Delivered { .. }
            ));
            lyon.shutdown().await;
            paris.shutdown().await;
            assert_eq!((left(&world), world.arrived()), (vec![], 1));
        }
    })
    .await;
}

#[tokio::test]
async fn what_can_t_be_stored_is_taken_back_from_a_receiver_who_has_part_of_it() {
    within(async {
        let world = World::new();
        let spool = HeldSpool::open(&world.path("spool"));
        let (lyon, paris) = (world.lyon_with(spool.clone()).await, world.paris().await);
        let (mut events, file) = (paris.events(), world.file("letter", 700_000));
        let sending = tokio::spawn({
            let lyon = lyon.clone();
            async move { lyon.send_with("paris/files", FileSource::open(file).unwrap(), copy()).await }
        });
        let id = hears(&mut events, |news| matches!(news, TransferNews::Started { .. })).await;
        paris.pause(id);
        hears(&mut events, |news| matches!(news, TransferNews::Paused | TransferNews::Delivered { .. })).await;
        spool.answer(Err(io::ErrorKind::StorageFull.into()));
        let sent = sending.await.unwrap();
        let known = lyon.outbox().list().await.unwrap().len();
        if let Ok(transfer) = &sent {
            // It was faster than its pause.
            transfer.delivered().await.unwrap();
        }
        lyon.shutdown().await;
        paris.shutdown().await;
        match sent {
            Err(error) => {
                assert!(matches!(error, SendError::Outbox(OutboxError::Store(_))), "{error}");
                assert_eq!((known, world.arrived()), (0, 0));
            }
            Ok(_) => assert!(world.has_arrived("letter")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_later_try_goes_on_from_the_copy_where_the_first_one_stood_whatever_became_of_the_file() {
    within(async {
        const LENGTH: usize = 4 << 20;
        let world = World::new();
        let file = world.path("letter");
        std::fs::write(&file, noise(LENGTH)).unwrap();
        let often = NodeConfig { checkpoint: 256 << 10, ..config() };
        let lyon = world.lyon_with(spool(&world)).await;
        let paris = world.paris_with(often.clone()).await;
        let mut events = paris.events();
        // What is paused can't be done before this test has looked.
        let sending = tokio::spawn({
            let (lyon, source) = (lyon.clone(), FileSource::open(&file).unwrap());
            async move { lyon.send_with("paris/files", source, copy()).await }
        });
        let id = hears(
            &mut events,
            |news| matches!(news, TransferNews::Progress { bytes, .. } if *bytes >= 1 << 20),
        )
        .await;
        lyon.pause(id);
        let transfer = sending.await.unwrap().unwrap();
        lyon.abort().await;
        drop((lyon, transfer));
        std::fs::write(&file, "something else").unwrap();
        let (before, lyon) = (world.network.carried(), world.lyon_with(spool(&world)).await);
        lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
        assert_eq!(std::fs::read(world.path("in/letter")).unwrap(), noise(LENGTH));
        let carried = world.network.carried() - before;
        assert!(carried < LENGTH as u64 - (256 << 10), "{carried} bytes were carried again");
        lyon.shutdown().await;
        paris.shutdown().await;
        assert_eq!(left(&world), <[PathBuf; 0]>::default());
    })
    .await;
}

#[tokio::test]
async fn what_is_stored_while_the_node_stops_is_over_for_those_who_wait() {
    within(async {
        let world = World::new();
        let spool = HeldSpool::open(&world.path("spool"));
        let (lyon, paris) = (world.lyon_with(spool.clone()).await, world.paris().await);
        let mut events = paris.events();
        // This one keeps the node up until its source is let go.
        let (source, go) = HeldSource::new("long", noise(3 << 20));
        let transient = SendOptions { transient: true, ..SendOptions::default() };
        let long = lyon.send_with("paris/files", source, transient).await.unwrap();
        hears(&mut events, |news| matches!(news, TransferNews::Progress { .. })).await;
        let (one, two) = (world.file("one", 1000), world.file("two", 1000));
        let sending = tokio::spawn({
            let lyon = lyon.clone();
            async move {
                lyon.send_with(
                    "nobody/files",
                    FileSource::open(one).unwrap(),
                    SendOptions::default(),
                )
                .await
            }
        });
        while lyon.outbox().list().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let stopping = tokio::spawn({
            let lyon = lyon.clone();
            async move { lyon.shutdown().await }
        });
        // From when on what it is given is stored, and over for now, it is stopping.
        loop {
            let transfer = lyon
                .send_with("nobody/files", FileSource::open(&two).unwrap(), SendOptions::default())
                .await
                .unwrap();
            let is_over = transfer.delivered().now_or_never().is_some();
            lyon.outbox().withdraw(transfer.id()).await.unwrap();
            if is_over {
                break;
            }
        }
        spool.answer(Ok(()));
        let transfer = sending.await.unwrap().unwrap();
        go.send(Ok(())).unwrap();
        long.delivered().await.unwrap();
        stopping.await.unwrap();
        assert_eq!(transfer.delivered().await.unwrap_err().kind, FailureKind::Shutdown);
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn copies_take_no_more_room_than_they_may() {
    within(async {
        let world = World::new();
        let tight = NodeConfig { outbox_bytes: 100_000, ..config() };
        let lyon = world.lyon_with_config(spool(&world), tight).await;
        let file = world.file("large", 200_000);
        let sent = lyon.send_with("nobody/files", FileSource::open(&file).unwrap(), copy()).await;
        assert!(
            matches!(sent, Err(SendError::Outbox(OutboxError::OverQuota { .. }))),
            "told before"
        );
        let (source, go) = HeldSource::new("large", noise(200_000));
        go.send(Ok(())).unwrap();
        let reader =
            estafette_actors::source::ReaderSource::new("unknown", io::Cursor::new(noise(200_000)))
                .unwrap();
        for sent in [
            lyon.send_with("nobody/files", source, copy()).await,
            lyon.send_with("nobody/files", reader, copy()).await,
        ] {
            assert!(
                matches!(sent, Err(SendError::Outbox(OutboxError::OverQuota { .. }))),
                "{sent:?}"
            );
        }
        let small = lyon
            .send_with(
                "nobody/files",
                FileSource::open(world.file("small", 50_000)).unwrap(),
                copy(),
            )
            .await
            .unwrap();
        assert_eq!((lyon.outbox().list().await.unwrap().len(), left(&world).len()), (1, 1));
        lyon.outbox().withdraw(small.id()).await.unwrap();
        lyon.shutdown().await;
        assert_eq!(left(&world), <[PathBuf; 0]>::default());
    })
    .await;
}

/// A record of the outbox as earlier releases wrote it, field by field.
type Record = (
    (PeerId, Option<PeerId>, Option<PeerId>, String, Vec<String>, Option<[u8; 32]>),
    (u32, String, u64),
    Option<([u8; 32], u64, [u8; 32], [u8; 32])>,
    (String, Option<u64>, Option<u32>, Option<bool>, Vec<String>),
    (u64, u64, u32, u32, Option<u8>, Option<u8>),
);

#[tokio::test]
async fn what_an_earlier_release_packed_for_its_receiver_still_arrives() {
    within(async {
        let world = World::new();
        let (spool, id, bytes) = (spool(&world), TransferId::random(), noise(300_000));
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let file = format!("{}.package", id);
        // The folder, the key and the receiver are the world's; the node that packs is a bare one.
        let packed = world.pack(id, &bytes, &world.path("spool/bulk").join(&file), now).await;
        let record: Record = (
            (world.paris_peer(), None, None, "files".into(), vec!["paris".into()], None),
            (1, file, packed.bytes),
            Some((packed.digest, packed.length, packed.delivered_mac, packed.processed_mac)),
            ("letter".into(), Some(packed.length), None, Some(false), vec![]),
            (now, now + 3600, 0, 0, None, None),
        );
        spool
            .put("outbox", id.as_bytes(), &estafette::wire::codec::encode(&record).unwrap())
            .unwrap();
        let (lyon, paris) = (world.lyon_with(spool).await, world.paris_with_folder().await);
        let receipt = lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
        assert_eq!(receipt.digest, *blake3::hash(&bytes).as_bytes());
        assert_eq!(std::fs::read(world.path("in/letter")).unwrap(), bytes);
        lyon.shutdown().await;
        paris.shutdown().await;
        assert_eq!((left(&world), world.arrived()), (vec![], 1));
    })
    .await;
}
