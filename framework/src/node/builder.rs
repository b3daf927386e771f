//! Putting a node together, and the thread it runs on.

use std::sync::{Arc, Mutex};

use actix::{Actor, Arbiter, System};
use dashmap::DashMap;
use tokio::sync::{broadcast, oneshot, watch};

use super::block_on::block_on;
use super::clock::Clock;
use super::config::{ConfigError, NodeConfig};
use super::door::Listen;
use super::handle::{Node, Parts};
use super::hub::{Hub, Keep};
use super::lease::Lease;
use super::memory::Remembered;
use super::memos::Memos;
use super::outbox::Outbox;
use super::partials::Partials;
use super::retried::Retried;
use super::sessions::Sessions;
use super::shared::NodeShared;
use super::trust::{NameError, Trust, TrustError, TrustedPeer, check_name};
use super::ways::RelayWays;
use crate::delivery::{Failure, TransferId};
use crate::metrics::Metrics;
use crate::node::{RegistryError, StageRegistry};
use crate::pipeline::{BufferPool, Inbox};
use crate::remote::{Directory, DirectoryError, Undelivered};
use crate::store::{MemoryStore, Store};
use crate::supervise::NodeSupervisor;
use crate::wire::{Identity, PeerId};

/// Events that wait for a slow subscriber; older ones are dropped.
const EVENTS: usize = 1024;

/// A builder of a node, from `Node::builder()`.
#[derive(Debug, Default)]
pub struct NodeBuilder {
    name: Option<String>,
    identity: Option<Identity>,
    listen: Vec<String>,
    peers: Vec<(PeerId, TrustedPeer)>,
    inboxes: Vec<(String, Arc<dyn Inbox>)>,
    registry: StageRegistry,
    store: Option<Arc<dyn Store>>,
    spool: Option<Arc<dyn Store>>,
    dormant: bool,
    undelivered: Option<OnUndelivered>,
    retried: Retried,
    config: NodeConfig,
    ways: RelayWays,
}

/// The host's callback for messages that did not reach their actor.
struct OnUndelivered(Arc<dyn Fn(Undelivered) + Send + Sync>);

impl std::fmt::Debug for OnUndelivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnUndelivered")
    }
}

/// An error of starting a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting can't work.
    #[error("the node's configuration is wrong: {0}")]
    Config(#[from] ConfigError),
    /// A part is missing.
    #[error("the node lacks a part: {0}")]
    Registry(#[from] RegistryError),
    /// The trust store failed.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A node can't call itself so.
    #[error("this node can't call itself so: {0}")]
    Name(NameError),
    /// An inbox can't have its name.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The spool failed.
    #[error("the node's spool can't be read: {0}")]
    Spool(std::io::Error),
    /// An address can't be listened at.
    #[error("can't listen at {address}: {error}{}", hint(.address, .error))]
    Listen {
        /// The address.
        address: String,
        /// The cause.
        error: std::io::Error,
    },
    /// The operating system gave no thread.
    #[error("the node's thread could not be started: {0}")]
    Thread(std::io::Error),
    /// The node's thread ended before it was ready.
    #[error("the node's thread ended before it was ready; see its log")]
    Died,
}

fn hint(address: &str, error: &std::io::Error) -> &'static str {
    let is_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match error.kind() {
        // Other transports have their own words, and no ports.
        _ if !is_port => "",
        std::io::ErrorKind::AddrInUse => {
            "; another program has this port: choose another one, or port 0 for any free one"
        }
        std::io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        std::io::ErrorKind::PermissionDenied => "; ports below 1024 need special rights",
        _ => "",
    }
}

impl Node {
    /// Begins to put a node together.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }
}

