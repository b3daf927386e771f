//! One node of a topology, running in this process.

mod again;
mod doors;
mod each;
mod failure;
mod left;
mod look;
mod meeting;
mod memory;
mod mirror;
mod observe;
mod onward;
mod pending;
mod queue;
mod rehearse;
mod reload;
mod rest;
mod revive;
mod route;
mod running;
mod standing;
mod tap;
mod wakes;
#[cfg_attr(not(target_os = "linux"), path = "unwatched.rs")]
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use estafette::node::{
    HostError, KeyFileError, KindError, MemoryStore, NodeBuilder, NodeConfig, RelayWays,
    StageRegistry, StartError, Trust, TrustError, TrustedPeer, blocking,
};
use estafette::pipeline::Inbox;
use estafette::{Identity, Node, PeerId, TransferId};
use tokio::sync::broadcast;

use self::doors::Doors;
use self::memory::Memory;
use self::revive::will_be_revived;
use self::route::Route;
use self::running::{Plan, Routes};
use crate::model::Topology;
use crate::neighbour::Neighbour;

pub(crate) use self::each::is_left_alone;
pub use self::left::LeftAtDoor;
pub use self::look::{Measured, RouteLook, Running};
pub use self::memory::waiting_routes;
pub(crate) use self::observe::OBSERVE;
pub use self::observe::Observed;
pub use self::pending::Pending;
pub use self::reload::ReloadError;
pub use self::tap::{
    Recorded, Recording, ReplayError, Replayed, RouteTap, RouteTaps, TapContent, TapError, TapNews,
    TapOptions, TapPiece, TapRate,
};

/// Events that wait for a slow subscriber; older ones are dropped.
const EVENTS: usize = 1024;
/// The file of a spool that is there from its beginning on, which is made when the key is there.
const SPOOL_MARK: &str = "FORMAT";

/// An error of starting a node of a topology.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// There is no such node.
    #[error("the topology has no node `{name}`; it has {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A key can't be read or made.
    #[error("the key of the node `{name}`: {error}")]
    Key {
        /// The node.
        name: String,
        /// The cause.
        error: KeyFileError,
    },
    /// The key is another one than the file says.
    #[error(
        "the node `{name}` has the id {id} in the topology, and its key {} is that of {found}: \
         bring its key here, or correct the id", key.display()
    )]
    OtherKey {
        /// The node.
        name: String,
        /// The id in the topology.
        id: PeerId,
        /// The id of the key.
        found: PeerId,
        /// The file of the key.
        key: PathBuf,
    },
    /// A folder of the node can't be used.
    #[error("{what} of the node `{name}`, {}, can't be used: {error}", path.display())]
    Io {
        /// The node.
        name: String,
        /// The spool, or what its routes remember.
        what: &'static str,
        /// The folder.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// It can't be told what a node keeps.
    #[error("the outbox of the node `{name}` can't be listed: {error}")]
    Outbox {
        /// The node.
        name: String,
        /// The cause.
        error: estafette::node::OutboxError,
    },
    /// An inbox can't be made.
    #[error("the inbox `{inbox}`: {error}")]
    Inbox {
        /// The inbox.
        inbox: String,
        /// The cause.
        error: KindError,
    },
    /// A door can't be opened.
    #[error("the door `{door}` can't be opened: {why}")]
    Door {
        /// The door.
        door: String,
        /// The reason.
        why: String,
    },
    /// A peer can't be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The node does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The questions of other nodes are not answered.
    #[error("nobody can observe it: {0}")]
    Observe(#[from] HostError),
    /// The operating system gave no thread.
    #[error("no thread could be started: {0}")]
    Thread(io::Error),
}

/// Something happened to a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteEvent {
    /// The route.
    pub route: String,
    /// The news.
    pub news: RouteNews,
}

