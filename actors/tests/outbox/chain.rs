//! Relays behind relays: lyon gives to dijon, dijon hands on to nice, nice brings to paris. Each
//! knows those beside it, and the two ends each other.

use std::sync::Arc;

use estafette::delivery::FailureKind;
use estafette::node::{Destination, OutboxState, RelayQuota, RelayWays, Store};
use estafette::testing::Network;
use estafette::{Identity, Node, NodeConfig, SendOptions, TransferHandle};
use estafette_actors::sink::{Delivered, MemorySink};
use estafette_actors::source::BytesSource;
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

use super::harness::{config, entry, within};
use super::three::{content, relayed};

const NAMES: [&str; 4] = ["lyon", "dijon", "nice", "paris"];
const LYON: usize = 0;
const DIJON: usize = 1;
const NICE: usize = 2;
const PARIS: usize = 3;

struct World {
    network: Network,
    folder: TempDir,
    identities: [Identity; 4],
    spools: [Arc<dyn Store>; 4],
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spools = NAMES
            .map(|name| Arc::new(Spool::open(folder.path().join(name)).unwrap()) as Arc<dyn Store>);
        let identities = [(); 4].map(|()| Identity::generate());
        Self { network: Network::seeded(1), folder, identities, spools }
    }

    async fn node(
        &self,
        which: usize,
        known: &[usize],
        ways: RelayWays,
        relay: Option<RelayQuota>,
    ) -> Node {
        let name = NAMES[which];
        let mut builder = Node::builder()
            .name(name)
            .identity(self.identities[which].clone())
            .listen(name)
            .spool(Arc::clone(&self.spools[which]))
            .stages(standard().transport(self.network.transport(name)))
            .relay_ways(ways)
            .config(NodeConfig { relay, ..config() });
        for &other in known {
            builder = builder.peer(NAMES[other], self.identities[other].peer(), [NAMES[other]]);
        }
        builder.start().await.unwrap()
    }

    async fn lyon(&self) -> Node {
        let lyon = self.node(LYON, &[DIJON, PARIS], RelayWays::default(), None).await;
        lyon.stay_connected(self.identities[DIJON].peer());
        lyon
    }

    /// Hands on to nice what is for paris.
    async fn dijon(&self) -> Node {
        let quota = Some(RelayQuota::default());
        let dijon = self.node(DIJON, &[LYON, NICE], self.on(NICE, &[]), quota).await;
        dijon.stay_connected(self.identities[NICE].peer());
        dijon
    }

    /// Takes what dijon hands on.
    async fn nice(&self, quota: RelayQuota) -> Node {
        let from = [self.identities[DIJON].peer()].into();
        let ways = RelayWays { from, ..RelayWays::default() };
        self.node(NICE, &[DIJON, PARIS], ways, Some(quota)).await
    }

    async fn paris(&self) -> (Node, Receiver<Delivered>) {
        let paris = self.node(PARIS, &[LYON, NICE], RelayWays::default(), None).await;
        let (inbox, arrived) = MemorySink::channel(64 << 20, 64);
        paris.receive("in", inbox).unwrap();
        paris.stay_connected(self.identities[NICE].peer());
        (paris, arrived)
    }

    /// On to a relay with what is for paris, and from these.
    fn on(&self, next: usize, from: &[usize]) -> RelayWays {
        let next = [(self.identities[PARIS].peer(), self.identities[next].peer())].into();
        let from = from.iter().map(|&which| self.identities[which].peer()).collect();
        RelayWays { next, from, ..RelayWays::default() }
    }

    async fn send(&self, lyon: &Node, bytes: &[u8]) -> TransferHandle {
        let to = Destination::Peer(self.identities[PARIS].peer(), "in".into());
        let via = Some(self.identities[DIJON].peer());
        let source = BytesSource::new("letter", bytes.to_vec()).unwrap();
        lyon.send_with(to, source, SendOptions { via, ..SendOptions::default() }).await.unwrap()
    }

    /// Files in all folders for packages.
    fn packages(&self) -> usize {
        let of = |name| std::fs::read_dir(self.folder.path().join(name).join("bulk")).unwrap();
        let files = NAMES.iter().flat_map(of);
        files.filter(|file| file.as_ref().unwrap().metadata().unwrap().is_file()).count()
    }
}

