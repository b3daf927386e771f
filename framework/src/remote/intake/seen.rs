//! A view of an intake from outside, while its actor may be busy.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Counters of what an actor takes up. They are written by its own thread only, once a message and
/// once a turn.
#[derive(Debug, Default)]
pub(super) struct TakenUp {
    in_hand: AtomicU64,
    taken: AtomicU64,
    /// The time of its last turn.
    turn: Mutex<Option<Instant>>,
}

/// Counts of what waits for an actor, and of what it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IntakeSeen {
    pub(crate) waiting: u64,
    pub(crate) in_hand: u64,
    pub(crate) taken: u64,
    /// The last turn of an actor that has something in hand.
    pub(crate) busy_since: Option<Instant>,
}

impl TakenUp {
    /// The actor has its turn.
    pub(super) fn turn(&self) {
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// It has taken over so many more.
    pub(super) fn fetched(&self, count: usize) {
        self.taken.fetch_add(count as u64, Relaxed);
        self.left(count);
    }

    /// It has so many in hand.
    pub(super) fn left(&self, count: usize) {
        self.in_hand.store(count as u64, Relaxed);
    }

    pub(super) fn seen(&self, waiting: usize) -> IntakeSeen {
        let in_hand = self.in_hand.load(Relaxed);
        // Of those that it has taken over it works at one.
        let behind = in_hand.saturating_sub(1);
        let turn = *self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        IntakeSeen {
            waiting: waiting as u64 + behind,
            in_hand: in_hand.min(1),
            taken: self.taken.load(Relaxed).saturating_sub(behind),
            busy_since: turn.filter(|_| in_hand > 0),
        }
    }
}