/// A piece of news about a route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteNews {
    /// A delivery is stored, and goes on by itself.
    Sent {
        /// Its transfer.
        id: TransferId,
        /// The name of its content.
        name: String,
        /// The target: `NODE/INBOX`.
        to: String,
    },
    /// An entry of a queue is taken from a target that can't be reached, for another one.
    Moved {
        /// Its name.
        entry: String,
        /// The target.
        from: String,
        /// The failure of the last try.
        why: String,
    },
    /// An entry that was delivered to all is removed.
    Removed {
        /// Its name.
        entry: String,
    },
    /// Something failed, and is tried again.
    Failed {
        /// The reason, for a person.
        why: String,
        /// The time until then.
        again: Duration,
    },
}

/// A node of a topology that runs, with its routes. Dropping it ends the routes.
#[derive(Debug)]
pub struct RunningNode {
    name: String,
    node: Node,
    topology: Topology,
    /// The ids that it trusts by the topology; of one whose reload failed in the middle, those
    /// before it, too.
    peers: BTreeSet<PeerId>,
    registry: StageRegistry,
    memory: Memory,
    routes: Vec<Route>,
    taps: RouteTaps,
    running: Routes,
    doors: Doors,
    events: broadcast::Sender<RouteEvent>,
    first: Option<broadcast::Receiver<RouteEvent>>,
}

impl RunningNode {
    /// The node: whatever a host does with a node, it may do with this one.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The peers with which it keeps a link up.
    pub fn connected(&self) -> Vec<PeerId> {
        let peers = self.topology.neighbours(&self.name).into_iter();
        let kept = peers.filter(|(_, neighbour)| neighbour.connect);
        let trust = self.node.trust();
        kept.filter_map(|(peer, _)| Some(trust.named(&peer)?.0)).collect()
    }

    /// Its routes, for those who tap, record or send again what passes them; also after it is
    /// reloaded.
    pub fn taps(&self) -> RouteTaps {
        self.taps.clone()
    }

    /// Its doors that are open, by their names, and the addresses they listen at.
    pub fn doors(&self) -> Vec<(String, String)> {
        self.doors.addresses()
    }

    /// Returns the events of its routes from now on; the first caller hears of all since the
    /// start.
    pub fn events(&mut self) -> broadcast::Receiver<RouteEvent> {
        self.first.take().unwrap_or_else(|| self.events.subscribe())
    }

    /// Ends the routes, and shuts the node down as [`Node::shutdown`] does. What is stored goes on
    /// at the next start.
    pub async fn shutdown(self) {
        let Self { node, doors, .. } = self;
        doors.close().await;
        node.shutdown().await;
    }
}

impl Topology {
    /// Starts one of its nodes in this process, with its inboxes, its routes and those whom it
    /// trusts. The keys of nodes without an id are made if they are not there.
    ///
    /// The topology should have been [checked](Topology::check): here the first fault ends it.
    pub async fn start(
        &self,
        name: &str,
        registry: StageRegistry,
    ) -> Result<RunningNode, RunError> {
        self.start_with(name, registry, |builder| builder).await
    }

