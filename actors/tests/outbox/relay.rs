//! Packages: content nobody can read again, and content for a receiver behind a relay.

use std::sync::Arc;
use std::time::Duration;

use estafette::delivery::FailureKind;
use estafette::node::{Destination, OutboxState, RelayQuota, Store};
use estafette::testing::Network;
use estafette::{Identity, Node, NodeConfig, SendOptions, TransferHandle};
use estafette_actors::sink::{Delivered, FileSink, MemorySink};
use estafette_actors::source::{BytesSource, ReaderSource};
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

use super::harness::{config, entry, within};

/// Three nodes: lyon sends, dijon is on the way, paris receives. Paris knows lyon; lyon and paris know dijon.
struct World {
    network: Network,
    folder: TempDir,
    identities: [Identity; 3],
    /// Opened once: a process has a spool to itself, and handles of a stopped node still know it.
    spools: [Arc<dyn Store>; 3],
}

const NAMES: [&str; 3] = ["lyon", "dijon", "paris"];
const PARIS: usize = 2;

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        let spools = NAMES.map(|name| Arc::new(Spool::open(folder.path().join(name)).unwrap()) as Arc<dyn Store>);
        Self { network: Network::seeded(1), folder, identities: [(); 3].map(|()| Identity::generate()), spools }
    }

    async fn node(&self, which: usize) -> Node {
        self.node_with(which, config()).await
    }

    async fn node_with(&self, which: usize, config: NodeConfig) -> Node {
        let name = NAMES[which];
        let builder = Node::builder().name(name).identity(self.identities[which].clone()).listen(name);
        let builder = builder.spool(Arc::clone(&self.spools[which]));
        let mut builder = builder.stages(standard().transport(self.network.transport(name))).config(config);
        for (other, identity) in self.identities.iter().enumerate().filter(|(other, _)| *other != which) {
            builder = builder.peer(NAMES[other], identity.peer(), [NAMES[other]]);
        }
        builder.start().await.unwrap()
    }

    async fn relay(&self, quota: RelayQuota) -> Node {
        self.node_with(1, NodeConfig { relay: Some(quota), ..config() }).await
    }

    async fn paris(&self) -> (Node, Receiver<Delivered>) {
        let paris = self.node(PARIS).await;
        let (inbox, arrived) = MemorySink::channel(64 << 20, 64);
        paris.receive("in", inbox).unwrap();
        paris.receive("files", FileSink::into_dir(self.folder.path().join("in"))).unwrap();
        (paris, arrived)
    }

    async fn send_by_relay(&self, lyon: &Node, inbox: &str, bytes: &[u8]) -> TransferHandle {
        let to = Destination::Peer(self.identities[PARIS].peer(), inbox.into());
        let options = SendOptions { via: Some(self.identities[1].peer()), ..SendOptions::default() };
        lyon.send_with(to, BytesSource::new("letter", bytes.to_vec()).unwrap(), options).await.unwrap()
    }

    /// Files in a node's folder for packages.
    fn packages(&self, which: usize) -> usize {
        let files = std::fs::read_dir(self.folder.path().join(NAMES[which]).join("bulk")).unwrap();
        files.filter(|file| file.as_ref().unwrap().metadata().unwrap().is_file()).count()
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

async fn relayed(node: &Node, transfer: &TransferHandle) {
    let mut events = node.events();
    loop {
        if matches!(entry(node, transfer.id()).await.unwrap().state, OutboxState::Relayed { .. }) {
            return;
        }
        events.next_news().await.unwrap();
    }
}

#[tokio::test]
async fn what_can_be_read_only_once_is_packed_and_outlives_its_sender() {
    within(async {
        let world = World::new();
        let lyon = world.node(0).await;
        let bytes = content(300_000);
        let transfer = lyon.send("paris/in", ReaderSource::new("letter", std::io::Cursor::new(bytes.clone())).unwrap()).await.unwrap();
        assert!(transfer.status().stored);
        lyon.abort().await;
        drop(lyon);
        let (paris, mut arrived) = world.paris().await;
        let lyon = world.node(0).await;
        let receipt = lyon.transfer(transfer.id()).await.unwrap().delivered().await.unwrap();
        assert_eq!((receipt.length, receipt.digest), (300_000, *blake3::hash(&bytes).as_bytes()));
        let delivered = arrived.recv().await.unwrap();
        assert!(delivered.bytes == bytes && delivered.offer.peer == lyon.peer());
        assert_eq!(paris.arrivals().len(), 1);
        assert_eq!((world.packages(0), world.packages(PARIS)), (0, 0), "nothing is left of the package");
        let (sender, id, _) = paris.arrivals().remove(0);
        paris.processed(sender, id).await.unwrap();
        lyon.transfer(transfer.id()).await.unwrap().processed().await.unwrap();
        lyon.shutdown().await;
        paris.shutdown().await;
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
        // The relay restarts with what it keeps; the receiver was never there at the same time as the sender.
        dijon.abort().await;
        drop(dijon);
        let dijon = world.relay(RelayQuota::default()).await;
        let (paris, mut arrived) = world.paris().await;
        let delivered = arrived.recv().await.unwrap();
        assert!(delivered.bytes == bytes);
        assert_eq!(delivered.offer.peer, world.identities[0].peer(), "it comes of who packed it, not of who carried it");
        dijon.transfer(transfer.id()).await.unwrap().delivered().await.unwrap();
        paris.shutdown().await;
        let lyon = world.node(0).await;
        lyon.stay_connected(dijon.peer());
        let receipt = lyon.transfer(transfer.id()).await.unwrap().delivered().await.unwrap();
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
        let lyon = world.node(0).await;
        let dijon = world.node(1).await;
        let transfer = world.send_by_relay(&lyon, "in", b"x").await;
        let failure = transfer.delivered().await.unwrap_err();
        assert!(failure.kind == FailureKind::Refused && failure.message.contains("no relay"), "{failure}");
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
                assert!(failure.kind == FailureKind::Busy && failure.message.contains("relay can't keep it"), "{failure}");
                break;
            }
            events.next_news().await.unwrap();
        }
        // Room again: it goes on by itself.
        let (paris, mut arrived) = world.paris().await;
        assert!(arrived.recv().await.unwrap().bytes == b"x"[..]);
        lyon.retry(second.id()).await.unwrap();
        assert!(arrived.recv().await.unwrap().bytes == b"y"[..]);
        for node in [lyon, dijon, paris] {
            node.shutdown().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_package_that_rotted_is_a_dead_letter_and_the_others_arrive() {
    within(async {
        let world = World::new();
        let lyon = world.node(0).await;
        let bytes = content(50_000);
        let damaged = lyon.send("paris/in", BytesSource::new("damaged", bytes.clone()).unwrap()).await.unwrap();
        let whole = lyon.send("paris/in", BytesSource::new("whole", bytes.clone()).unwrap()).await.unwrap();
        lyon.shutdown().await;
        drop(lyon);
        let file = world.folder.path().join("lyon/bulk").join(format!("{}.package", damaged.id().to_hex()));
        let mut package = std::fs::read(&file).unwrap();
        let middle = package.len() / 2;
        package[middle] ^= 0x10;
        std::fs::write(&file, package).unwrap();
        let (paris, mut arrived) = world.paris().await;
        let lyon = world.node(0).await;
        let failure = lyon.transfer(damaged.id()).await.unwrap().delivered().await.unwrap_err();
        assert!(failure.message.contains(".package"), "{failure}");
        lyon.transfer(whole.id()).await.unwrap().delivered().await.unwrap();
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
        lyon.transfer(id).await.unwrap().delivered().await.unwrap();
        assert!(std::fs::read(world.folder.path().join("in/letter")).unwrap() == bytes);
        assert_eq!(std::fs::read_dir(world.folder.path().join("in")).unwrap().count(), 1);
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}
