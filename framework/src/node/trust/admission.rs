//! The decision who is let in now, and the reason if somebody is not.
//!
//! Invariant: while the store can't be read nobody is let in, and nobody is refused for good: who
//! is trusted may come again.

use std::sync::{Arc, PoisonError};

use super::{Trust, TrustedPeer};
use crate::delivery::{Failure, FailureKind};
use crate::store::now;
use crate::wire::PeerId;

/// The reason that somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    /// It is not trusted, or not so far.
    Untrusted,
    /// The store can't be read: whoever is trusted may come again.
    ForNow,
}

impl Barred {
    /// Returns the failure for its sender, with this reason if it is for good.
    pub(crate) fn failure(self, why: impl FnOnce() -> String) -> Failure {
        match self {
            Self::Untrusted => Failure::new(FailureKind::Untrusted, why()),
            Self::ForNow => Failure::new(
                FailureKind::Busy,
                "the receiver can't read now whom it trusts; try again later",
            ),
        }
    }
}

impl Trust {
    /// Lets a peer in, to an inbox where one is given.
    pub(crate) fn admission(&self, id: &PeerId, inbox: Option<&str>) -> Result<(), Barred> {
        // Looked at once: the store may come and go.
        if self.unread.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Err(Barred::ForNow);
        }
        let may = |peer: &TrustedPeer| {
            inbox.is_none_or(|inbox| {
                peer.inboxes.iter().any(|allowed| allowed == "*" || allowed == inbox)
            })
        };
        let is_in = self.peers.get(id).is_some_and(|peer| peer.is_current(now()) && may(&peer));
        if is_in { Ok(()) } else { Err(Barred::Untrusted) }
    }

    /// The names that a peer may send to, in their order; `None`: all there are.
    pub(crate) fn names_for(&self, id: &PeerId) -> Option<Arc<[Arc<str>]>> {
        if self.admission(id, None).is_err() {
            return Some(Arc::default());
        }
        // It may have gone this very moment.
        let Some(peer) = self.peers.get(id) else { return Some(Arc::default()) };
        if peer.inboxes.iter().any(|name| name == "*") {
            return None;
        }
        let mut names: Vec<Arc<str>> =
            peer.inboxes.iter().map(|name| name.as_str().into()).collect();
        names.sort_unstable();
        names.dedup();
        Some(names.into())
    }
}
