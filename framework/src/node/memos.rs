//! The memos that inboxes keep of the last delivery of a peer under a name: the memory behind
//! [`Resumed::AlreadyThere`].
//!
//! Invariant: a memo is given to the inbox and for the peer that it was made for, and nobody else.
//! There are never more than the limits say: the oldest goes first. To have lost one costs a second
//! transfer, and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::delivery::Content;
use crate::pipeline::Committed;
use crate::store::{Change, Store};
use crate::wire::PeerId;

#[cfg(doc)]
use crate::pipeline::Resumed;

/// The table of the spool. Keys: the peer, then what stands for inbox and name. Values: `order u64
/// ‖ memo`.
pub(crate) const TABLE: &str = "memo";
/// The most memos of one peer.
const OF_ONE: usize = 4096;
/// The most memos of all.
const OF_ALL: usize = 16_384;

/// The key of a memo: a name of an inbox, for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MemoKey {
    peer: PeerId,
    name: [u8; 16],
}

/// A note of an inbox about a delivery.
#[derive(Clone, Debug)]
pub(crate) struct Memo {
    key: MemoKey,
    text: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Memos(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    memos: HashMap<MemoKey, (u64, Vec<u8>)>,
    /// The oldest first.
    order: BTreeMap<u64, MemoKey>,
    of_peer: HashMap<PeerId, usize>,
}

impl MemoKey {
    const LENGTH: usize = 32 + 16;

    pub(crate) fn new(peer: PeerId, inbox: &str, content: &Content) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("estafette 2026 memo");
        hasher
            .update(&(inbox.len() as u64).to_le_bytes())
            .update(inbox.as_bytes())
            .update(content.name.as_bytes());
        let mut name = [0; 16];
        hasher.finalize_xof().fill(&mut name);
        Self { peer, name }
    }

    pub(crate) fn with(self, text: Vec<u8>) -> Memo {
        Memo { key: self, text }
    }

    fn to_bytes(self) -> Vec<u8> {
        [&self.peer.as_bytes()[..], &self.name].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (peer, name) = bytes.split_first_chunk::<32>()?;
        Some(Self { peer: PeerId::from_bytes(*peer), name: name.try_into().ok()? })
    }
}

impl Memos {
    /// Those that the spool knows.
    pub(crate) fn load(spool: Option<&dyn Store>) -> io::Result<Self> {
        let mut table = Table::default();
        for (key, value) in spool.map_or_else(|| Ok(Vec::new()), |spool| spool.load(TABLE))? {
            // What can't be read is as good as lost; whoever looks after the spool names it.
            if let (Some(key), Some((order, text))) =
                (MemoKey::from_bytes(&key), value.split_first_chunk::<8>())
            {
                table.insert(key, u64::from_le_bytes(*order), text.to_vec());
            }
        }
        Ok(Self(Mutex::new(table)))
    }

    /// Returns the note on this name.
    pub(crate) fn find(&self, peer: PeerId, inbox: &str, content: &Content) -> Option<Vec<u8>> {
        self.table().memos.get(&MemoKey::new(peer, inbox, content)).map(|(_, text)| text.clone())
    }