impl NodeBuilder {
    /// Sets the name by which the node introduces itself to its peers. They take it as a
    /// suggestion. It has at most 64 bytes and must not look like an id. Default: the first
    /// characters of the node's id.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the identity of the node. Default: a new identity, which nobody knows.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Accepts links at this address; may be said more than once.
    #[must_use]
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen.push(address.into());
        self
    }

    /// Trusts a peer for all inboxes, and knows where to dial it.
    #[must_use]
    pub fn peer<A: Into<String>>(
        mut self,
        name: impl Into<String>,
        id: PeerId,
        addresses: impl IntoIterator<Item = A>,
    ) -> Self {
        let addresses = addresses.into_iter().map(Into::into).collect();
        self.peers.push((id, TrustedPeer { addresses, ..TrustedPeer::new(name) }));
        self
    }

    /// Takes deliveries to `inbox` from the first moment on, as [`Node::receive`] does later: a
    /// sender who comes before an inbox is there is refused.
    #[must_use]
    pub fn receive(mut self, name: impl Into<String>, inbox: impl Inbox) -> Self {
        self.inboxes.push((name.into(), Arc::new(inbox)));
        self
    }

    /// The stages and the transport it works with.
    #[must_use]
    pub fn stages(mut self, registry: StageRegistry) -> Self {
        self.registry = registry;
        self
    }

    /// Sets the store of what the node must not forget: trusted peers and tickets. Default: a store
    /// in memory.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets the spool: the store of what must outlive the process of the node. It holds what the
    /// node has to deliver, what has arrived in part, and what was delivered. Default: none, and
    /// nothing outlives the process. The node gives the spool back when it has stopped, even if
    /// handles of the node are left.
    #[must_use]
    pub fn spool(mut self, spool: Arc<dyn Store>) -> Self {
        self.spool = Some(spool);
        self
    }

    /// Delivers nothing of what the spool holds, or is given to hold: for a program that only looks
    /// at a spool, or puts in what another process is to deliver.
    #[must_use]
    pub fn dormant(mut self) -> Self {
        self.dormant = true;
        self
    }

    /// Hears of every [`tell`](crate::remote::Remote::tell) that did not reach its actor, or may
    /// not have, on whatever thread finds out. Default: they are logged.
    #[must_use]
    pub fn on_undelivered(mut self, hook: impl Fn(Undelivered) + Send + Sync + 'static) -> Self {
        self.undelivered = Some(OnUndelivered(Arc::new(hook)));
        self
    }

    /// Says of which dead letters the host sees to it that they are tried again: they are told as
    /// [put off](crate::TransferNews::Deferred), and not as failed. It is asked on the node's own
    /// thread, and does not block. Default: of none.
    #[must_use]
    pub fn tries_again(
        mut self,
        is_retried: impl Fn(TransferId, &Failure) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.retried = Retried::by(is_retried);
        self
    }

    /// Tells the relay that this node is where packages go on to other relays, and from which it
    /// takes what others have made. Default: nowhere, and from none. All of them have to be trusted
    /// peers.
    #[must_use]
    pub fn relay_ways(mut self, ways: RelayWays) -> Self {
        self.ways = ways;
        self
    }

    /// Its limits.
    #[must_use]
    pub fn config(mut self, config: NodeConfig) -> Self {
        self.config = config;
        self
    }

    /// Starts it on a thread of its own. Works from any runtime and from none: it awaits nothing
    /// but that thread.
    pub async fn start(self) -> Result<Node, StartError> {
        self.config.check()?;
        self.registry.check()?;
        self.registry.stages().check_preference(self.config.compression)?;
        let (ready, is_ready) = oneshot::channel();
        let (ended, has_stopped) = watch::channel(false);
        std::thread::Builder::new()
            .name("estafette".into())
            .spawn(move || {
                // Said however the thread ends.
                let _ended = Ended(ended);
                run(self, ready);
            })
            .map_err(StartError::Thread)?;
        let parts = is_ready.await.map_err(|_| StartError::Died)??;
        Ok(Node::new(parts, has_stopped))
    }

    /// [`NodeBuilder::start`] for a plain thread.
    pub fn start_blocking(self) -> Result<Node, StartError> {
        block_on(self.start())
    }
}

/// Says that the node's thread has ended when it is dropped.
struct Ended(watch::Sender<bool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

fn incarnation() -> [u8; 16] {
    let random = crate::store::random32();
    std::array::from_fn(|at| random[at])
}

type Hook = Arc<dyn Fn(Undelivered) + Send + Sync>;

fn log_undelivered(undelivered: Undelivered) {
    let Undelivered { peer, name, message, count, error } = undelivered;
    tracing::warn!(
        peer = %peer.short(), %name, %message, count, %error,
        "messages did not reach their actor"
    );
}

fn run(mut builder: NodeBuilder, ready: oneshot::Sender<Result<Parts, StartError>>) {
    let lease = builder.spool.take().map(Lease::of);
    // Ends with this thread, whoever still has a handle of the node.
    let (spool, _term) = lease.unzip();
    builder.spool = spool.map(|spool| spool as Arc<dyn Store>);
    // `System::new` would panic where descriptors have run out.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(StartError::Thread(error)))),
    };
    let system = System::with_tokio_rt(move || runtime);
    system.block_on(async move {
        let niceness = builder.config.bulk_niceness;
        let workers = (0..builder.config.workers())
            .map(|_| super::disk::bulk_thread(niceness))
            .collect::<std::io::Result<Vec<_>>>();
        let (workers, door) =
            match workers.and_then(|workers| Ok((workers, super::door::door_thread(niceness)?))) {
                Ok(threads) => threads,
                // Whoever asked may be gone.
                Err(error) => return drop(ready.send(Err(StartError::Thread(error)))),
            };
        let (stop, stopped) = oneshot::channel();
        let parts =
            prepare(builder, workers.iter().map(Arbiter::handle).collect(), door.handle(), stop)
                .await;
        if ready.send(parts).is_ok() {
            // An error means that the last handle was dropped: the same.
            let _ = stopped.await;
        }
        for worker in workers.into_iter().chain([door]) {
            worker.stop();
            // A worker that panicked has said so.
            let _ = worker.join();
        }
    });
}

