//! Partial deliveries that no attempt works on: bounded in number and bytes for each peer, the
//! oldest go first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::wire::PeerId;

/// The keys of their notes.
#[derive(Debug, Default)]
pub(crate) struct Partials(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    left: HashMap<Vec<u8>, Left>,
    /// Counts those that were left.
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    order: u64,
    bytes: u64,
}

impl Partials {
    /// An attempt has left something to go on with.
    pub(crate) fn left(&self, key: Vec<u8>, bytes: u64) {
        let mut table = self.table();
        let order = table.next;
        table.next += 1;
        table.left.insert(key, Left { order, bytes });
    }

    /// An attempt goes on with it, or it is gone.
    pub(crate) fn taken(&self, key: &[u8]) {
        self.table().left.remove(key);
    }

    /// Returns `true` if an attempt has left something of it.
    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.table().left.contains_key(key)
    }

    /// All of a peer.
    pub(crate) fn of(&self, peer: PeerId) -> Vec<Vec<u8>> {
        self.table().left.keys().filter(|key| key.starts_with(peer.as_bytes())).cloned().collect()
    }

    /// The oldest of a peer that are more than it may leave. The newest may always stay, however
    /// large it is.
    pub(crate) fn beyond(&self, peer: PeerId, count: usize, most: u64) -> Vec<Vec<u8>> {
        let table = self.table();
        let mut theirs: Vec<_> =
            table.left.iter().filter(|(key, _)| key.starts_with(peer.as_bytes())).collect();
        theirs.sort_by_key(|(_, left)| std::cmp::Reverse(left.order));
        let mut bytes = 0_u64;
        let beyond = theirs.into_iter().enumerate().filter(|&(place, (_, left))| {
            bytes = bytes.saturating_add(left.bytes);
            place >= count.max(1) || place > 0 && bytes > most
        });
        beyond.map(|(_, (key, _))| key.clone()).collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_a_peer_go_and_its_newest_stays() {
        let (partials, peer) = (Partials::default(), PeerId::from_bytes([1; 32]));
        let key = |number: u8| [&[1; 32][..], &[number]].concat();
        partials.left(vec![2; 33], 1 << 40);
        (0..5).for_each(|number| partials.left(key(number), 10));
        partials.taken(&key(3));
        let beyond = |count, most| {
            let mut beyond = partials.beyond(peer, count, most);
            beyond.sort();
            beyond
        };
        assert_eq!(beyond(4, 40), Vec::<Vec<u8>>::new(), "just as much");
        assert_eq!(beyond(4, 39), [key(0)]);
        assert_eq!(beyond(2, 100), [key(0), key(1)]);
        assert_eq!(beyond(4, 25), [key(0), key(1)]);
        assert_eq!(beyond(0, 0), [key(0), key(1), key(2)], "the newest may stay");
        assert_eq!(partials.of(peer).len(), 4);
    }
}
