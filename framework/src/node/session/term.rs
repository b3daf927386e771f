//! For how long a delivery that is offered is worth the receiver's while, and may come again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::delivery::{ContentKind, Failure, FailureKind};
use crate::node::config::NodeConfig;
use crate::node::memory::delivery_key;
use crate::node::shared::NodeShared;
use crate::pipeline::Journal;
use crate::wire::{Opening, PeerId};

/// The time that may have passed on the way, in seconds.
const SKEW: u64 = 300;
/// The longest life of a delivery from its offer on, in seconds.
pub(super) const LIFE_MOST: u64 = NodeConfig::EXPIRY_MOST.as_secs() + SKEW;

/// The journal of a delivery, where there is a spool.
pub(super) fn journal_for(
    shared: &NodeShared,
    peer: PeerId,
    opening: &Opening,
) -> Result<Option<Journal>, Failure> {
    let Some(spool) = &shared.spool else { return Ok(None) };
    let key = delivery_key(peer, opening.transfer);
    shared.partials.taken(&key);
    let expires = shared.clock.now().certain + life_of(opening);
    let journal =
        Journal::open(Arc::clone(spool), key, expires, opening.version, opening.chunk_size);
    let journal = journal.map(|journal| Some(journal.charged_to(shared.ledger.account(peer))));
    journal.map_err(|error| {
        Failure::new(FailureKind::Io, format!("the receiver's spool can't be read: {error}"))
    })
}

/// Returns when a delivery with so many seconds left stops being worth the receiver's while, too.
pub(super) fn deadline(remaining: u64) -> Instant {
    Instant::now() + Duration::from_secs(remaining.min(LIFE_MOST) + SKEW)
}

/// Returns how long a delivery may come again, in seconds from its offer on: a package, whoever has
/// it, for as long as its maker said.
pub(super) fn life_of(opening: &Opening) -> u64 {
    let whole = if opening.content.kind == ContentKind::Package {
        opening.expires.saturating_sub(opening.created)
    } else {
        0
    };
    whole.max(opening.remaining).min(LIFE_MOST)
}
