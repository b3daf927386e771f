//! Words that somebody waits for and that nobody can say, for there is no link: whoever has received
//! a delivery says that its application is done with it on the next one, and may be unable to dial.
//!
//! Invariant: nobody is dialled for a word that nobody here waits for.

use std::collections::HashMap;
use std::time::Duration;

use actix::Context;

use super::{Outbox, OutboxState};
use crate::node::sessions::Dial;

/// The time between two looks for whom to dial: whoever can't be reached is dialled ever more
/// rarely, as for deliveries.
pub(super) const SEEK: Duration = Duration::from_secs(1);

impl Outbox {
    /// Seeks links to those whose word somebody waits for here.
    pub(super) fn seek_words(&mut self, _: &mut Context<Self>) {
        if self.stopping || self.dormant {
            return;
        }
        let mut wanted = HashMap::new();
        for held in self.entries.values().filter(|held| held.state.is_watched()) {
            let entry = held.entry();
            let peer = entry.next_hop();
            if matches!(entry.state, OutboxState::Delivered { .. }) && !self.schedule.is_up(peer) {
                wanted.entry(peer).or_insert(entry);
            }
        }
        for (peer, entry) in wanted {
            self.sessions.dial(Dial { peer, hints: self.hints(entry) });
        }
    }
}
