//! Two nodes on a network in memory that can be stopped and started one by one, each with a spool
//! that outlives it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use estafette::node::{FileStore, MemoryStore, OutboxEntry, PackOrder, Packages, Packed, Store};
use estafette::pipeline::{Compression, Hosting, Source};
use estafette::testing::Network;
use estafette::wire::{PeerId, Suite};
use estafette::{Identity, Node, NodeBuilder, NodeConfig, SendOptions, TransferHandle, TransferId};
use estafette_actors::package::FilePackages;
use estafette_actors::spool::Spool;
use estafette_actors::{
    sink::FileSink,
    source::{BytesSource, FileSource},
    standard,
};
use tempfile::TempDir;

/// Longer than any of these tests takes that works.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}

pub(crate) fn config() -> NodeConfig {
    NodeConfig {
        chunk_size: 4 << 10,
        window: 64 << 10,
        pool: 256 << 10,
        hosting: Hosting::Parallel(2),
        backoff: Duration::from_millis(5),
        dial_for: Duration::from_millis(50),
        reconnect_for: Duration::from_millis(200),
        ..NodeConfig::default()
    }
}

/// Parts that outlive nodes: their keys, their spools, their folders.
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) folder: TempDir,
    pub(crate) lyon_spool: Arc<dyn Store>,
    pub(crate) paris_spool: Arc<dyn Store>,
    lyon: Identity,
    paris: Identity,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        Self {
            network: Network::seeded(1),
            folder,
            lyon_spool: Arc::<MemoryStore>::default(),
            paris_spool: Arc::<MemoryStore>::default(),
            lyon: Identity::generate(),
            paris: Identity::generate(),
        }
    }

    pub(crate) async fn lyon(&self) -> Node {
        self.lyon_with(Arc::clone(&self.lyon_spool)).await
    }

    pub(crate) async fn lyon_with(&self, spool: Arc<dyn Store>) -> Node {
        self.lyon_builder(spool).start().await.unwrap()
    }

    /// Lyon, whose first failure is looked at: that is not that a busy machine links late.
    pub(crate) async fn patient_lyon(&self) -> Node {
        let long = Duration::from_secs(3600);
        self.lyon_with_config(
            Arc::clone(&self.lyon_spool),
            NodeConfig { dial_for: long, reconnect_for: long, ..config() },
        )
        .await
    }

    /// Lyon, as far as it only looks at its spool.
    pub(crate) async fn dormant_lyon(&self) -> Node {
        self.lyon_builder(Arc::clone(&self.lyon_spool)).dormant().start().await.unwrap()
    }

    pub(crate) async fn lyon_with_config(&self, spool: Arc<dyn Store>, config: NodeConfig) -> Node {
        self.lyon_builder(spool).config(config).start().await.unwrap()
    }

    fn lyon_builder(&self, spool: Arc<dyn Store>) -> NodeBuilder {
        let stages = standard().transport(self.network.transport("lyon"));
        let node = Node::builder()
            .name("lyon")
            .identity(self.lyon.clone())
            .listen("lyon")
            .stages(stages)
            .spool(spool);
        node.peer("paris", self.paris.peer(), ["paris"])
            .peer("nobody", Identity::generate().peer(), ["nobody"])
            .config(config())
    }

    /// Takes deliveries to `files` into the folder `in`.
    pub(crate) async fn paris(&self) -> Node {
        self.paris_with(config()).await
    }

    /// Takes packages, too.
    pub(crate) async fn paris_with_folder(&self) -> Node {
        self.paris_of(config(), Arc::new(Spool::open(self.path("paris")).unwrap())).await
    }

    pub(crate) fn paris_peer(&self) -> PeerId {
        self.paris.peer()
    }

    /// Packs a file called `letter` for paris' inbox `files`, as lyon.
    pub(crate) async fn pack(
        &self,
        transfer: TransferId,
        bytes: &[u8],
        file: &Path,
        created: u64,
    ) -> Packed {
        let source = BytesSource::new("letter", bytes.to_vec()).unwrap();
        let order = PackOrder {
            content: source.content(),
            source: Box::new(source),
            identity: self.lyon.clone(),
            receiver: self.paris.peer(),
            transfer,
            chunk_size: 4 << 10,
            suite: Suite::XSALSA20_POLY1305,
            compression: Compression::Snappy,
            coders: Vec::new(),
            inbox: "files".into(),
            created,
            expires: created + 3600,
            token: None,
            file: file.to_owned(),
            stages: standard().stages().clone(),
        };
        let (packed, is_packed) = tokio::sync::oneshot::channel();
        let pack = move || actix::System::new().block_on(FilePackages.pack(order));
        std::thread::spawn(move || drop(packed.send(pack().unwrap())));
        is_packed.await.unwrap()
    }

    pub(crate) async fn paris_with(&self, config: NodeConfig) -> Node {
        self.paris_of(config, Arc::clone(&self.paris_spool)).await
    }

    pub(crate) async fn paris_of(&self, config: NodeConfig, spool: Arc<dyn Store>) -> Node {
        let stages = standard().transport(self.network.transport("paris"));
        let node = Node::builder()
            .name("paris")
            .identity(self.paris.clone())
            .listen("paris")
            .stages(stages);
        let node = node.spool(spool).peer("lyon", self.lyon.peer(), ["lyon"]).config(config);
        node.receive("files", FileSink::into_dir(self.path("in"))).start().await.unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of its own with some content.
    pub(crate) fn file(&self, name: &str, length: usize) -> PathBuf {
        let path = self.path(name);
        let content: Vec<u8> = name.bytes().cycle().take(length).collect();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn has_arrived(&self, name: &str) -> bool {
        std::fs::read(self.path("in").join(name))
            .is_ok_and(|there| there == std::fs::read(self.path(name)).unwrap())
    }

    /// The number of things in paris' folder, temporaries too.
    pub(crate) fn arrived(&self) -> usize {
        std::fs::read_dir(self.path("in")).unwrap().count()
    }
}

pub(crate) async fn send(node: &Node, to: &str, path: &Path) -> TransferHandle {
    let transfer = node.send(to, FileSource::open(path).unwrap()).await.unwrap();
    assert!(transfer.status().stored);
    transfer
}

pub(crate) async fn send_for(
    node: &Node,
    to: &str,
    path: &Path,
    expiry: Duration,
) -> TransferHandle {
    let options = SendOptions { expiry: Some(expiry), ..SendOptions::default() };
    node.send_with(to, FileSource::open(path).unwrap(), options).await.unwrap()
}

pub(crate) async fn entry(node: &Node, id: TransferId) -> Option<OutboxEntry> {
    node.outbox().entry(id).await.ok()
}

/// Returns what a store holds now, in a store of its own.
pub(crate) fn copy_of(store: &Arc<dyn Store>, tables: &[&'static str]) -> Arc<dyn Store> {
    let copy = MemoryStore::default();
    for table in tables {
        store
            .load(table)
            .unwrap()
            .into_iter()
            .for_each(|(key, value)| copy.put(table, &key, &value).unwrap());
    }
    Arc::new(copy)
}

/// A spool of plain files, as a host may use one.
pub(crate) fn file_spool(world: &World) -> Arc<dyn Store> {
    Arc::new(FileStore::open(world.path("spool")).unwrap())
}
