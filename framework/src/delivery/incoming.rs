//! The window of an incoming transfer: what has arrived, and how much more may come.
//!
//! # Driving it
//! [`Incoming::claim`] before a chunk's body is looked at; after it exactly one of
//! [`Incoming::received`] (authenticated, in memory), [`Incoming::release`] (damaged on the way) or
//! [`Incoming::lost`] (in a stage that died). [`Incoming::consumed`] when the sink has taken a
//! chunk: it answers with a new limit when one is worth sending. [`Incoming::ended`] when the
//! trailer was opened. The transfer is ready to commit when [`Incoming::complete`] says so.
//!
//! Invariant: an index is claimed at most once at a time, and never at or beyond the limit that was
//! granted.

use std::collections::HashMap;

use super::RangeSet;
use crate::wire::Ranges;

/// The most times that one index may fail before its transfer does.
const FAILURES_PER_CHUNK: u8 = 2;
/// The most indices that may have failed: a peer that damages more is not worth repairing.
const FAILED_CHUNKS: usize = 1024;

/// The receiving state of one attempt.
#[derive(Debug)]
pub struct Incoming {
    window: u64,
    limit: u64,
    paused: bool,
    claimed: RangeSet,
    received: RangeSet,
    consumed: RangeSet,
    failures: HashMap<u64, u8>,
    total: Option<u64>,
    /// The index of the trailer that is on its way through the stages.
    trailer_claimed: Option<u64>,
}

/// The decision about a chunk that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Open it.
    New,
    /// It is on its way through the stages: drop this copy.
    InProgress,
    /// It was received: drop this copy, and acknowledge again since the first word of it may be
    /// lost.
    Received,
    /// The sender had no credit for it, or its index was changed on the way: the lane closes.
    Beyond {
        /// The limit that was granted.
        limit: u64,
    },
    /// A trailer that stands elsewhere than the one that has come: the lane closes.
    OtherEnd {
        /// The index of the trailer that has come.
        end: u64,
    },
}

/// The decision about a chunk that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Ask for it again.
    AskAgain,
    /// It failed too often: fail the transfer.
    GiveUp,
}

impl Incoming {
    /// A transfer of which nothing has arrived. `window`: chunks that may be between the sender and
    /// the sink.
    pub fn new(window: u64) -> Self {
        Self {
            window: window.max(1),
            limit: 0,
            paused: false,
            claimed: RangeSet::default(),
            received: RangeSet::default(),
            consumed: RangeSet::default(),
            failures: HashMap::new(),
            total: None,
            trailer_claimed: None,
        }
    }

    /// A transfer whose first `chunks` chunks are held from an earlier attempt.
    pub fn resumed(window: u64, chunks: u64) -> Self {
        Self {
            received: RangeSet::up_to(chunks),
            consumed: RangeSet::up_to(chunks),
            ..Self::new(window)
        }
    }

    /// Opens the window: to be sent with the acceptance, and after a pause.
    pub fn open(&mut self) -> u64 {
        self.paused = false;
        self.limit = self.limit.max(self.consumed.prefix() + self.window);
        self.limit
    }

    /// No more grants until [`Incoming::open`]. What was granted stays granted.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// A chunk has come: what to do with it.
    pub fn claim(&mut self, index: u64) -> Claim {
        if index >= self.limit {
            Claim::Beyond { limit: self.limit }
        } else if self.received.contains(index) {
            Claim::Received
        } else if self.claimed.insert(index) {
            Claim::New
        } else {
            Claim::InProgress
        }
    }

    /// The trailer has come, as the chunk `index`. It needs no credit: there is one, and it is
    /// small.
    pub fn claim_trailer(&mut self, index: u64) -> Claim {
        let standing = self.standing_of_trailer(index);
        if standing == Claim::New {
            self.trailer_claimed = Some(index);
        }
        standing
    }