    /// [`Topology::start`] of a node to which something is added: an event hook, an inbox of the
    /// host's own.
    pub async fn start_with(
        &self,
        name: &str,
        registry: StageRegistry,
        with: impl FnOnce(NodeBuilder) -> NodeBuilder,
    ) -> Result<RunningNode, RunError> {
        let Some(spec) = self.nodes.get(name) else {
            let known = self.nodes.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(RunError::Unknown { name: name.to_owned(), known });
        };
        let (topology, own) = (self.clone(), name.to_owned());
        let (identity, ids) = on_a_thread(move || topology.identities(&own)).await??;
        let config = NodeConfig { relay: spec.relay, ..spec.limits.clone() };
        let mut builder = Node::builder()
            .name(name)
            .store(self.trusted(name, &ids)?)
            .identity(identity.clone())
            .stages(registry.clone())
            .relay_ways(self.relay_ways(name, &ids))
            .config(config);
        for address in &spec.listen {
            builder = builder.listen(address);
        }
        let inboxes = self.inboxes.iter();
        for (inbox, _) in inboxes.filter(|(_, spec)| spec.nodes.iter().any(|node| node == name)) {
            builder = builder.receive(inbox, self.make_inbox(name, inbox, &registry).await?);
        }
        let path = self.spool_of(name);
        let (opens, folder) = (registry.clone(), path.clone());
        let spool = on_a_thread(move || opens.open_spool(&folder)).await?;
        let failed = |what, path, error| RunError::Io { name: name.to_owned(), what, path, error };
        builder = builder.spool(spool.map_err(|error| failed("the spool", path, error))?);
        let path = self.routes_of(name);
        let memory = Memory::open(path.clone()).await;
        let memory = memory.map_err(|error| failed("what the routes", path, error))?;
        let sent = memory.clone();
        builder = builder.tries_again(move |id, failure| will_be_revived(&sent, id, failure));
        let node = with(builder).start().await?;
        let doors = Doors::open(self, name, &node, &registry).await?;
        let (events, first) = broadcast::channel(EVENTS);
        let routes = self.routes_from(name, &ids, &node, &registry, &memory, &events);
        let connect = self.connected(name, &ids);
        let (own, parts) = (node.clone(), registry.clone());
        let taps = RouteTaps::new((name, own), identity, parts, memory.clone(), routes.clone());
        taps.looks.set(self, name);
        taps.answer().await?;
        let plan = Plan { routes: routes.clone(), untouched: BTreeSet::new(), connect };
        let running = Routes::start(&taps, plan).map_err(RunError::Thread)?;
        let peers = self.peers_of(name, &ids).into_iter().map(|(id, _)| id).collect();
        let (name, topology, first) = (name.to_owned(), self.clone(), Some(first));
        Ok(RunningNode {
            name,
            node,
            topology,
            peers,
            registry,
            memory,
            routes,
            taps,
            running,
            doors,
            events,
            first,
        })
    }

    /// An inbox of a node, made.
    async fn make_inbox(
        &self,
        node: &str,
        inbox: &str,
        registry: &StageRegistry,
    ) -> Result<Box<dyn Inbox>, RunError> {
        let sink = self.inboxes.get(inbox).map(|inbox| &inbox.sink);
        let (kind, settings) = match sink {
            Some(sink) => (sink.name.clone(), sink.settings_at(node)),
            None => (String::new(), toml::Value::Boolean(false)),
        };
        let (registry, places) = (registry.clone(), self.places());
        let made = on_a_thread(move || places.read(|| registry.inbox_of(&kind, settings))?.make());
        made.await?.map_err(|error| RunError::Inbox { inbox: inbox.to_owned(), error })
    }

    /// The peers with which a node keeps a link up.
    fn connected(&self, name: &str, ids: &BTreeMap<String, PeerId>) -> Vec<PeerId> {
        let neighbours = self.neighbours(name).into_iter();
        let connected = neighbours.filter(|(_, neighbour)| neighbour.connect);
        connected.filter_map(|(neighbour, _)| ids.get(&neighbour).copied()).collect()
    }

    /// Returns `true` if a node is of this machine: its key or its spool is here, or is made at its
    /// first start.
    pub fn is_here(&self, name: &str) -> bool {
        let is_made = || [self.key_of(name), self.spool_of(name).join(SPOOL_MARK)];
        let is_elsewhere = |node: &crate::NodeSpec| {
            node.id.is_some() && !is_made().iter().any(|path| path.exists())
        };
        self.nodes.get(name).is_some_and(|node| !is_elsewhere(node))
    }

    /// Makes the keys of the nodes of this machine that have none, so that processes which start
    /// together agree on them. It blocks.
    pub fn make_keys(&self) -> Result<(), RunError> {
        for (name, _) in self.nodes.iter().filter(|(name, _)| self.is_here(name)) {
            self.key(name)?;
        }
        Ok(())
    }

    /// The key of a node, which is made at its first start.
    fn key(&self, name: &str) -> Result<Identity, RunError> {
        Identity::load_or_create_unless(self.key_of(name), self.spool_of(name).join(SPOOL_MARK))
            .map_err(|error| RunError::Key { name: name.to_owned(), error })
    }

