//! The queue of items for a link, cut into batches.
//!
//! Invariant: items of one key leave in the order they were put in; what names a target, before all
//! that waits.

use std::collections::{BTreeMap, VecDeque};

use crate::wire::Along;
use crate::wire::message::{BATCH_LIMIT, Item};

/// Longer items are cut, so that they don't keep others waiting.
const WHOLE: usize = 24 << 10;
/// The lengths of items and batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lengths {
    /// Longer items are cut.
    pub(super) whole: usize,
    /// Longer batches are none.
    pub(super) batch: usize,
}

impl Default for Lengths {
    fn default() -> Self {
        Self { whole: WHOLE, batch: BATCH_LIMIT }
    }
}

/// Emptied batches that are kept.
const SPARE: usize = 4;

/// The key of items that must stay in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    /// Items to a target.
    Target(u32),
    /// The requests of a call from here.
    Call(u64),
    /// The replies of a call to here.
    Served(u64),
    /// Letters.
    Letters,
}

/// Items that wait for the link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Queue {
    lengths: Lengths,
    /// Batches that name targets. They go first: what is cut, and what waits behind that, can
    /// overtake what is not.
    names: VecDeque<Vec<u8>>,
    /// The batch that is being filled.
    filling: Vec<u8>,
    full: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    /// Items that are cut, and items that must not overtake them.
    long: VecDeque<Long>,
    behind: BTreeMap<Key, usize>,
    bytes: usize,
    /// Set if a part of a long item goes next.
    long_is_due: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Long {
    keys: [Option<Key>; 2],
    item: Vec<u8>,
    sent: usize,
}

impl Queue {
    pub(super) fn new(lengths: Lengths) -> Self {
        Self { lengths, ..Self::default() }
    }