    fn standing_of_trailer(&self, index: u64) -> Claim {
        match (self.total, self.trailer_claimed) {
            (Some(end), _) | (None, Some(end)) if end != index => Claim::OtherEnd { end },
            (Some(_), _) => Claim::Received,
            (None, Some(_)) => Claim::InProgress,
            (None, None) => Claim::New,
        }
    }

    /// Returns what [`Incoming::claim`] or [`Incoming::claim_trailer`] would return, without
    /// claiming.
    pub fn standing(&self, index: u64, trailer: bool) -> Claim {
        match (self.received.contains(index), self.claimed.contains(index)) {
            _ if trailer => self.standing_of_trailer(index),
            (true, _) => Claim::Received,
            (false, true) => Claim::InProgress,
            (false, false) if index >= self.limit => Claim::Beyond { limit: self.limit },
            (false, false) => Claim::New,
        }
    }

    /// The connection broke before the claimed chunk was whole: nobody's fault, and its sender will
    /// send it again.
    pub fn unclaim(&mut self, index: u64, trailer: bool) {
        if trailer {
            self.trailer_claimed = None;
        } else {
            self.claimed.remove(index);
        }
    }

    /// A claimed chunk passed every stage and is held in memory.
    pub fn received(&mut self, index: u64) {
        self.claimed.remove(index);
        self.received.insert(index);
    }

    /// A claimed chunk was damaged.
    pub fn release(&mut self, index: u64, trailer: bool) -> Repair {
        self.unclaim(index, trailer);
        if !trailer && self.received.contains(index) {
            // Its sender was told that it is here, and keeps no frame of it.
            return Repair::GiveUp;
        }
        if self.failures.len() >= FAILED_CHUNKS && !self.failures.contains_key(&index) {
            return Repair::GiveUp;
        }
        let failures = self.failures.entry(index).or_default();
        *failures += 1;
        if *failures >= FAILURES_PER_CHUNK { Repair::GiveUp } else { Repair::AskAgain }
    }

    /// A claimed chunk was lost in a stage: no fault of its own, since it may only have lain in the
    /// mailbox of one that died of another. Whoever drives this counts what did not.
    pub fn lost(&mut self, index: u64, trailer: bool) -> Repair {
        self.unclaim(index, trailer);
        // Of what was received the sender was told, and keeps no frame.
        if !trailer && self.received.contains(index) { Repair::GiveUp } else { Repair::AskAgain }
    }

    /// The sink has taken a chunk. A new limit, when the window has moved far enough that telling
    /// the sender is worth it.
    pub fn consumed(&mut self, index: u64) -> Option<u64> {
        self.consumed.insert(index);
        let limit = self.consumed.prefix() + self.window;
        let worth_it = limit >= self.limit + (self.window / 4).max(1);
        (worth_it && !self.paused).then(|| {
            self.limit = limit;
            limit
        })
    }

    /// The trailer was authentic: the content has `total` chunks. `false` if what has come
    /// contradicts it.
    pub fn ended(&mut self, total: u64) -> bool {
        self.total = Some(total);
        self.received.iter().next_back().is_none_or(|(_, end)| end <= total)
    }

    /// Returns whether the sink has taken the whole content.
    pub fn complete(&self) -> bool {
        self.total
            .is_some_and(|total| self.consumed.prefix() == total && self.consumed.count() == total)
    }

    /// Returns whether only the sender can move the transfer forward: the sink has taken all chunks
    /// that came in order.
    pub fn waits_for_sender(&self) -> bool {
        !self.complete() && self.received.prefix() == self.consumed.prefix()
    }

    /// Returns the ranges of received chunks, for a sender that comes back after a broken link.
    /// Where there are more ranges than one message may carry, it returns the first ones.
    pub fn received_ranges(&self) -> Ranges {
        self.received.to_wire().into_iter().next().unwrap_or(Ranges::EMPTY)
    }

    /// Returns whether the trailer has come, for a sender that comes back after a broken link.
    pub fn has_trailer(&self) -> bool {
        self.total.is_some()
    }

