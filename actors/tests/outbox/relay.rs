//! Packages: content nobody can read again, and content for a receiver behind a relay.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use estafette::delivery::FailureKind;
use estafette::node::{NodeEvent, RelayQuota, TransferNews};
use estafette::{NodeConfig, SendOptions};
use estafette_actors::source::{BytesSource, ReaderSource, TreeSource};

use super::harness::{config, entry, within};
use super::three::{PARIS, World, content, relayed};

#[tokio::test]
async fn what_can_be_read_only_once_is_copied_and_outlives_its_sender() {
    within(async {
        let world = World::new();
        let lyon = world.node(0).await;
        let bytes = content(300_000);
        let transfer = lyon
            .send(
                "paris/in",
                ReaderSource::new("letter", std::io::Cursor::new(bytes.clone())).unwrap(),
            )
            .await
            .unwrap();
        assert!(transfer.status().stored);
        lyon.abort().await;
        drop(lyon);
        let (paris, mut arrived) = world.paris().await;
        let lyon = world.node(0).await;
        let receipt =
            lyon.outbox().transfer(transfer.id()).await.unwrap().delivered().await.unwrap();
        assert_eq!((receipt.length, receipt.digest), (300_000, *blake3::hash(&bytes).as_bytes()));
        let delivered = arrived.recv().await.unwrap();
        assert!(delivered.bytes == bytes && delivered.offer.peer == lyon.peer());
        assert_eq!(paris.arrivals().len(), 1);
        let (sender, id, _) = paris.arrivals().remove(0);
        paris.processed(sender, id).await.unwrap();
        lyon.outbox().transfer(transfer.id()).await.unwrap().processed().await.unwrap();
        lyon.shutdown().await;
        paris.shutdown().await;
        assert_eq!(
            (world.packages(0), world.packages(PARIS)),
            (0, 0),
            "nothing is left of the copy"
        );
    })
    .await;
}

#[tokio::test]
async fn a_relay_brings_a_package_when_the_sender_is_gone_and_its_word_when_the_sender_is_back() {
    within(async {
        let world = World::new();
        let lyon = world.node(0).await;
        let dijon = world.relay(RelayQuota::default()).await;
        let bytes = content(500_000);
        let transfer = world.send_by_relay(&lyon, "in", &bytes).await;
        relayed(&lyon, &transfer).await;
        lyon.shutdown().await;
        drop(lyon);
        // The relay restarts with what it keeps; the receiver was never there at the same time as
        // the sender.
        dijon.abort().await;
        drop(dijon);
        let dijon = world.relay(RelayQuota::default()).await;
        let (paris, mut arrived) = world.paris().await;
        let delivered = arrived.recv().await.unwrap();
        assert!(delivered.bytes == bytes);
        assert_eq!(
            delivered.offer.peer,
            world.identities[0].peer(),
            "it comes of who packed it, not of who carried it"
        );
        dijon.outbox().transfer(transfer.id()).await.unwrap().delivered().await.unwrap();
        paris.shutdown().await;
        let lyon = world.node(0).await;
        lyon.stay_connected(dijon.peer());
        let receipt =
            lyon.outbox().transfer(transfer.id()).await.unwrap().delivered().await.unwrap();
        assert_eq!(receipt.digest, *blake3::hash(&bytes).as_bytes());
        assert_eq!((world.packages(0), world.packages(1), world.packages(PARIS)), (0, 0, 0));
        lyon.shutdown().await;
        dijon.shutdown().await;
        assert!(arrived.try_recv().is_err(), "it was delivered twice");
    })
    .await;
}

