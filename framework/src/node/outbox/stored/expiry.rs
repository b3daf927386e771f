//! Deliveries whose time is over, and what is known of one that is given up.
//!
//! Invariant: one that somebody else had, who has not said how it ended, is not told as not
//! delivered.

use super::{Action, At, DEAD_KEPT, OutboxState, Stored};
use crate::delivery::{Failure, FailureKind};
use crate::wire::PeerId;

/// The wait, after its time, for the word of a connected relay that has it, in seconds. That one
/// looks once a minute what has expired, and waits for the word of its receiver.
const RELAY_GRACE: u64 = 75;

impl Stored {
    /// Time has passed. `is_here`: whoever it goes to next is connected.
    pub(in super::super) fn sweep(&mut self, is_here: bool, at: At) -> Vec<Action> {
        let mut actions = Vec::new();
        let is_over = match &self.entry.state {
            OutboxState::Dead { at: ended, .. } => ended.saturating_add(DEAD_KEPT) < at.passed,
            // Who packed it may know no better than that it may have been delivered.
            OutboxState::Delivered { at: ended, .. } | OutboxState::Processed { at: ended, .. }
                if self.entry.is_unheard() =>
            {
                ended.saturating_add(DEAD_KEPT) < at.passed
            }
            _ => self.entry.expires < at.passed,
        };
        if self.is_busy() || !is_over {
        } else if !self.entry.is_open() {
            self.remove(&mut actions);
        } else if !self.waits_for_relay(is_here, at) {
            self.expire(at, &mut actions);
        }
        actions
    }

    /// Returns `true` if its relay is about to say how it ended.
    pub(super) fn waits_for_relay(&self, is_here: bool, at: At) -> bool {
        let is_relayed = matches!(self.entry.state, OutboxState::Relayed { .. });
        is_relayed && is_here && at.passed <= self.entry.expires.saturating_add(RELAY_GRACE)
    }

    pub(super) fn expire(&mut self, at: At, actions: &mut Vec<Action>) {
        let last = self.entry.last_failure.as_ref();
        let last = last.map_or(String::new(), |failure| format!("; the last try: {failure}"));
        let failure = Failure::new(
            FailureKind::Expired,
            format!("it could not be delivered before it expired{last}"),
        );
        actions.push(Action::Withdraw);
        self.conclude(OutboxState::Dead { at: at.passed, failure }, None, actions);
    }

    /// Returns the state of a delivery that ends, with what is known of it; `by`: who had it, and
    /// says so.
    pub(super) fn as_far_as_known(
        &mut self,
        state: OutboxState,
        by: Option<PeerId>,
    ) -> OutboxState {
        let OutboxState::Dead { at, failure } = state else { return state };
        let says_so = matches!(failure.kind, FailureKind::Integrity | FailureKind::Unknown);
        let is_relayed = by.is_none() && matches!(self.entry.state, OutboxState::Relayed { .. });
        if let Some(peer) = by {
            self.learn(peer, failure.kind == FailureKind::Unknown);
            self.entry.last_failure = Some(failure.clone());
        }
        let is_elsewhere = self.entry.elsewhere.is_some();
        if is_elsewhere && (self.unsure || is_relayed) {
            // A later process tells by that who may have it.
            self.entry.suspect(self.entry.next_hop());
        }
        if says_so || !(is_relayed || self.unsure || is_elsewhere) {
            return OutboxState::Dead { at, failure };
        }
        let whose = match (is_relayed, self.guessed) {
            _ if is_elsewhere => {
                "it went more than one way, and not everybody who was offered it has said how that \
                 ended: it may have been delivered"
            }
            (true, _) => {
                "a relay has it, and has not said how that ended: it may have been delivered"
            }
            (_, false) => {
                "it was sent before, and the receiver did not say how that ended: it may have it"
            }
            (_, true) => {
                "an earlier process may have sent it, so that it may have been delivered: look at \
                 the receiver before you send it again"
            }
        };
        let text = match (failure.kind, &self.entry.last_failure) {
            (FailureKind::Expired, Some(last)) if !is_relayed => {
                format!("its time is over; {whose}; the last try: {last}")
            }
            (FailureKind::Expired, _) => format!("its time is over; {whose}"),
            _ => format!("{}; {whose}", failure.message),
        };
        // Kept with the record, however it ended. Where only others are in doubt, whoever it goes
        // to next has looked: their word alone ends it.
        self.unsure |= is_relayed;
        self.entry.last_failure = Some(Failure::new(FailureKind::Unknown, &text));
        // A receiver that trusts its sender no more has not looked whether it has it; who may send
        // it again is told by that. Whom it is passed on to knows no more than its word. And what is
        // only guessed hides no reason, but that the time is over.
        let is_own = self.entry.relayed_for.is_none();
        let kind = match failure.kind {
            kind @ FailureKind::Untrusted if is_own => kind,
            kind if self.guessed && kind != FailureKind::Expired => kind,
            _ => FailureKind::Unknown,
        };
        OutboxState::Dead { at, failure: Failure::new(kind, text) }
    }

