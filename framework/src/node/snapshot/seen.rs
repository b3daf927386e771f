//! Words of a session and of the outbox about themselves.

use actix::Message;

use super::{LinkSnapshot, OutboxSnapshot, RelaySnapshot, TransferSnapshot};

/// Tell what there is to see of a session.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "SessionSeen")]
pub(crate) struct ObserveSession {
    /// The most transfers that are told of.
    pub(crate) most: usize,
}

/// Tell what there is to see of the outbox.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "OutboxSeen")]
pub(crate) struct ObserveOutbox;

/// The report of a session.
#[derive(Debug)]
pub(crate) struct SessionSeen {
    pub(crate) link: LinkSnapshot,
    /// Those that move first.
    pub(crate) transfers: Vec<TransferSnapshot>,
}

/// The report of the outbox.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OutboxSeen {
    pub(crate) own: OutboxSnapshot,
    pub(crate) relay: RelaySnapshot,
}
