//! Invitations to lanes: who was dialled gives them, who dials comes in by one.

use std::fmt;
use std::time::{Duration, Instant};

use actix::{Message, Recipient};
use dashmap::DashMap;

use super::transport::Connection;
use crate::wire::{ControlOpener, ControlSealer, SecretBytes};

/// Lane tickets that were given out and not yet used: the connection that names one belongs to that
/// session.
pub(crate) type LaneTickets = DashMap<[u8; 16], LaneInvitation>;

/// An invitation of a peer to dial a lane.
pub(crate) struct LaneInvitation {
    pub(crate) session: Recipient<LaneReady>,
    pub(crate) epoch: u64,
    pub(crate) lane: u16,
    pub(crate) secret: SecretBytes,
    pub(crate) link_hash: [u8; 32],
    pub(crate) issued: Instant,
}

impl LaneInvitation {
    /// The time for which it is good.
    pub(crate) const LIFE: Duration = Duration::from_secs(10);

    pub(crate) fn is_fresh(&self) -> bool {
        self.issued.elapsed() < Self::LIFE
    }
}

/// A lane's connection is there, its handshake done.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct LaneReady {
    pub(crate) epoch: u64,
    pub(crate) lane: u16,
    pub(crate) connection: Box<dyn Connection>,
    pub(crate) sealer: ControlSealer,
    pub(crate) opener: ControlOpener,
}

impl fmt::Debug for LaneInvitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneInvitation").field("lane", &self.lane).finish_non_exhaustive()
    }
}
