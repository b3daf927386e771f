//! Two nodes with spools that outlive them, and an actor that letters go to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actix::{Actor, Context, Handler};
use estafette::node::{Change, MemoryStore, Store};
use estafette::remote::RemoteMessage;
use estafette::testing::Pair;
use estafette::{Node, NodeConfig};
use estafette_actors::standard;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::actors::Note;

/// Panics as long as it is to, then notes its number.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Fragile")]
pub(crate) struct Fragile(pub(crate) u64);

pub(crate) struct Post {
    pub(crate) pair: Pair,
    pub(crate) spools: [Arc<dyn Store>; 2],
    pub(crate) desk: Desk,
    pub(crate) noted: mpsc::UnboundedReceiver<u64>,
}

/// The maker of the actor that letters go to.
#[derive(Clone)]
pub(crate) struct Desk {
    noting: mpsc::UnboundedSender<u64>,
    /// The number of times that it will panic.
    pub(crate) panics: Arc<AtomicU64>,
}

impl Actor for Desk {
    type Context = Context<Self>;
}

impl Handler<Note> for Desk {
    type Result = ();

    fn handle(&mut self, Note(number, _): Note, _: &mut Context<Self>) {
        self.noting.send(number).unwrap();
    }
}

impl Handler<Fragile> for Desk {
    type Result = ();

    fn handle(&mut self, Fragile(number): Fragile, _: &mut Context<Self>) {
        let due = self
            .panics
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |panics| panics.checked_sub(1));
        assert!(due.is_err(), "as it was asked to");
        self.noting.send(number).unwrap();
    }
}

impl Desk {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<u64>) {
        let (noting, noted) = mpsc::unbounded_channel();
        (Self { noting, panics: Arc::default() }, noted)
    }

    /// `node` runs it as `desk`.
    pub(crate) async fn host(&self, node: &Node) {
        let desk = self.clone();
        node.host("desk", move || desk.clone())
            .takes::<Note>()
            .takes::<Fragile>()
            .start()
            .await
            .unwrap();
    }
}

impl Post {
    pub(crate) async fn open(seed: u64, config: NodeConfig) -> Self {
        Self::with(seed, config, [Arc::<MemoryStore>::default(), Arc::<MemoryStore>::default()])
            .await
    }

    pub(crate) async fn with(seed: u64, config: NodeConfig, spools: [Arc<dyn Store>; 2]) -> Self {
        let pair = Pair::start_both_spooled(seed, config, standard(), standard(), spools.clone())
            .await
            .unwrap();
        let (desk, noted) = Desk::new();
        desk.host(&pair.paris).await;
        Self { pair, spools, desk, noted }
    }

    /// `paris` dies and comes back; what it has stored is not lost, and its actors are.
    pub(crate) async fn restart_paris(&mut self) {
        self.pair.restart_paris(standard()).await.unwrap();
        self.desk.host(&self.pair.paris).await;
    }

    /// Records of letters that are not over, at both nodes.
    pub(crate) fn kept(&self) -> [usize; 2] {
        let count = |spool: &Arc<dyn Store>, table| spool.load(table).unwrap().len();
        [count(&self.spools[0], "letters"), count(&self.spools[1], "mail")]
    }
}

/// A store that fails while it is to.
#[derive(Debug, Default)]
pub(crate) struct Fickle {
    store: MemoryStore,
    pub(crate) fails: AtomicBool,
    /// Writes that failed.
    pub(crate) failed: AtomicU64,
}

impl Fickle {
    fn check(&self) -> io::Result<()> {
        if self.fails.load(Ordering::SeqCst) {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::other("the disk is full, as it was asked to be"));
        }
        Ok(())
    }
}

impl Store for Fickle {
    fn load(&self, table: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.store.load(table)
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.check()?;
        self.store.put(table, key, value)
    }

    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()> {
        self.check()?;
        self.store.remove(table, key)
    }

    fn write(&self, changes: Vec<Change>) -> io::Result<()> {
        self.check()?;
        self.store.write(changes)
    }
}
