//! Tests of the quota for packages of others at a node: it is charged before they come, and given
//! back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use estafette::delivery::{Content, ContentKind, ContentName, FailureKind};
use estafette::node::TrustedPeer;
use estafette::node::{Destination, Direction, EventStream, NodeEvent, RelayQuota};
use estafette::pipeline::{Source, SourceError, SourceReport};
use estafette::testing::Random;
use estafette::{Identity, Node, NodeConfig, SendOptions, TransferHandle, TransferNews};
use futures_util::future::BoxFuture;

use super::harness::{config, entry, within};
use super::three::{PARIS, World, content, relayed};

/// Says that it is a package of `said` bytes, gives these, and then stands still, or ends.
#[derive(Debug)]
pub(super) struct Coming {
    kind: ContentKind,
    said: Option<u64>,
    bytes: Vec<u8>,
    at: usize,
    stops: bool,
}

impl Coming {
    pub(super) fn of(bytes: Vec<u8>, said: Option<u64>, stops: bool) -> Self {
        Self { kind: ContentKind::Package, said, bytes, at: 0, stops }
    }

    /// The same, which says that it is no package.
    pub(super) fn plain(self) -> Self {
        Self { kind: ContentKind::Bytes, ..self }
    }
}

impl Source for Coming {
    fn content(&self) -> Content {
        Content::new(self.kind.clone(), ContentName::new("a.package").unwrap(), self.said)
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(async move {
            let count = (self.bytes.len() - self.at).min(buffer.len());
            if count == 0 && self.stops {
                std::future::pending::<()>().await;
            }
            buffer[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
            self.at += count;
            Ok(count)
        })
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Ok(SourceReport::default())
    }

    fn version(&self) -> Option<[u8; 32]> {
        Some([7; 32])
    }
}

/// Sends it to dijon as it is, for paris as far as its offer says.
async fn carry(world: &World, lyon: &Node, source: Coming) -> TransferHandle {
    let to =
        Destination::Peer(world.identities[1].peer(), world.identities[PARIS].peer().to_string());
    lyon.send_with(to, source, SendOptions { transient: true, ..SendOptions::default() })
        .await
        .unwrap()
}

/// Files in dijon's folder for packages, with their sizes.
fn there(world: &World) -> Vec<(PathBuf, u64)> {
    let files = std::fs::read_dir(world.folder.path().join("dijon/bulk")).unwrap();
    // One may go just now.
    files
        .filter_map(|file| Some((file.as_ref().ok()?.path(), file.ok()?.metadata().ok()?.len())))
        .collect()
}

fn bytes_there(world: &World) -> u64 {
    there(world).iter().map(|(_, bytes)| bytes).sum()
}

/// Returns `true` if no attempt has it open.
fn is_let_go(path: &Path) -> bool {
    std::fs::File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

pub(super) async fn until(mut is_so: impl FnMut() -> bool) {
    within(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Lyon, whose deliveries here are tried once, or whose first failure is looked at: that is not
/// that a busy machine links late.
pub(super) async fn patient_lyon(world: &World) -> Node {
    let long = Duration::from_secs(3600);
    world.node_with(0, NodeConfig { dial_for: long, reconnect_for: long, ..config() }).await
}

/// Waits for news of what comes in.
pub(super) async fn hears(events: &mut EventStream, wanted: impl Fn(&TransferNews) -> bool) {
    loop {
        if let NodeEvent::Transfer(event) = events.next().await.unwrap()
            && event.direction == Direction::Incoming
            && wanted(&event.news)
        {
            return;
        }
    }
}

/// A relay that notes every few bytes, and waits for nobody.
pub(super) fn relay(bytes: u64) -> NodeConfig {
    let quota = RelayQuota { packages: 10, bytes };
    NodeConfig {
        relay: Some(quota),
        checkpoint: 16 << 10,
        reconnect_for: Duration::from_millis(50),
        ..config()
    }
}

#[tokio::test]
async fn a_package_that_has_no_business_at_a_node_is_refused_before_its_first_byte() {
    within(async {
        let world = World::new();
        let lyon = patient_lyon(&world).await;
        for (config, what) in [
            (config(), "no relay"),
            (relay(50_000), "this peer may have 50000 here (bytes of packages)"),
            (NodeConfig { spool_free: u64::MAX / 2, ..relay(10 << 20) }, "are kept free"),
        ] {
            let dijon = world.node_with(1, config).await;
            let mut events = dijon.events();
            let transfer = world.send_by_relay(&lyon, "in", &content(500_000)).await;
            let failure = loop {
                if let Some(failure) = entry(&lyon, transfer.id()).await.unwrap().last_failure {
                    break failure;
                }
                if let Some(Err(failure)) = transfer.status().outcome {
                    break failure;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            assert!(failure.message.contains(what), "{failure}");
            assert_eq!(there(&world), [], "{what}");
            dijon.shutdown().await;
            while let Some(event) = events.next().await {
                assert!(!matches!(&event, NodeEvent::Transfer(event) if matches!(event.news, TransferNews::Started { .. })), "{event:?}");
            }
            let _ = lyon.outbox().withdraw(transfer.id()).await;
        }
        lyon.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn one_that_does_not_say_how_long_it_is_stops_at_the_quota_and_one_that_lies_does_too() {
    within(async {
        let world = World::new();
        let (lyon, dijon) = (patient_lyon(&world).await, world.node_with(1, relay(100_000)).await);
        for said in [None, Some(4096)] {
            let transfer = carry(&world, &lyon, Coming::of(content(1_000_000), said, false)).await;
            let (mut most, mut outcome) = (0, std::pin::pin!(transfer.delivered()));
            let failure = loop {
                most = most.max(bytes_there(&world));
                tokio::select! {
                    outcome = &mut outcome => break outcome.unwrap_err(),
                    () = tokio::task::yield_now() => {}
                }
            };
            let is_known_to_lie =
                failure.kind == FailureKind::Protocol || failure.kind == FailureKind::Changed;
            assert!(
                is_known_to_lie
                    || failure.kind == FailureKind::Busy
                        && failure.message.contains("may have 100000 here"),
                "{failure}"
            );
            assert!(most <= 100_000, "{most} bytes were there");
            until(|| there(&world).is_empty()).await;
        }
        lyon.shutdown().await;
        dijon.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_package_whose_offer_does_not_say_for_whom_it_is_has_the_lesser_of_two_quotas() {
    within(async {
        for (of_relays, own) in [(100_000, 1 << 30), (1 << 30, 100_000)] {
            let world = World::new();
            let packages_in = RelayQuota { packages: 10, bytes: own };
            let config = NodeConfig { packages_in, ..relay(of_relays) };
            let (lyon, dijon) = (patient_lyon(&world).await, world.node_with(1, config).await);
            // As older senders have it.
            let to = Destination::Peer(world.identities[1].peer(), "packages".into());
            let options = SendOptions { transient: true, ..SendOptions::default() };
            let source = Coming::of(content(200_000), Some(200_000), true);
            let transfer = lyon.send_with(to, source, options).await.unwrap();
            let failure = transfer.delivered().await.unwrap_err();
            assert!(failure.message.contains("may have 100000 here"), "{failure}");
            lyon.shutdown().await;
            dijon.shutdown().await;
        }
    })
    .await;
}

#[tokio::test]
async fn packages_that_stop_coming_stay_within_the_quota_make_room_for_newer_ones_and_go_in_time() {
    within(async {
        let world = World::new();
        let dijon = world.node_with(1, relay(100_000)).await;
        let mut before = Vec::new();
        for round in 0..4 {
            let mut events = dijon.events();
            let lyon = patient_lyon(&world).await;
            carry(&world, &lyon, Coming::of(content(70_000), Some(90_000), true)).await;
            until(|| {
                there(&world)
                    .iter()
                    .any(|(path, bytes)| *bytes >= 64 << 10 && !before.contains(path))
            })
            .await;
            lyon.abort().await;
            hears(&mut events, |news| matches!(news, TransferNews::Failed { .. })).await;
            until(|| there(&world).iter().all(|(path, _)| is_let_go(path))).await;
            assert!(bytes_there(&world) <= 100_000, "round {round}: {:?}", there(&world));
            // The newer one took the room of the older one.
            before = there(&world).into_iter().map(|(path, _)| path).collect();
            assert_eq!(before.len(), 1);
        }
        until(|| there(&world).len() == 1).await;
        dijon.abort().await;
        drop(dijon);
        // One that nobody knows of, as a loss of power may leave it.
        let stray = world.folder.path().join("dijon/bulk").join(format!(
            "{}-{}.coming",
            "ab".repeat(24),
            world.identities[0].peer()
        ));
        std::fs::write(&stray, "x").unwrap();
        let dijon = world.node_with(1, relay(100_000)).await;
        assert_eq!(
            there(&world).len(),
            1,
            "what can go on is there, and charged; what can't is gone"
        );
        assert!(!stray.exists());
        dijon.abort().await;
        drop(dijon);
        let dijon = world
            .node_with(
                1,
                NodeConfig { package_patience: Duration::from_millis(20), ..relay(100_000) },
            )
            .await;
        until(|| there(&world).is_empty()).await;
        dijon.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn what_a_revoked_peer_left_goes_and_its_room_is_given_back() {
    within(async {
        let world = World::new();
        let dijon = world.node_with(1, relay(150_000)).await;
        leave_two(&world, &dijon).await;
        assert!(dijon.trust().revoke(world.identities[0].peer()).unwrap());
        until(|| there(&world).is_empty()).await;
        while !dijon.outbox().list().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        // Let in again, it has all its room again.
        dijon.trust().add(world.identities[0].peer(), TrustedPeer::new("lyon")).unwrap();
        let lyon = patient_lyon(&world).await;
        let again = world.send_by_relay(&lyon, "in", &content(60_000)).await;
        relayed(&lyon, &again).await;
        lyon.shutdown().await;
        dijon.shutdown().await;
    })
    .await;
}

/// Dijon has died while a package of lyon's came in: the package's content, and the file that has a
/// part of it.
async fn died_in_the_middle(
    config: &NodeConfig,
) -> (World, Node, TransferHandle, Vec<u8>, PathBuf) {
    // More of it, where this machine was too slow to see that it came.
    for doubled in 0.. {
        let (world, bytes) = (World::new(), Random::seeded(9).bytes((8 << 20) << doubled));
        let dijon = world.node_with(1, config.clone()).await;
        let lyon = world.node(0).await;
        let sent = world.send_by_relay(&lyon, "in", &bytes).await;
        until(|| there(&world).iter().any(|(_, length)| *length >= 1 << 20)).await;
        dijon.abort().await;
        if let [(path, _)] = &there(&world)[..]
            && path.extension().is_some_and(|extension| extension == "coming")
        {
            let path = path.clone();
            return (world, lyon, sent, bytes, path);
        }
        lyon.abort().await;
    }
    unreachable!("it never ends")
}

#[tokio::test]
async fn a_package_goes_on_where_its_relay_died_and_begins_anew_where_somebody_has_changed_what_had_come()
 {
    for is_changed in [false, true] {
        within(async {
            let config = NodeConfig { checkpoint: 64 << 10, ..relay(1 << 30) };
            let (world, lyon, sent, bytes, path) = died_in_the_middle(&config).await;
            if is_changed {
                let mut there = std::fs::read(&path).unwrap();
                there[1000] ^= 1;
                std::fs::write(&path, there).unwrap();
            }
            let dijon = world.node_with(1, config).await;
            relayed(&lyon, &sent).await;
            lyon.shutdown().await;
            let (paris, mut arrived) = world.paris().await;
            assert!(arrived.recv().await.unwrap().bytes == bytes, "something else has arrived");
            paris.shutdown().await;
            dijon.shutdown().await;
        })
        .await;
    }
}

/// A package of lyon's that dijon keeps for paris, and one that has stopped coming.
async fn leave_two(world: &World, dijon: &Node) {
    let lyon = patient_lyon(world).await;
    let kept = world.send_by_relay(&lyon, "in", &content(50_000)).await;
    relayed(&lyon, &kept).await;
    let mut events = dijon.events();
    carry(world, &lyon, Coming::of(content(70_000), Some(90_000), true)).await;
    until(|| there(world).iter().any(|(_, bytes)| *bytes >= 64 << 10)).await;
    lyon.abort().await;
    hears(&mut events, |news| matches!(news, TransferNews::Failed { .. })).await;
    assert_eq!(there(world).len(), 2);
}

#[tokio::test]
async fn what_a_peer_left_that_was_revoked_while_the_node_was_away_goes_at_its_start() {
    for one_has_stopped in [true, false] {
        within(async {
            let world = World::new();
            let dijon = world.node_with(1, relay(150_000)).await;
            if one_has_stopped {
                leave_two(&world, &dijon).await;
            } else {
                let lyon = patient_lyon(&world).await;
                let kept = world.send_by_relay(&lyon, "in", &content(50_000)).await;
                relayed(&lyon, &kept).await;
                lyon.abort().await;
            }
            dijon.shutdown().await;
            drop(dijon);
            let dijon = world.node_knowing(1, relay(150_000), &[PARIS]).await;
            until(|| there(&world).is_empty()).await;
            while !dijon.outbox().list().await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            dijon.shutdown().await;
        })
        .await;
    }
}

/// Holds the thread of its node up until it is let go.
struct Holds(Option<(std::sync::mpsc::Sender<()>, std::sync::mpsc::Receiver<()>)>);

impl actix::Actor for Holds {
    type Context = actix::Context<Self>;

    fn started(&mut self, _: &mut actix::Context<Self>) {
        if let Some((said, let_go)) = self.0.take() {
            said.send(()).unwrap();
            let_go.recv().unwrap();
        }
    }
}

#[tokio::test]
async fn of_more_peers_revoked_at_once_than_a_node_hears_of_what_each_has_left_goes() {
    within(async {
        let world = World::new();
        let dijon = world.node_with(1, relay(150_000)).await;
        leave_two(&world, &dijon).await;
        let others: Vec<_> = (0..100).map(|_| Identity::generate().peer()).collect();
        others.iter().enumerate().for_each(|(nth, peer)| {
            dijon.trust().add(*peer, TrustedPeer::new(format!("other{nth}"))).unwrap()
        });
        let ((said, is_said), (go, let_go)) =
            (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let held = std::sync::Mutex::new(Some((said, let_go)));
        let hosted = dijon.host("holds", move || Holds(held.lock().unwrap().take())).start();
        let hosting = tokio::spawn(hosted);
        tokio::task::spawn_blocking(move || is_said.recv().unwrap()).await.unwrap();
        // The first of which it hears nothing, since so many come behind it.
        assert!(dijon.trust().revoke(world.identities[0].peer()).unwrap());
        others.iter().for_each(|peer| assert!(dijon.trust().revoke(*peer).unwrap()));
        go.send(()).unwrap();
        hosting.await.unwrap().unwrap();
        until(|| there(&world).is_empty()).await;
        dijon.shutdown().await;
    })
    .await;
}
