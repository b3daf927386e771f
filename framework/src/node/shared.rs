//! What all parts of a node share.

use std::sync::Arc;

use actix::{Addr, ArbiterHandle};
use dashmap::DashMap;
use tokio::sync::{Semaphore, broadcast};

use super::config::NodeConfig;
use super::events::NodeEvent;
use super::memory::Remembered;
use super::trust::Trust;
use crate::metrics::Metrics;
use crate::node::{Store, Transport};
use crate::pipeline::{Budget, BufferPool};
use crate::remote::Directory;
use crate::supervise::{NodeSupervisor, StageRegistry};
use crate::wire::{Identity, PeerId};

/// Lane tickets that were given out and not yet used: the connection that names one belongs to that session.
pub(crate) type LaneTickets = DashMap<[u8; 16], LaneInvitation>;

pub(crate) struct LaneInvitation {
    pub(crate) session: Addr<super::session::Session>,
    pub(crate) epoch: u64,
    pub(crate) lane: u16,
    pub(crate) secret: [u8; 32],
    pub(crate) link_hash: [u8; 32],
    pub(crate) issued: std::time::Instant,
}

#[derive(Debug)]
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
    /// Bytes all outgoing transfers may hold.
    pub(crate) sending: Budget,
    /// Bytes all incoming transfers may hold.
    pub(crate) receiving: Budget,
    /// Outgoing transfers that may run at once.
    pub(crate) running_out: Arc<Semaphore>,
    /// Incoming transfers that may run at once.
    pub(crate) running_in: Arc<Semaphore>,
    pub(crate) remembered: Remembered,
    /// Set once the node has one.
    pub(crate) outbox: std::sync::OnceLock<Addr<super::outbox::Outbox>>,
    /// What must not be lost with the process.
    pub(crate) spool: Option<Arc<dyn Store>>,
    pub(crate) events: broadcast::Sender<NodeEvent>,
    pub(crate) workers: Vec<ArbiterHandle>,
    pub(crate) supervisor: Addr<NodeSupervisor>,
    pub(crate) lane_tickets: LaneTickets,
}

impl LaneInvitation {
    /// How long it is good for.
    pub(crate) const LIFE: std::time::Duration = std::time::Duration::from_secs(10);

    pub(crate) fn is_fresh(&self) -> bool {
        self.issued.elapsed() < Self::LIFE
    }
}

impl NodeShared {
    pub(crate) fn peer(&self) -> PeerId {
        self.identity.peer()
    }

    pub(crate) fn emit(&self, event: NodeEvent) {
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }
}

impl std::fmt::Debug for LaneInvitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaneInvitation").field("lane", &self.lane).finish_non_exhaustive()
    }
}