    /// The key of a node, and the ids of all. Keys of nodes without an id are made if they are not
    /// there. It blocks.
    fn identities(&self, own: &str) -> Result<(Identity, BTreeMap<String, PeerId>), RunError> {
        let identity = self.key(own)?;
        let mut ids = BTreeMap::new();
        for (name, node) in &self.nodes {
            let id = match node.id {
                Some(id) if name == own && id != identity.peer() => {
                    let (name, found) = (name.clone(), identity.peer());
                    return Err(RunError::OtherKey { key: self.key_of(own), name, id, found });
                }
                Some(id) => id,
                None if name == own => identity.peer(),
                None => self.key(name)?.peer(),
            };
            ids.insert(name.clone(), id);
        }
        Ok((identity, ids))
    }

    /// The trust of a node: what the topology says of it, and nothing else.
    fn trusted(
        &self,
        name: &str,
        ids: &BTreeMap<String, PeerId>,
    ) -> Result<Arc<MemoryStore>, TrustError> {
        let store = Arc::<MemoryStore>::default();
        let trust = Trust::load(Arc::clone(&store) as Arc<dyn estafette::node::Store>)?;
        for (id, peer) in self.peers_of(name, ids) {
            trust.add(id, peer)?;
        }
        Ok(store)
    }

    /// The peers of a node, as it trusts them.
    fn peers_of(&self, name: &str, ids: &BTreeMap<String, PeerId>) -> Vec<(PeerId, TrustedPeer)> {
        let neighbours = self.neighbours(name).into_iter();
        let peer = |(other, neighbour): (String, Neighbour)| {
            let (id, node) = (*ids.get(&other)?, self.nodes.get(&other)?);
            let inboxes = neighbour.inboxes.into_iter().collect();
            let addresses = node.dialled_at();
            Some((id, TrustedPeer { addresses, inboxes, ..TrustedPeer::new(other) }))
        };
        neighbours.filter_map(peer).collect()
    }

    /// Returns the ways of packages from a node to other relays, and the relays that bring it some.
    fn relay_ways(&self, name: &str, ids: &BTreeMap<String, PeerId>) -> RelayWays {
        // One node is told of a route before the other.
        let mut ways = RelayWays { may_grow: true, ..RelayWays::default() };
        for (other, neighbour) in self.neighbours(name) {
            let Some(&id) = ids.get(&other) else { continue };
            if neighbour.brings {
                ways.from.insert(id);
            }
            let reached = neighbour.reaches.iter().filter_map(|receiver| ids.get(receiver));
            ways.next.extend(reached.map(|&receiver| (receiver, id)));
        }
        ways
    }

    fn routes_from(
        &self,
        name: &str,
        ids: &BTreeMap<String, PeerId>,
        node: &Node,
        registry: &StageRegistry,
        memory: &Memory,
        events: &broadcast::Sender<RouteEvent>,
    ) -> Vec<Route> {
        let from_here = self.routes.iter().filter(|(_, route)| route.from == name);
        let onwards = self.onwards();
        from_here
            .map(|(route, spec)| {
                let targets = spec.to.iter();
                let targets = targets
                    .filter_map(|target| Some((target.clone(), *ids.get(&target.node)?)))
                    .collect();
                let goes_on = spec.to.iter().map(|target| onwards.has(target)).collect();
                let recorders = spec.tap.record.iter();
                let recorders =
                    recorders.filter_map(|node| Some((node.clone(), *ids.get(node)?))).collect();
                Route {
                    goes_on: Arc::new(goes_on),
                    recorders: Arc::new(recorders),
                    name: route.as_str().into(),
                    via: spec.via.first().and_then(|via| ids.get(via).copied()),
                    spec: Arc::new(spec.clone()),
                    targets: Arc::new(targets),
                    places: self.places(),
                    node: node.clone(),
                    registry: registry.clone(),
                    memory: memory.clone(),
                    events: events.clone(),
                    gone: Arc::default(),
                    left: Arc::default(),
                    mirror: Arc::default(),
                }
            })
            .collect()
    }
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RunError> {
    blocking(work).await.map_err(|error| RunError::Thread(io::Error::other(error)))
}
