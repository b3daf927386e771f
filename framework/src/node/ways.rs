//! The ways of packages from relay to relay.
//!
//! Invariant: a relay that was not told otherwise hands nothing on, and takes packages only from who
//! made them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use crate::wire::PeerId;

/// The ways of a relay to others: to whom it hands packages on, and who may hand it packages that
/// others have made. The default: to nobody, and nobody.
///
/// A package stays sealed for its receiver on its whole way, and expires at each relay when it
/// would at its sender. Each relay keeps it until the receiver's word has come back, and charges it
/// to whoever brought it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayWays {
    /// The next relay on the way to a receiver. Packages for all others are brought to the receiver
    /// itself.
    pub next: BTreeMap<PeerId, PeerId>,
    /// Relays that may bring packages which others have made.
    pub from: BTreeSet<PeerId>,
}

/// The ways, as they are now.
#[derive(Debug, Default)]
pub(crate) struct Ways(RwLock<RelayWays>);

impl Ways {
    pub(crate) fn new(ways: RelayWays) -> Self {
        Self(RwLock::new(ways))
    }

    pub(crate) fn set(&self, ways: RelayWays) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ways;
    }

    /// The next relay on the way to a receiver, if there is one.
    pub(crate) fn next(&self, receiver: PeerId) -> Option<PeerId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).next.get(&receiver).copied()
    }

    /// Whether a peer may bring what others have made.
    pub(crate) fn may_bring(&self, relay: PeerId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).from.contains(&relay)
    }
}