#[tokio::test]
async fn a_package_goes_from_relay_to_relay_and_the_word_of_it_comes_back() {
    within(async {
        let world = World::new();
        let (lyon, dijon) = (world.lyon().await, world.dijon().await);
        let bytes = content(400_000);
        let sent = world.send(&lyon, &bytes).await;
        relayed(&lyon, &sent).await;
        // The sender is gone by now, and no two of the others are there from the first to the last.
        lyon.shutdown().await;
        drop(lyon);
        let nice = world.nice(RelayQuota::default()).await;
        let kept = dijon.outbox().transfer(sent.id()).await.unwrap();
        relayed(&dijon, &kept).await;
        dijon.abort().await;
        drop(dijon);
        nice.abort().await;
        drop(nice);
        let nice = world.nice(RelayQuota::default()).await;
        let (paris, mut arrived) = world.paris().await;
        let delivered = arrived.recv().await.unwrap();
        assert!(delivered.bytes == bytes);
        assert_eq!(delivered.offer.peer, world.identities[LYON].peer(), "it is of who packed it");
        let dijon = world.dijon().await;
        let lyon = world.lyon().await;
        let transfer = lyon.outbox().transfer(sent.id()).await.unwrap();
        let receipt = transfer.delivered().await.unwrap();
        assert_eq!(receipt.digest, *blake3::hash(&bytes).as_bytes());
        // That it is processed comes the same way, and proves itself at the sender.
        let (sender, id, _) = paris.arrivals().remove(0);
        paris.processed(sender, id).await.unwrap();
        transfer.processed().await.unwrap();
        for node in [lyon, dijon, nice, paris] {
            node.shutdown().await;
        }
        assert_eq!(world.packages(), 0, "nobody keeps anything of it");
        assert!(arrived.try_recv().is_err(), "it was delivered twice");
    })
    .await;
}

#[tokio::test]
async fn a_relay_that_was_not_told_to_takes_nothing_that_others_have_made() {
    within(async {
        let world = World::new();
        let (lyon, dijon) = (world.lyon().await, world.dijon().await);
        let quota = Some(RelayQuota::default());
        let nice = world.node(NICE, &[DIJON, PARIS], RelayWays::default(), quota).await;
        let sent = world.send(&lyon, b"x").await;
        let failure = sent.delivered().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        let why = "the relay dijon gave it up";
        assert!(failure.message.contains(why) && failure.message.contains("told"), "{failure}");
        for node in [lyon, dijon, nice] {
            node.shutdown().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_relays_hand_on_in_a_circle_ends_at_the_first_that_has_it_and_is_told() {
    within(async {
        let world = World::new();
        let (lyon, quota) = (world.lyon().await, Some(RelayQuota::default()));
        // Each of the two thinks that the other one is nearer to paris.
        let dijon = world.node(DIJON, &[LYON, NICE], world.on(NICE, &[NICE]), quota).await;
        let nice = world.node(NICE, &[DIJON, PARIS], world.on(DIJON, &[DIJON]), quota).await;
        dijon.stay_connected(nice.peer());
        let sent = world.send(&lyon, &content(100_000)).await;
        let failure = sent.delivered().await.unwrap_err();
        assert!(failure.message.contains("circle"), "{failure}");
        for node in [lyon, dijon, nice] {
            node.shutdown().await;
        }
        // The sender's is still good for another try.
        assert_eq!(world.packages(), 1);
    })
    .await;
}

#[tokio::test]
async fn each_relay_has_a_quota_for_the_one_before_it() {
    within(async {
        let world = World::new();
        let (lyon, dijon) = (world.lyon().await, world.dijon().await);
        let nice = world.nice(RelayQuota { packages: 1, bytes: 1 << 20 }).await;
        let first = world.send(&lyon, b"x").await;
        relayed(&lyon, &first).await;
        let kept = dijon.outbox().transfer(first.id()).await.unwrap();
        relayed(&dijon, &kept).await;
        let second = world.send(&lyon, b"y").await;
        relayed(&lyon, &second).await;
        // It stays where there is room for it, and is tried again.
        let stays = dijon.outbox().transfer(second.id()).await.unwrap();
        let mut events = dijon.events();
        while entry(&dijon, stays.id()).await.unwrap().last_failure.is_none() {
            events.next().await.unwrap();
        }
        let stays = entry(&dijon, stays.id()).await.unwrap();
        assert_eq!(stays.state, OutboxState::Stored);
        assert!(stays.last_failure.unwrap().message.contains("the relay can't keep it"));
        let (paris, mut arrived) = world.paris().await;
        let mut both = [arrived.recv().await.unwrap(), arrived.recv().await.unwrap()]
            .map(|delivered| delivered.bytes);
        both.sort();
        assert_eq!(both, [&b"x"[..], b"y"]);
        first.delivered().await.unwrap();
        second.delivered().await.unwrap();
        for node in [lyon, dijon, nice, paris] {
            node.shutdown().await;
        }
    })
    .await;
}
