//! The state that all parts of a node share.

use std::sync::{Arc, Mutex};

use actix::{Addr, ArbiterHandle, Message, Recipient};
use dashmap::DashMap;
use tokio::sync::broadcast;

use super::clock::Clock;
use super::coming::Stopped;
use super::config::NodeConfig;
use super::events::NodeEvent;
use super::invitation::LaneTickets;
use super::ledger::{Bound, Ledger, Rate};
use super::memory::Remembered;
use super::memos::Memos;
use super::partials::Partials;
use super::rooms::Rooms;
use super::snapshot::{Happenings, Traffic};
use super::trust::Trust;
use crate::delivery::cancelled::Cancelled;
use crate::metrics::Metrics;
use crate::node::StageRegistry;
use crate::node::{Store, Transport};
use crate::pipeline::BufferPool;
use crate::remote::{Directory, Exchange, Letters, MESSAGES_OF_ONE, REQUESTS_OF_ONE, Undelivered};
use crate::supervise::NodeSupervisor;
use crate::wire::{Identity, PeerId};

/// Keep a link with this peer up.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Connect(pub(crate) PeerId);

pub(crate) struct NodeShared {
    pub(crate) name: String,
    pub(crate) identity: Identity,
    pub(crate) config: NodeConfig,
    pub(crate) registry: StageRegistry,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) trust: Trust,
    pub(crate) directory: Directory,
    pub(crate) metrics: Metrics,
    pub(crate) buffers: BufferPool,
    pub(crate) rooms: Rooms,
    /// By which what expires expires.
    pub(crate) clock: Arc<Clock>,
    pub(crate) remembered: Remembered,
    /// Notes of inboxes about what was delivered before.
    pub(crate) memos: Memos,
    /// The accounts of what each peer makes this node hold.
    pub(crate) ledger: Ledger,
    /// Packages that stopped coming in.
    pub(crate) stopped: Stopped,
    /// Partial deliveries that no attempt works on.
    pub(crate) partials: Partials,
    /// Deliveries to this node that it has cancelled.
    pub(crate) given_up: Mutex<Cancelled>,
    /// Groups of deliveries that keep to a rate.
    pub(crate) paces: super::pace::Paces,
    /// Those who see what deliveries pass.
    pub(crate) taps: crate::pipeline::Taps,
    /// The ways of packages on to other relays.
    pub(crate) ways: super::ways::Ways,
    /// Ways in for others than nodes.
    pub(crate) doors: super::door_counts::Doors,
    /// Contents that several deliveries may send at one time.
    pub(crate) readings: super::reading::Readings,
    /// Tells this process from earlier ones of this node.
    pub(crate) incarnation: [u8; 16],
    /// The store of what must not be lost with the process.
    pub(crate) spool: Option<Arc<dyn Store>>,
    pub(crate) events: broadcast::Sender<NodeEvent>,
    /// The latest happenings.
    pub(crate) happenings: Happenings,
    /// Bytes that went to peers and came from them.
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) workers: Vec<ArbiterHandle>,
    pub(crate) supervisor: Addr<NodeSupervisor>,
    /// The actors that it runs for its host.
    pub(crate) hosted: super::hosted::HostedActors,
    pub(crate) lane_tickets: LaneTickets,
    /// The messages for each peer, whichever session and link there is.
    pub(crate) exchanges: DashMap<PeerId, Arc<Exchange>>,
    /// Messages that are delivered; set at the start, where there is a spool.
    pub(crate) letters: std::sync::OnceLock<Arc<Letters>>,
    /// The host's callback for messages that did not reach their actor.
    pub(crate) undelivered: Arc<dyn Fn(Undelivered) + Send + Sync>,
    /// The dead letters that the host tries again.
    pub(crate) retried: super::retried::Retried,
    /// The actor that sees to links; set once, at the start.
    pub(crate) connect: std::sync::OnceLock<Recipient<Connect>>,
    /// The arbiter that links, and actors that are hosted, live on.
    pub(crate) arbiter: ArbiterHandle,
    /// The arbiter that connections are on until it is known whose they are.
    pub(crate) door: ArbiterHandle,
    /// The order in which keys are exchanged on that thread.
    pub(crate) turns: super::turns::Turns,
}

/// Links that one peer may make at once, and each second from then on.
const LINKS: Rate = Rate { burst: 128, per_second: 2 };
/// Bytes of partial deliveries that are read again for one peer at once, and each second from then
/// on.
const VERIFIED: Rate = Rate { burst: 4 << 30, per_second: 16 << 20 };

/// The accounts of what peers make a node hold.
pub(crate) fn ledger(config: &NodeConfig) -> Ledger {
    let relay = config.relay.unwrap_or(config.packages_in);
    let bytes = Bound { share: relay.bytes, total: config.outbox_bytes };
    let packages = Bound { share: relay.packages as u64, total: config.outbox as u64 };
    let remembered =
        Bound { share: config.remembered_share as u64, total: config.remembered as u64 };
    let messages = Bound { share: MESSAGES_OF_ONE, total: u64::MAX };
    let requests = Bound { share: REQUESTS_OF_ONE, total: u64::MAX };
    Ledger::new([bytes, packages, remembered, messages, requests], [LINKS, VERIFIED])
}

impl NodeShared {
    pub(crate) fn peer(&self) -> PeerId {
        self.identity.peer()
    }

    /// Returns the exchange of messages with a peer.
    pub(crate) fn exchange(&self, peer: PeerId) -> Arc<Exchange> {
        let make = || {
            let name = self.trust.peer(&peer).map_or_else(|| peer.short(), |peer| peer.name);
            let hub = self.connect.get().cloned();
            let connect = move || {
                if let Some(hub) = &hub {
                    hub.do_send(Connect(peer));
                }
            };
            Arc::new(Exchange::new(
                peer,
                name,
                self.ledger.account(peer),
                connect,
                Arc::clone(&self.undelivered),
            ))
        };
        Arc::clone(&self.exchanges.entry(peer).or_insert_with(make))
    }

    pub(crate) fn emit(&self, event: NodeEvent) {
        if let NodeEvent::Transfer(event) = &event {
            event.log();
        }
        self.happenings.hear(&event);
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }
}

impl std::fmt::Debug for NodeShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeShared")
            .field("name", &self.name)
            .field("peer", &self.peer())
            .finish_non_exhaustive()
    }
}
