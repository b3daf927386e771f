//! Counters of the doors of a node, which its snapshot shows.
//!
//! Invariant: a door is listed as long as somebody holds its counters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::wire::printable;

/// The doors of a node.
#[derive(Debug, Default)]
pub(crate) struct Doors(Mutex<Vec<Weak<DoorCounts>>>);

/// Counters of a door, for whoever serves it.
#[derive(Debug, Default)]
pub struct DoorCounts {
    name: String,
    kind: String,
    calls: AtomicU64,
    open: AtomicU64,
    refused: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

/// The counts of a door, for a snapshot.
#[derive(Debug)]
pub(crate) struct DoorSeen {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) calls: u64,
    pub(crate) open: u64,
    pub(crate) refused: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// A call that is open, until it is dropped.
#[derive(Debug)]
pub struct DoorCall(Arc<DoorCounts>);

impl DoorCounts {
    /// Counts a call, which is open until what is returned is dropped.
    pub fn call(self: &Arc<Self>) -> DoorCall {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        DoorCall(Arc::clone(self))
    }

    /// Counts a call that was not let in, or for which there was no room.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl DoorCall {
    /// Counts bytes of content that came by the call.
    pub fn received(&self, bytes: u64) {
        self.0.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes of content that were answered.
    pub fn sent(&self, bytes: u64) {
        self.0.sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for DoorCall {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Doors {
    /// Counters of one more, of this name and kind.
    pub(crate) fn count(&self, name: &str, kind: &str) -> Arc<DoorCounts> {
        let counts = DoorCounts { name: name.into(), kind: kind.into(), ..DoorCounts::default() };
        let counts = Arc::new(counts);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|door| door.strong_count() > 0);
        all.push(Arc::downgrade(&counts));
        counts
    }

    /// As many of them as are shown, by their names.
    pub(crate) fn seen(&self, most: usize) -> Vec<DoorSeen> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen: Vec<_> =
            all.iter().filter_map(Weak::upgrade).map(|door| door.seen()).collect();
        drop(all);
        seen.sort_by(|a, b| (&a.name, &a.kind).cmp(&(&b.name, &b.kind)));
        seen.truncate(most);
        seen
    }
}

impl DoorCounts {
    fn seen(&self) -> DoorSeen {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        DoorSeen {
            name: printable(&self.name).to_string(),
            kind: printable(&self.kind).to_string(),
            calls: of(&self.calls),
            open: of(&self.open),
            refused: of(&self.refused),
            received: of(&self.received),
            sent: of(&self.sent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_is_listed_with_its_counts_until_nobody_holds_them() {
        let doors = Doors::default();
        let (web, calls) = (doors.count("web", "http"), doors.count("calls", "grpc"));
        let (one, two) = (web.call(), web.call());
        one.received(5);
        two.sent(7);
        drop(one);
        web.refuse();
        let seen = doors.seen(9);
        assert_eq!(seen.iter().map(|door| &*door.name).collect::<Vec<_>>(), ["calls", "web"]);
        let door = &seen[1];
        assert_eq!((door.calls, door.open, door.refused), (2, 1, 1));
        assert_eq!((door.received, door.sent), (5, 7));
        assert_eq!(doors.seen(1).len(), 1);
        drop(calls);
        assert_eq!(doors.seen(9).len(), 1);
    }
}
