//! Errors of reading and changing trust, and of finding a peer by a name.

use std::time::Duration;

use super::names::NameError;
use crate::wire::{PeerId, TicketError};

/// The standing of a peer that was trusted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is trusted, or nothing is known of it.
    Unchanged,
    /// Its time is over.
    Expired,
    /// The store can't be read, for so long.
    Unreadable(Duration),
}

/// An error of finding a peer by what was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSuchPeer {
    /// An id, of a node that is not trusted.
    #[error("{0} is not trusted here: trust it first, or check that it is the right id")]
    Id(PeerId),
    /// The node's own id.
    #[error("that is the id of this node itself, which is none of its peers")]
    Itself,
    /// A name that nobody has.
    #[error("no peer is called {given:?} here; known are: {known}")]
    Name {
        /// The text that was given.
        given: String,
        /// The names there are.
        known: String,
    },
    /// A name that several have.
    #[error("{} peers are meant by {given:?}: {}; give the id of one", .ids.len(), listed(.ids))]
    Several {
        /// The text that was given.
        given: String,
        /// The ids of the peers it may mean.
        ids: Vec<PeerId>,
    },
}

pub(super) fn listed(ids: &[PeerId]) -> String {
    let shown: Vec<String> =
        ids.iter().take(SHOWN).map(|id| format!("{} ({id})", id.short())).collect();
    let more = if ids.len() > SHOWN { ", and more" } else { "" };
    shown.join(", ") + more
}

/// Peers, or names, that an error lists.
pub(super) const SHOWN: usize = 20;

/// Characters of an id that are enough to mean it, where only one begins so.
pub(super) const FINGERPRINT: usize = 8;

/// An error of reading or changing trust.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The store failed.
    #[error("the trust store could not be {action}: {error}; nothing was changed")]
    Store {
        /// Read or written.
        action: &'static str,
        /// The cause.
        error: std::io::Error,
    },
    /// A record of the store can't be read.
    #[error(
        "a record of the trust store is damaged ({error}); restore it from a copy, or remove it \
         and trust the peer again"
    )]
    Damaged {
        /// The cause.
        error: String,
    },
    /// A node is not its own peer.
    #[error("{} is this node itself, or has a copy of its key, which is the same: a node neither delivers to itself nor trusts itself", .0.short())]
    Itself(PeerId),
    /// The ticket would be too long.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// Nobody can be called so.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A peer could not be revoked, or not to the end.
    #[error("revoking {peer} did not end well ({error}): {standing}; try it again", peer = .peer.short())]
    Revocation {
        /// The peer that was to be revoked.
        peer: PeerId,
        /// The state of the trust now, in words.
        standing: &'static str,
        /// The cause.
        error: std::io::Error,
    },
    /// More peers or tickets than a node keeps.
    #[error("there are {limit} {what} already; remove some first")]
    Full {
        /// Peers or tickets.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}