    /// Returns `true` if somebody has it, or may have it, who has not said how that ended.
    pub(super) fn may_be_there(&self) -> bool {
        let is_relayed = matches!(self.entry.state, OutboxState::Relayed { .. });
        self.unsure || is_relayed || self.entry.elsewhere.is_some()
    }

    /// Notes that this one may have it, or does not.
    pub(super) fn learn(&mut self, peer: PeerId, may_have: bool) {
        let is_next = peer == self.entry.next_hop();
        match may_have {
            true if is_next => self.unsure = true,
            true => self.entry.suspect(peer),
            false => {
                self.unsure &= !is_next;
                self.entry.clear(peer);
            }
        }
    }

    /// From now on it goes by this relay, or to its receiver. Whoever it went to before may have it
    /// all the same.
    pub(in super::super) fn go_by(&mut self, via: Option<PeerId>) {
        let before = self.entry.next_hop();
        self.entry.via = via;
        let next = self.entry.next_hop();
        if next != before {
            if self.unsure {
                self.entry.suspect(before);
                if self.revived {
                    // It may have come there twice, and one word that it has failed is of the first.
                    self.entry.suspect_for_good();
                }
            }
            self.unsure = self.entry.clear(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Ended, Said};
    use super::*;
    use crate::node::outbox::{OutboxEntry, entry_for_tests};
    use crate::wire::Word;

    #[test]
    fn the_word_of_the_last_in_doubt_ends_it_where_the_next_one_had_looked() {
        let (next, other) = (PeerId::from_bytes([9; 32]), PeerId::from_bytes([7; 32]));
        let at = At { passed: 1, stopping: false };
        let refused = || Failure::new(FailureKind::Refused, "no");
        let mut entry = OutboxEntry {
            via: Some(next),
            state: OutboxState::Stored,
            expires: 10,
            ..entry_for_tests()
        };
        entry.suspect(other);
        let mut stored = Stored { storing: None, trying: true, ..Stored::new(entry) };
        let ended = Ended {
            outcome: Err(refused()),
            enclosed: None,
            proof: [0; 32],
            unsure: false,
            sent: false,
        };
        stored.tried(ended, at);
        stored.written(true, at);
        let kind = |stored: &Stored| match &stored.entry.state {
            OutboxState::Dead { failure, .. } => Some(failure.kind),
            _ => None,
        };
        assert_eq!(kind(&stored), Some(FailureKind::Unknown), "another one may have it");
        // A later process knows as much.
        for mut stored in [Stored::loaded(stored.entry.clone()), stored] {
            stored.hear(other, Said::Passed(Word::Failed(refused())), at);
            stored.written(true, at);
            assert_eq!(kind(&stored), Some(FailureKind::Refused));
            assert!(!stored.may_be_there());
        }
    }
}
