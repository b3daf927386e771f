//! The ways of packages from relay to relay.
//!
//! Invariant: a relay that was not told otherwise hands nothing on, and takes packages only from who
//! made them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use crate::pipeline::Refusal;
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
    /// The promise that more may be told later, as where several nodes are told of a way one after
    /// the other: packages for a receiver, or of a relay, that this one does not know of are then
    /// refused for now, and so is what it brings to who does not know of it; each is tried again
    /// until it expires. Else they are refused for good, and who made them hears of it at once.
    pub may_grow: bool,
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

    /// A refusal of what the ways do not cover.
    pub(crate) fn refusal(&self, why: impl std::fmt::Display) -> Refusal {
        if self.may_grow() { Refusal::for_now(why) } else { Refusal::new(why) }
    }

    pub(crate) fn may_grow(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).may_grow
    }

    /// Returns `true` if a peer may bring what others have made.
    pub(crate) fn may_bring(&self, relay: PeerId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).from.contains(&relay)
    }
}
