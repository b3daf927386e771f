//! Three nodes: one sends, one is a relay on the way, one receives. Each can be stopped and started
//! by itself.

use std::path::PathBuf;
use std::sync::Arc;

use estafette::node::{Destination, OutboxState, RelayQuota, Store};
use estafette::testing::Network;
use estafette::{Identity, Node, NodeConfig, SendOptions, TransferHandle, TransferId};
use estafette_actors::sink::{Delivered, FileSink, MemorySink};
use estafette_actors::source::BytesSource;
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

use super::harness::{config, entry};

/// Lyon sends, dijon is on the way, paris receives. All know each other, unless paris is told
/// otherwise.
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) folder: TempDir,
    pub(crate) identities: [Identity; 3],
    /// Opened once: a process has a spool to itself, and handles of a stopped node still know it.
    pub(crate) spools: [Arc<dyn Store>; 3],
}

const NAMES: [&str; 3] = ["lyon", "dijon", "paris"];
pub(crate) const PARIS: usize = 2;

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        let spools = NAMES
            .map(|name| Arc::new(Spool::open(folder.path().join(name)).unwrap()) as Arc<dyn Store>);
        Self {
            network: Network::seeded(1),
            folder,
            identities: [(); 3].map(|()| Identity::generate()),
            spools,
        }
    }

    pub(crate) async fn node(&self, which: usize) -> Node {
        self.node_with(which, config()).await
    }

    pub(crate) async fn node_with(&self, which: usize, config: NodeConfig) -> Node {
        self.node_knowing(which, config, &[0, 1, 2]).await
    }

    /// A node that trusts these.
    pub(crate) async fn node_knowing(
        &self,
        which: usize,
        config: NodeConfig,
        known: &[usize],
    ) -> Node {
        let name = NAMES[which];
        let builder =
            Node::builder().name(name).identity(self.identities[which].clone()).listen(name);
        let builder = builder.spool(Arc::clone(&self.spools[which]));
        let mut builder =
            builder.stages(standard().transport(self.network.transport(name))).config(config);
        for (other, identity) in self
            .identities
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != which && known.contains(other))
        {
            builder = builder.peer(NAMES[other], identity.peer(), [NAMES[other]]);
        }
        builder.start().await.unwrap()
    }

    pub(crate) async fn relay(&self, quota: RelayQuota) -> Node {
        self.node_with(1, NodeConfig { relay: Some(quota), ..config() }).await
    }

    pub(crate) async fn paris(&self) -> (Node, Receiver<Delivered>) {
        self.paris_knowing(&[0, 1]).await
    }

    pub(crate) async fn paris_knowing(&self, known: &[usize]) -> (Node, Receiver<Delivered>) {
        let paris = self.node_knowing(PARIS, config(), known).await;
        let (inbox, arrived) = MemorySink::channel(64 << 20, 64);
        paris.receive("in", inbox).unwrap();
        paris.receive("files", FileSink::into_dir(self.folder.path().join("in"))).unwrap();
        (paris, arrived)
    }

    pub(crate) async fn send_by_relay(
        &self,
        lyon: &Node,
        inbox: &str,
        bytes: &[u8],
    ) -> TransferHandle {
        let to = Destination::Peer(self.identities[PARIS].peer(), inbox.into());
        self.send_by_relay_with(lyon, to, bytes, SendOptions::default()).await
    }

    pub(crate) async fn send_by_relay_with(
        &self,
        lyon: &Node,
        to: impl Into<Destination>,
        bytes: &[u8],
        options: SendOptions,
    ) -> TransferHandle {
        let options = SendOptions { via: Some(self.identities[1].peer()), ..options };
        lyon.send_with(to, BytesSource::new("letter", bytes.to_vec()).unwrap(), options)
            .await
            .unwrap()
    }

    /// The file of a package that the relay keeps.
    pub(crate) fn kept(&self, id: TransferId) -> PathBuf {
        self.folder.path().join(NAMES[1]).join("bulk").join(format!(
            "{}-{}.package",
            id,
            self.identities[0].peer()
        ))
    }

    /// Files in a node's folder for packages.
    pub(crate) fn packages(&self, which: usize) -> usize {
        let files = std::fs::read_dir(self.folder.path().join(NAMES[which]).join("bulk")).unwrap();
        files.filter(|file| file.as_ref().unwrap().metadata().unwrap().is_file()).count()
    }
}

pub(crate) fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

pub(crate) async fn relayed(node: &Node, transfer: &TransferHandle) {
    let mut events = node.events();
    loop {
        if matches!(entry(node, transfer.id()).await.unwrap().state, OutboxState::Relayed { .. }) {
            return;
        }
        events.next_news().await.unwrap();
    }
}
