//! The deliveries that were taken out while they were still to be delivered: whoever waits for one, or
//! asks for it later, is told so. Invariant: bounded, and as old as this process at most; one that has
//! many taken out makes nobody else's forgotten.

use std::collections::{HashMap, VecDeque};

use actix::{Context, Handler, Message, MessageResult};

use super::{Outbox, OutboxEntry, OutboxState};
use crate::delivery::{Failure, TransferId};
use crate::wire::PeerId;

/// The most of them that are remembered, of all together.
const MOST: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Withdrawn {
    entries: HashMap<TransferId, (u64, OutboxEntry)>,
    /// The ids of each share, the oldest first, with the number that each was noted under.
    shares: HashMap<Share, VecDeque<(u64, TransferId)>>,
    noted: u64,
}

/// Deliveries that share their places: those of one packer, receiver and inbox, and of content that
/// lies elsewhere (of a route, say) or is kept here (of a door, say).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Share {
    relayed_for: Option<PeerId>,
    peer: PeerId,
    inbox: String,
    is_elsewhere: bool,
}

impl Share {
    fn of(entry: &OutboxEntry) -> Self {
        let is_elsewhere = entry.file().is_none();
        let OutboxEntry { relayed_for, peer, ref inbox, .. } = *entry;
        Self { relayed_for, peer, inbox: inbox.clone(), is_elsewhere }
    }
}

impl Withdrawn {
    /// Remembers one as it was, dead for this reason; of too many the oldest of the largest share is
    /// forgotten.
    pub(super) fn note(&mut self, id: TransferId, entry: &OutboxEntry, at: u64, why: &Failure) {
        let state = OutboxState::Dead { at, failure: why.clone() };
        self.noted += 1;
        let number = self.noted;
        self.shares.entry(Share::of(entry)).or_default().push_back((number, id));
        // An id may have been given again, and taken out again.
        self.entries.insert(id, (number, OutboxEntry { state, ..entry.clone() }));
        if self.shares.values().map(VecDeque::len).sum::<usize>() > MOST {
            self.forget_one();
        }
    }

    fn forget_one(&mut self) {
        let largest = self.shares.iter().max_by_key(|(_, ids)| {
            let oldest = ids.front().map_or(0, |(number, _)| *number);
            (ids.len(), std::cmp::Reverse(oldest))
        });
        let Some(share) = largest.map(|(share, _)| share.clone()) else { return };
        let Some(ids) = self.shares.get_mut(&share) else { return };
        if let Some((number, id)) = ids.pop_front()
            && self.entries.get(&id).is_some_and(|(noted, _)| *noted == number)
        {
            self.entries.remove(&id);
        }
        if ids.is_empty() {
            self.shares.remove(&share);
        }
    }

    fn find(&self, id: TransferId) -> Option<&OutboxEntry> {
        self.entries.get(&id).map(|(_, entry)| entry)
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

/// The ids of all of them.
#[derive(Debug, Message)]
#[rtype(result = "Vec<TransferId>")]
pub(crate) struct ListWithdrawn;

impl Handler<ListWithdrawn> for Outbox {
    type Result = MessageResult<ListWithdrawn>;

    fn handle(&mut self, _: ListWithdrawn, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.withdrawn.entries.keys().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::FailureKind;
    use crate::node::outbox::{Kept, entry_for_tests};

    fn id(count: usize) -> TransferId {
        let mut id = [0; 24];
        id[..8].copy_from_slice(&(count as u64).to_be_bytes());
        TransferId::from_bytes(id)
    }

    fn why() -> Failure {
        Failure::new(FailureKind::Cancelled, "taken out")
    }

    #[test]
    fn the_last_ones_are_remembered_and_no_more() {
        let mut withdrawn = Withdrawn::default();
        for count in 0..=MOST {
            withdrawn.note(id(count), &entry_for_tests(), count as u64, &why());
        }
        assert!(withdrawn.find(id(0)).is_none());
        for count in 1..=MOST {
            let state = withdrawn.find(id(count)).map(|entry| entry.state.clone());
            assert_eq!(state, Some(OutboxState::Dead { at: count as u64, failure: why() }));
        }
        assert_eq!(withdrawn.entries.len(), MOST);
    }

    #[test]
    fn one_that_has_many_taken_out_makes_nobody_else_s_forgotten() {
        let mut withdrawn = Withdrawn::default();
        let base = entry_for_tests();
        let reference = Kept::Reference { kind: "file".into(), data: vec![] };
        let others = [
            OutboxEntry { inbox: "other".into(), ..base.clone() },
            OutboxEntry { peer: PeerId::from_bytes([7; 32]), ..base.clone() },
            OutboxEntry { relayed_for: Some(PeerId::from_bytes([8; 32])), ..base.clone() },
            OutboxEntry { content: reference, ..base.clone() },
        ];
        for (at, entry) in others.iter().enumerate() {
            withdrawn.note(id(at), entry, 0, &why());
        }
        for count in 10..10 + 3 * MOST {
            withdrawn.note(id(count), &base, 0, &why());
        }
        (0..others.len()).for_each(|at| assert!(withdrawn.find(id(at)).is_some(), "{at}"));
        assert_eq!(withdrawn.entries.len(), MOST);
        // One that is taken out again and again is there as it was last.
        for at in 1..=2 * MOST as u64 {
            withdrawn.note(id(5), &base, at, &why());
        }
        let state = withdrawn.find(id(5)).map(|entry| entry.state.clone());
        assert_eq!(state, Some(OutboxState::Dead { at: 2 * MOST as u64, failure: why() }));
        assert!(withdrawn.shares.values().map(VecDeque::len).sum::<usize>() <= MOST);
    }
}
