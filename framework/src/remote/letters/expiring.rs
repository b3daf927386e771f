//! The end of letters that wait here and have expired: behind one that its actor has, or for a name
//! that nobody has. So what waits is what may still be handed over.
//!
//! Invariant: what may be with its actor is left to who hands it over.

use std::sync::Arc;

use super::kept::expired;
use super::{Letters, State};

/// The most letters of a peer that are looked at at a time: no peer's wait for those of another.
pub(super) const SWEPT: usize = 2048;

impl Letters {
    /// Ends what has expired and is held durably.
    pub(super) fn end_expired(&self, now: u64) {
        let of_all: Vec<_> = {
            let mut state = self.state();
            if state.stopping {
                return;
            }
            let State { incoming, parked, .. } = &mut *state;
            let due = incoming.iter_mut().filter(|(_, from)| from.logs.is_due(now));
            let expired = due.map(|(&peer, from)| {
                let unpark = |name: &Arc<str>| parked.remove(&(peer, Arc::clone(name))).is_some();
                (peer, from.logs.expired(now, SWEPT, unpark))
            });
            expired.collect()
        };
        for (peer, letters) in of_all {
            for (log, number, name) in letters {
                // What follows when it is durable goes on with the name.
                drop(self.over((peer, log, number), Some(expired(&name))));
            }
        }
    }
}
