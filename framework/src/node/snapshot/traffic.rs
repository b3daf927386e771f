//! Counters of what is written to a peer and read from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The bytes of one peer's connections, which count for the whole node, too.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    /// In microseconds; 0 as long as nothing was measured.
    round_trip: AtomicU64,
    linked: AtomicBool,
    whole: Option<Arc<Traffic>>,
}

impl Traffic {
    /// Those of one peer, in the sum of all.
    pub(crate) fn of_peer(whole: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self { whole: Some(Arc::clone(whole)), ..Self::default() })
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
        if let Some(whole) = &self.whole {
            whole.sent(bytes);
        }
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
        if let Some(whole) = &self.whole {
            whole.received(bytes);
        }
    }

    /// A ping was answered after so long.
    pub(crate) fn answered(&self, after: Duration) {
        let after = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.round_trip.store(after.max(1), Relaxed);
    }

    /// There is a link.
    pub(crate) fn link_up(&self) {
        self.linked.store(true, Relaxed);
    }

    pub(crate) fn is_linked(&self) -> bool {
        self.linked.load(Relaxed)
    }

    /// The link that the round trip was measured on is gone.
    pub(crate) fn link_down(&self) {
        self.linked.store(false, Relaxed);
        self.round_trip.store(0, Relaxed);
    }

    pub(crate) fn round_trip(&self) -> Option<u64> {
        Some(self.round_trip.load(Relaxed)).filter(|time| *time > 0)
    }

    /// Bytes written, and bytes read.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.sent.load(Relaxed), self.received.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_peer_has_counts_for_all_and_a_round_trip_goes_with_its_link() {
        let whole = Arc::<Traffic>::default();
        let (one, other) = (Traffic::of_peer(&whole), Traffic::of_peer(&whole));
        one.sent(3);
        other.sent(4);
        other.received(5);
        assert_eq!((one.bytes(), other.bytes(), whole.bytes()), ((3, 0), (4, 5), (7, 5)));
        assert_eq!(one.round_trip(), None);
        one.answered(Duration::from_nanos(10));
        assert_eq!(one.round_trip(), Some(1), "it was measured");
        one.link_down();
        assert_eq!(one.round_trip(), None);
    }
}