async fn prepare(
    builder: NodeBuilder,
    workers: Vec<actix::ArbiterHandle>,
    door: actix::ArbiterHandle,
    stop: oneshot::Sender<()>,
) -> Result<Parts, StartError> {
    let (listen, inboxes, dormant) = (builder.listen, builder.inboxes, builder.dormant);
    let rest = NodeBuilder { listen: Vec::new(), inboxes: Vec::new(), ..builder };
    let shared = Arc::new(share(rest, workers, door)?);
    for (name, inbox) in inboxes {
        shared.directory.receive(&name, inbox)?;
    }
    let events = shared.events.subscribe();
    let hub = Hub::new(Arc::clone(&shared)).start();
    // It is set only here.
    let _ = shared.connect.set(hub.clone().recipient());
    let outbox = match shared.spool.clone() {
        Some(spool) => Some(start_stored(&shared, &hub, spool, dormant)?),
        None => None,
    };
    let mut addresses = Vec::new();
    for address in listen {
        let listening = hub.send(Listen(address.clone())).await.map_err(|_| StartError::Died)?;
        addresses.push(listening.map_err(|error| StartError::Listen { address, error })?);
    }
    Ok(Parts { shared, hub, outbox, addresses, events, stop })
}

/// Loads whom the node trusts, with those that its host has named.
fn load_trust(
    store: Arc<dyn Store>,
    this: PeerId,
    peers: Vec<(PeerId, TrustedPeer)>,
) -> Result<Trust, StartError> {
    let trust = Trust::load(store)?.owned_by(this);
    for (id, peer) in peers {
        trust.add(id, peer)?;
    }
    if trust.knows(&this) {
        // Earlier builds took it in.
        let label = trust.label(&this);
        tracing::warn!(
            peer = %this,
            "this node is trusted as a peer of itself, as {label}, which it can't be: revoke that \
             trust"
        );
    }
    Ok(trust)
}

/// The name that the node has, or one by its id.
fn own_name(name: Option<String>, id: PeerId) -> Result<String, StartError> {
    let checked = name.as_deref().map(|name| check_name(name, Some(id)));
    checked.transpose().map_err(StartError::Name)?;
    Ok(name.unwrap_or_else(|| id.short()))
}

/// Makes what all parts of the node share.
fn share(
    builder: NodeBuilder,
    workers: Vec<actix::ArbiterHandle>,
    door: actix::ArbiterHandle,
) -> Result<NodeShared, StartError> {
    let NodeBuilder {
        name,
        identity,
        peers,
        registry,
        store,
        spool,
        undelivered,
        retried,
        config,
        ways,
        ..
    } = builder;
    let store = store.unwrap_or_else(|| Arc::new(MemoryStore::default()));
    let identity = identity.unwrap_or_else(Identity::generate);
    let trust = load_trust(store, identity.peer(), peers)?;
    let name = own_name(name, identity.peer())?;
    let metrics = Metrics::default();
    let ledger = super::shared::ledger(&config);
    Ok(NodeShared {
        name,
        identity,
        transport: registry.transports()?,
        registry,
        trust,
        directory: Directory::default(),
        buffers: BufferPool::default(),
        rooms: super::rooms::Rooms::of(&config),
        given_up: Mutex::default(),
        paces: super::pace::Paces::default(),
        taps: crate::pipeline::Taps::default(),
        readings: super::reading::Readings::new(config.window),
        ways: super::ways::Ways::new(ways),
        doors: super::door_counts::Doors::default(),
        incarnation: incarnation(),
        remembered: Remembered::load(ledger.clone(), spool.clone()).map_err(StartError::Spool)?,
        memos: Memos::load(spool.as_deref()).map_err(StartError::Spool)?,
        clock: Arc::new(Clock::load(spool.clone()).map_err(StartError::Spool)?),
        ledger,
        partials: Partials::default(),
        stopped: super::coming::Stopped::default(),
        spool: spool.clone(),
        events: broadcast::channel(EVENTS).0,
        happenings: super::snapshot::Happenings::default(),
        traffic: Arc::default(),
        workers,
        supervisor: NodeSupervisor::new(config.restart, metrics.clone()).start(),
        hosted: super::hosted::HostedActors::default(),
        lane_tickets: DashMap::new(),
        exchanges: DashMap::new(),
        letters: std::sync::OnceLock::new(),
        undelivered: undelivered.map_or_else(|| Arc::new(log_undelivered) as Hook, |hook| hook.0),
        retried,
        connect: std::sync::OnceLock::new(),
        arbiter: Arbiter::current(),
        door,
        turns: super::turns::Turns::default(),
        metrics,
        config,
    })
}

/// Starts what lives on the spool: the outbox, and letters.
fn start_stored(
    shared: &Arc<NodeShared>,
    hub: &actix::Addr<Hub>,
    spool: Arc<dyn Store>,
    dormant: bool,
) -> Result<actix::Addr<Outbox>, StartError> {
    let (sessions, stored) = (Sessions::by(hub), Arc::clone(&spool));
    let loaded = Outbox::load(Arc::clone(shared), stored, sessions, dormant);
    let outbox = loaded.map_err(StartError::Spool)?.start();
    // Before any session is made: each has it.
    hub.do_send(Keep(outbox.clone()));
    let letters = super::letters::load(shared, spool, dormant).map_err(StartError::Spool)?;
    letters.start();
    // It is set only here.
    let _ = shared.letters.set(letters);
    Ok(outbox)
}