    /// Keeps a memo in place of an older one; and what the spool has to be told of that. One that
    /// is too long is not kept.
    pub(crate) fn keep(&self, Memo { key, text }: Memo) -> Vec<Change> {
        let mut table = self.table();
        let mut gone = Vec::new();
        if text.len() > Committed::MEMO_LIMIT {
            gone.extend(table.remove(key).then_some(key));
        } else {
            let order = table.order.last_key_value().map_or(0, |(last, _)| last + 1);
            let value = [&order.to_le_bytes()[..], &text].concat();
            table.insert(key, order, text);
            while let Some(oldest) = table.beyond(key.peer) {
                table.remove(oldest);
                gone.push(oldest);
            }
            let put = Change::Put { table: TABLE, key: key.to_bytes(), value };
            return std::iter::once(put).chain(gone.into_iter().map(forget)).collect();
        }
        gone.into_iter().map(forget).collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget(key: MemoKey) -> Change {
    Change::Remove { table: TABLE, key: key.to_bytes() }
}

impl Table {
    fn insert(&mut self, key: MemoKey, order: u64, text: Vec<u8>) {
        self.remove(key);
        self.memos.insert(key, (order, text));
        self.order.insert(order, key);
        *self.of_peer.entry(key.peer).or_default() += 1;
    }

    fn remove(&mut self, key: MemoKey) -> bool {
        let Some((order, _)) = self.memos.remove(&key) else { return false };
        self.order.remove(&order);
        if let Some(count) = self.of_peer.get_mut(&key.peer) {
            *count -= 1;
            if *count == 0 {
                self.of_peer.remove(&key.peer);
            }
        }
        true
    }

    /// The one that has to go, if a peer or all have too many.
    fn beyond(&self, peer: PeerId) -> Option<MemoKey> {
        let too_many = self.of_peer.get(&peer).is_some_and(|count| *count > OF_ONE);
        let mut oldest = self.order.values();
        if too_many {
            oldest.find(|key| key.peer == peer)
        } else {
            oldest.next().filter(|_| self.memos.len() > OF_ALL)
        }
        .copied()
    }
}

/// Returns `true` if it is a memo.
pub(crate) fn is_readable(key: &[u8], value: &[u8]) -> bool {
    key.len() == MemoKey::LENGTH && value.len() >= 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{ContentKind, ContentName};
    use crate::node::MemoryStore;

    fn named(name: &str) -> Content {
        Content::new(ContentKind::Bytes, ContentName::new(name).unwrap(), None)
    }

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    fn keep(memos: &Memos, spool: &MemoryStore, peer: PeerId, name: &str, text: &[u8]) {
        spool
            .write(memos.keep(MemoKey::new(peer, "files", &named(name)).with(text.to_vec())))
            .unwrap();
    }

    #[test]
    fn a_memo_is_for_its_peer_its_inbox_and_its_name_and_outlives_the_node() {
        let (spool, memos) = (MemoryStore::default(), Memos::default());
        keep(&memos, &spool, peer(1), "a", b"old");
        keep(&memos, &spool, peer(1), "a", b"new");
        for memos in [&memos, &Memos::load(Some(&spool)).unwrap()] {
            assert_eq!(memos.find(peer(1), "files", &named("a")), Some(b"new".to_vec()));
            assert_eq!(memos.find(peer(2), "files", &named("a")), None);
            assert_eq!(memos.find(peer(1), "other", &named("a")), None);
            assert_eq!(memos.find(peer(1), "files", &named("b")), None);
        }
        assert!(spool.load(TABLE).unwrap().iter().all(|(key, value)| is_readable(key, value)));
        keep(&memos, &spool, peer(1), "a", &[0; Committed::MEMO_LIMIT + 1]);
        assert_eq!(
            (memos.find(peer(1), "files", &named("a")), spool.load(TABLE).unwrap()),
            (None, Vec::new()),
            "too long, and the old one is wrong"
        );
    }

    #[test]
    fn the_oldest_of_a_peer_goes_when_it_has_too_many_and_of_all_when_all_have() {
        let (spool, memos) = (MemoryStore::default(), Memos::default());
        let find = |number, name: &str| memos.find(peer(number), "files", &named(name)).is_some();
        keep(&memos, &spool, peer(9), "first", b"");
        for number in 0..=OF_ONE {
            keep(&memos, &spool, peer(1), &number.to_string(), b"");
        }
        assert_eq!(
            (find(9, "first"), find(1, "0"), find(1, "1"), find(1, &OF_ONE.to_string())),
            (true, false, true, true)
        );
        for other in 2..5 {
            (0..OF_ONE)
                .for_each(|number| keep(&memos, &spool, peer(other), &number.to_string(), b""));
        }
        assert_eq!((find(9, "first"), find(1, "1"), find(4, "0")), (false, true, true));
        assert_eq!(spool.load(TABLE).unwrap().len(), OF_ALL);
    }
}