#[tokio::test]
async fn who_is_no_relay_refuses_and_a_relay_refuses_beyond_its_quota() {
    within(async {
        let world = World::new();
        // Its first failure is looked at: that is not that a busy machine links late.
        let long = Duration::from_secs(3600);
        let lyon = world
            .node_with(0, NodeConfig { dial_for: long, reconnect_for: long, ..config() })
            .await;
        let dijon = world.node(1).await;
        let transfer = world.send_by_relay(&lyon, "in", b"x").await;
        let failure = transfer.delivered().await.unwrap_err();
        assert!(
            failure.kind == FailureKind::Refused && failure.message.contains("no relay"),
            "{failure}"
        );
        dijon.shutdown().await;
        drop(dijon);
        let dijon = world.relay(RelayQuota { packages: 1, bytes: 1 << 20 }).await;
        let first = world.send_by_relay(&lyon, "in", b"x").await;
        relayed(&lyon, &first).await;
        let second = world.send_by_relay(&lyon, "in", b"y").await;
        let mut events = lyon.events();
        loop {
            let waiting = entry(&lyon, second.id()).await.unwrap();
            if let Some(failure) = waiting.last_failure {
                assert!(
                    failure.kind == FailureKind::Busy
                        && failure.message.contains("relay can't keep it"),
                    "{failure}"
                );
                break;
            }
            events.next_news().await.unwrap();
        }
        // Room again: it goes on by itself.
        let (paris, mut arrived) = world.paris().await;
        assert!(arrived.recv().await.unwrap().bytes == b"x"[..]);
        lyon.outbox().retry(second.id()).await.unwrap();
        assert!(arrived.recv().await.unwrap().bytes == b"y"[..]);
        for node in [lyon, dijon, paris] {
            node.shutdown().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_copy_that_rotted_is_a_dead_letter_and_the_others_arrive() {
    within(async {
        let world = World::new();
        let lyon = world.node(0).await;
        let bytes = content(50_000);
        let damaged = lyon
            .send("paris/in", BytesSource::new("damaged", bytes.clone()).unwrap())
            .await
            .unwrap();
        let whole =
            lyon.send("paris/in", BytesSource::new("whole", bytes.clone()).unwrap()).await.unwrap();
        lyon.shutdown().await;
        drop(lyon);
        let file = world.folder.path().join("lyon/bulk").join(format!("{}.copy", damaged.id()));
        let mut copy = std::fs::read(&file).unwrap();
        let middle = copy.len() / 2;
        copy[middle] ^= 0x10;
        std::fs::write(&file, copy).unwrap();
        let (paris, mut arrived) = world.paris().await;
        let lyon = world.node(0).await;
        let failure =
            lyon.outbox().transfer(damaged.id()).await.unwrap().delivered().await.unwrap_err();
        assert!(failure.message.contains(".copy"), "{failure}");
        lyon.outbox().transfer(whole.id()).await.unwrap().delivered().await.unwrap();
        assert!(arrived.recv().await.unwrap().bytes == bytes);
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_package_into_a_folder_is_there_once_however_often_its_carrier_dies() {
    within(async {
        let world = World::new();
        let lyon = world.node(0).await;
        let bytes = content(400_000);
        let source = BytesSource::new("letter", bytes.clone()).unwrap();
        let id = lyon.send("paris/files", source).await.unwrap().id();
        let mut lyon = Some(lyon);
        for round in 0..6u64 {
            let (paris, _arrived) = world.paris().await;
            tokio::select! {
                () = world.network.carries(40_000 * (round + 1)) => {}
                () = tokio::time::sleep(Duration::from_secs(3)) => {}
            }
            if round % 2 == 0 {
                lyon.take().unwrap().abort().await;
                lyon = Some(world.node(0).await);
            }
            paris.abort().await;
        }
        let (paris, _arrived) = world.paris().await;
        let lyon = lyon.unwrap();
        lyon.outbox().transfer(id).await.unwrap().delivered().await.unwrap();
        assert!(std::fs::read(world.folder.path().join("in/letter")).unwrap() == bytes);
        assert_eq!(std::fs::read_dir(world.folder.path().join("in")).unwrap().count(), 1);
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_not_as_it_was_is_told_under_the_id_that_the_sender_gave_after_the_beginning() {
    within(async {
        let world = World::new();
        let (lyon, dijon) = (world.node(0).await, world.relay(RelayQuota::default()).await);
        let (paris, _arrived) = world.paris().await;
        let tree = world.folder.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("suid"), "suid").unwrap();
        let mode = std::fs::Permissions::from_mode(0o4755);
        std::fs::set_permissions(tree.join("suid"), mode).unwrap();
        let mut events = paris.events();
        let source = TreeSource::new(vec![tree]).unwrap();
        let options = SendOptions { via: Some(dijon.peer()), ..SendOptions::default() };
        let id = lyon.send_with("paris/files", source, options).await.unwrap().id();
        let mut told = Vec::new();
        while told.last() != Some(&"delivered") {
            let NodeEvent::Transfer(event) = events.next().await.unwrap() else { continue };
            told.push(match event.news {
                TransferNews::Started { .. } => "started",
                TransferNews::Remarks { .. } => "remarks",
                TransferNews::Delivered { .. } => "delivered",
                _ => continue,
            });
            assert_eq!((event.peer, event.transfer), (lyon.peer(), id), "{told:?}");
        }
        assert_eq!(told, ["started", "remarks", "delivered"]);
        for node in [lyon, dijon, paris] {
            node.shutdown().await;
        }
    })
    .await;
}