    /// Indices below this one have credit.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_beyond_the_grant_is_taken() {
        let mut incoming = Incoming::new(4);
        assert_eq!(incoming.claim(0), Claim::Beyond { limit: 0 });
        assert_eq!(incoming.open(), 4);
        assert_eq!(incoming.claim(3), Claim::New);
        assert_eq!(incoming.claim(4), Claim::Beyond { limit: 4 });
    }

    #[test]
    fn what_is_held_from_before_is_not_taken_again_and_the_window_begins_behind_it() {
        let mut incoming = Incoming::resumed(4, 10);
        assert_eq!(incoming.open(), 14);
        assert_eq!(incoming.claim(9), Claim::Received);
        assert_eq!(incoming.claim(10), Claim::New);
        assert_eq!(incoming.received_ranges().as_slice(), [(0, 10)]);
        assert!(Incoming::resumed(4, 10).ended(10));
    }

    #[test]
    fn a_copy_is_not_opened_twice() {
        let mut incoming = Incoming::new(4);
        incoming.open();
        assert_eq!(incoming.claim(1), Claim::New);
        assert_eq!(incoming.claim(1), Claim::InProgress);
        incoming.received(1);
        assert_eq!(incoming.claim(1), Claim::Received);
    }

    #[test]
    fn there_is_one_end() {
        let mut incoming = Incoming::new(4);
        assert_eq!(incoming.claim_trailer(2), Claim::New);
        assert_eq!(incoming.claim_trailer(2), Claim::InProgress);
        assert_eq!(incoming.claim_trailer(3), Claim::OtherEnd { end: 2 });
        incoming.unclaim(2, true);
        assert_eq!(incoming.claim_trailer(3), Claim::New);
        assert!(!incoming.has_trailer());
        assert!(incoming.ended(3) && incoming.has_trailer());
        assert_eq!(
            (incoming.standing(3, true), incoming.standing(4, true)),
            (Claim::Received, Claim::OtherEnd { end: 3 })
        );
    }

    #[test]
    fn the_same_chunk_bad_twice_is_the_end() {
        let mut incoming = Incoming::new(4);
        incoming.open();
        assert_eq!(incoming.claim(1), Claim::New);
        assert_eq!(incoming.release(1, false), Repair::AskAgain);
        assert_eq!(incoming.claim(1), Claim::New);
        assert_eq!(incoming.release(1, false), Repair::GiveUp);
    }

    #[test]
    fn a_chunk_that_lay_in_a_stage_that_dies_is_asked_for_again_as_often_as_that_happens() {
        let mut incoming = Incoming::new(4);
        incoming.open();
        for _ in 0..10 {
            assert_eq!(incoming.claim(1), Claim::New);
            assert_eq!(incoming.lost(1, false), Repair::AskAgain);
        }
        incoming.claim(1);
        incoming.received(1);
        assert_eq!(incoming.lost(1, false), Repair::GiveUp, "its sender keeps no frame of it");
    }

    #[test]
    fn the_window_moves_with_the_sink_and_stands_while_paused() {
        let mut incoming = Incoming::new(4);
        incoming.open();
        assert_eq!(incoming.consumed(1), None, "the hole at 0 holds the window");
        assert_eq!(incoming.consumed(0), Some(6));
        incoming.pause();
        assert_eq!(incoming.consumed(2), None);
        assert_eq!(incoming.open(), 7);
    }

    #[test]
    fn it_is_complete_when_the_sink_has_what_the_trailer_says() {
        let mut incoming = Incoming::new(4);
        incoming.open();
        for index in 0..2 {
            incoming.claim(index);
            incoming.received(index);
            incoming.consumed(index);
        }
        assert!(!incoming.complete());
        assert!(incoming.ended(2));
        assert!(incoming.complete());
        assert!(
            !Incoming { total: None, ..incoming }.ended(1),
            "a trailer that denies received chunks"
        );
    }
}
