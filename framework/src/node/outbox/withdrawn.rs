//! The deliveries that were taken out while they were still to be delivered: whoever waits for one, or
//! asks for it later, is told so. Invariant: bounded, and as old as this process at most.

use std::collections::VecDeque;

use actix::{Context, Handler, Message, MessageResult};

use super::{Outbox, OutboxEntry, OutboxState};
use crate::delivery::{Failure, TransferId};

/// The most of them that are remembered.
const MOST: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Withdrawn(VecDeque<(TransferId, OutboxEntry)>);

impl Withdrawn {
    /// Remembers one as it was, dead for this reason; of too many the oldest is forgotten.
    pub(super) fn note(&mut self, id: TransferId, entry: &OutboxEntry, at: u64, why: &Failure) {
        let state = OutboxState::Dead { at, failure: why.clone() };
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((id, OutboxEntry { state, ..entry.clone() }));
    }

    fn find(&self, id: TransferId) -> Option<&OutboxEntry> {
        // An id may have been given again, and taken out again.
        self.0.iter().rev().find(|(known, _)| *known == id).map(|(_, entry)| entry)
    }
}

/// One that was taken out.
#[derive(Debug, Message)]
#[rtype(result = "Option<OutboxEntry>")]
pub(crate) struct FindWithdrawn(pub(crate) TransferId);

impl Handler<FindWithdrawn> for Outbox {
    type Result = MessageResult<FindWithdrawn>;

    fn handle(&mut self, FindWithdrawn(id): FindWithdrawn, _: &mut Context<Self>) -> Self::Result {
        let now = self.shared.clock.now();
        MessageResult(self.withdrawn.find(id).map(|entry| entry.dated(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::FailureKind;
    use crate::node::outbox::entry_for_tests;

    #[test]
    fn the_last_ones_are_remembered_and_no_more() {
        let (mut withdrawn, why) =
            (Withdrawn::default(), Failure::new(FailureKind::Cancelled, "taken out"));
        let id = |count: usize| {
            let mut id = [0; 24];
            id[..8].copy_from_slice(&(count as u64).to_be_bytes());
            TransferId::from_bytes(id)
        };
        for count in 0..=MOST {
            withdrawn.note(id(count), &entry_for_tests(), count as u64, &why);
        }
        assert!(withdrawn.find(id(0)).is_none());
        for count in 1..=MOST {
            let state = withdrawn.find(id(count)).map(|entry| entry.state.clone());
            let dead = OutboxState::Dead { at: count as u64, failure: why.clone() };
            assert_eq!(state, Some(dead));
        }
    }
}