    /// An empty one like this.
    pub(super) fn another(&self) -> Self {
        Self::new(self.lengths)
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Puts an item in. `body`: how many bytes it has of variable length.
    pub(super) fn put(
        &mut self,
        keys: [Option<Key>; 2],
        item: &Item<'_>,
        along: Option<&Along>,
        body: usize,
    ) {
        let most = body + Item::OVERHEAD + along.map_or(0, Along::most);
        if self.must_wait(&keys, most) {
            let mut bytes = Vec::with_capacity(most);
            item.encode(along, &mut bytes);
            return self.put_behind(keys, bytes);
        }
        self.make_room(most);
        let before = self.filling.len();
        item.encode(along, &mut self.filling);
        self.bytes += self.filling.len() - before;
    }

    /// [`put`](Self::put), for an item that is written already.
    pub(super) fn put_written(&mut self, keys: [Option<Key>; 2], item: Vec<u8>) {
        if self.must_wait(&keys, item.len()) {
            self.put_behind(keys, item)
        } else {
            self.put_row(&item)
        }
    }

    fn must_wait(&self, keys: &[Option<Key>; 2], most: usize) -> bool {
        most > self.lengths.whole
            || !self.behind.is_empty()
                && keys.iter().flatten().any(|key| self.behind.contains_key(key))
    }

    fn put_behind(&mut self, keys: [Option<Key>; 2], item: Vec<u8>) {
        self.bytes += item.len();
        keys.iter().flatten().for_each(|&key| *self.behind.entry(key).or_default() += 1);
        self.long.push_back(Long { keys, item, sent: 0 });
    }

    /// Returns `true` if an item of this key would have to wait for one that is cut.
    pub(super) fn holds_up(&self, key: Key) -> bool {
        self.behind.contains_key(&key)
    }

    /// Puts in items that are short, and that nothing [holds up](Self::holds_up).
    pub(super) fn put_row(&mut self, items: &[u8]) {
        self.make_room(items.len());
        self.filling.extend_from_slice(items);
        self.bytes += items.len();
    }

    fn make_room(&mut self, bytes: usize) {
        if self.filling.len() + bytes > self.lengths.batch {
            let next = self.spare.pop().unwrap_or_default();
            self.full.push_back(std::mem::replace(&mut self.filling, next));
        }
    }

    /// Puts in what names a target. `body`: how many bytes it has of variable length.
    pub(super) fn put_name(&mut self, item: &Item<'_>, body: usize) {
        let most = self.lengths.batch;
        let has_room = |batch: &&mut Vec<u8>| batch.len() + body + Item::OVERHEAD <= most;
        if self.names.back_mut().filter(has_room).is_none() {
            self.names.push_back(self.spare.pop().unwrap_or_default());
        }
        if let Some(batch) = self.names.back_mut() {
            let before = batch.len();
            item.encode(None, batch);
            self.bytes += batch.len() - before;
        }
    }

    /// The next batch, given to `send`; `None` when nothing waits.
    pub(super) fn take<T>(&mut self, send: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if let Some(names) = self.names.pop_front() {
            self.bytes -= names.len();
            return Some(self.give(names, send));
        }
        let long_is_due = !self.long.is_empty()
            && (self.long_is_due || self.full.is_empty() && self.filling.is_empty());
        self.long_is_due = !long_is_due;
        let mut batch = match (long_is_due, self.full.pop_front()) {
            (true, Some(full)) => {
                self.full.push_front(full);
                self.spare.pop().unwrap_or_default()
            }
            (true, None) => self.spare.pop().unwrap_or_default(),
            (false, Some(full)) => full,
            (false, None) => {
                std::mem::replace(&mut self.filling, self.spare.pop().unwrap_or_default())
            }
        };
        if long_is_due {
            self.cut(&mut batch);
        } else {
            self.bytes -= batch.len();
        }
        (!batch.is_empty()).then(|| self.give(batch, send))
    }

    fn give<T>(&mut self, mut batch: Vec<u8>, send: impl FnOnce(&[u8]) -> T) -> T {
        let sent = send(&batch);
        batch.clear();
        if self.spare.len() < SPARE {
            self.spare.push(batch);
        }
        sent
    }

    /// Writes the next part of the first long item, or that item whole where it is short enough.
    fn cut(&mut self, batch: &mut Vec<u8>) {
        let Some(long) = self.long.front_mut() else { return };
        let whole = self.lengths.whole;
        if long.item.len() <= whole {
            batch.extend_from_slice(&long.item);
            long.sent = long.item.len();
            self.bytes -= long.sent;
        } else {
            if long.sent == 0 {
                Item::Begin { total: u32::try_from(long.item.len()).unwrap_or(u32::MAX) }
                    .encode(None, batch);
            }
            let end = long.item.len().min(long.sent + whole);
            Item::Part { bytes: &long.item[long.sent..end] }.encode(None, batch);
            self.bytes -= end - long.sent;
            long.sent = end;
        }
        if long.sent == long.item.len() {
            for key in self.long.pop_front().into_iter().flat_map(|long| long.keys).flatten() {
                if let Some(count) = self.behind.get_mut(&key) {
                    *count -= 1;
                    if *count == 0 {
                        self.behind.remove(&key);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::Items;

    fn drain(queue: &mut Queue) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| queue.take(<[u8]>::to_vec)).collect()
    }

    /// The bodies of tells in the order a receiver sees them.
    fn tells(batches: &[Vec<u8>]) -> Vec<(u32, usize)> {
        let (mut seen, mut long, mut total) = (Vec::new(), Vec::new(), 0);
        let mut note = |item: Item<'_>| {
            if let Item::Tell { target, body } = item {
                seen.push((target, body.len()));
            }
        };
        for batch in batches {
            assert!(batch.len() <= BATCH_LIMIT);
            let mut items = Items::new(batch);
            while let Some((item, _)) = items.next_item().unwrap() {
                match item {
                    Item::Begin { total: claimed } => total = claimed as usize,
                    Item::Part { bytes } => {
                        long.extend_from_slice(bytes);
                        if long.len() == total {
                            let whole = std::mem::take(&mut long);
                            note(Items::new(&whole).next_item().unwrap().unwrap().0);
                        }
                    }
                    other => note(other),
                }
            }
        }
        seen
    }

    fn tell(queue: &mut Queue, target: u32, length: usize) {
        queue.put(
            [Some(Key::Target(target)), None],
            &Item::Tell { target, body: &vec![7; length] },
            None,
            length,
        );
    }

    #[test]
    fn short_items_share_batches_and_none_is_cut() {
        let mut queue = Queue::default();
        (0..1000).for_each(|i| tell(&mut queue, i, 100));
        let batches = drain(&mut queue);
        assert_eq!(batches.len(), 2);
        assert_eq!(tells(&batches), (0..1000).map(|i| (i, 100)).collect::<Vec<_>>());
        assert!(queue.is_empty() && queue.bytes() == 0);
    }

    #[test]
    fn a_long_item_is_overtaken_by_others_and_not_by_its_own() {
        let mut queue = Queue::default();
        tell(&mut queue, 1, 1 << 20);
        tell(&mut queue, 1, 5);
        (0..2000).for_each(|_| tell(&mut queue, 2, 100));
        let seen = tells(&drain(&mut queue));
        let of = |target| {
            seen.iter().filter(|seen| seen.0 == target).map(|seen| seen.1).collect::<Vec<_>>()
        };
        assert_eq!(of(1), [1 << 20, 5]);
        assert_eq!(of(2).len(), 2000);
        assert_eq!(seen[0].0, 2, "the short ones need not wait for the long one");
        assert_eq!(seen.last(), Some(&(1, 5)));
        assert!(queue.is_empty() && queue.behind.is_empty());
    }
}
