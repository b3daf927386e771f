//! Words about deliveries in this outbox, from their receivers, or from relays that pass them on;
//! and to who packed what is kept here for somebody else.
//!
//! Invariant: a word is answered when it is durable. One that comes while the record is being
//! changed waits for that, so that no change is lost. What is to be said is durable before it is
//! said, and said until it is heard.

use super::{Action, At, Change, OutboxEntry, OutboxState, Stored, Wait};
use crate::delivery::{Failure, FailureKind, Receipt, TransferId};
use crate::wire::{PeerId, Word, WordKind};

/// A word about a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub(in super::super) enum Said {
    /// The receiver says that its application is done with it.
    Processed([u8; 32]),
    /// A relay passes something on.
    Passed(Word),
}

/// The effect of a word.
enum Verdict {
    /// Nothing any more.
    Known,
    /// Nothing yet: it comes again.
    Early,
    /// It is not what it says.
    False(&'static str),
    /// The relay has given it up by its own clock, and it is worth delivering by that of this node.
    Again(Failure),
    New(OutboxState),
}

impl Said {
    pub(in super::super) fn kind(&self) -> WordKind {
        match self {
            Self::Processed(_) => WordKind::Processed,
            Self::Passed(word) => word.kind(),
        }
    }
}

impl Stored {
    /// Takes a word of `peer` in.
    pub(in super::super) fn hear(&mut self, peer: PeerId, said: Said, at: At) -> Vec<Action> {
        let mut actions = Vec::new();
        self.take_word(peer, said, at, &mut actions);
        actions
    }

    fn take_word(&mut self, peer: PeerId, said: Said, at: At, actions: &mut Vec<Action>) {
        let what = said.kind();
        let by_whom = match &said {
            Said::Processed(_) => self.entry.peer == peer,
            Said::Passed(_) => self.entry.via == Some(peer) || self.entry.may_be_at(peer),
        };
        if !by_whom {
            return actions.push(Action::Noted(peer, what));
        }
        let is_with_relay = matches!(self.entry.state, OutboxState::Relayed { .. });
        if self.revived && !is_with_relay && what == WordKind::Failed {
            // It may have been said of it before it came to life again, also where it goes another
            // way since. If not, it is said again when the relay is asked; and what ends before
            // that ends unsurely.
            if self.is_busy() {
                self.outdated = Some(peer);
            } else {
                actions.push(Action::Noted(peer, what));
            }
            return;
        }
        if let Said::Passed(Word::Failed(failure) | Word::Lapsed(failure)) = &said
            && (self.entry.via != Some(peer)
                || matches!(self.entry.state, OutboxState::Dead { .. }))
        {
            return self.take_aside(peer, failure.clone(), at, actions);
        }
        if self.is_busy() {
            self.said = Some((peer, said));
            return;
        }
        match self.entry.judge(said, at.passed) {
            Verdict::Known => actions.push(Action::Noted(peer, what)),
            Verdict::Early => {}
            Verdict::Again(failure) => {
                // What was said of it before the next try says it again is old.
                if failure.kind == FailureKind::Unknown {
                    // When it has it again, it can speak of the time from then on only.
                    self.entry.suspect_for_good();
                }
                (self.entry.last_failure, self.revived) = (Some(failure), true);
                self.learn(peer, false);
                actions.push(Action::Wait(Wait::AskRelay));
                self.conclude(OutboxState::Stored, Some((peer, what)), actions);
            }
            Verdict::False(why) => actions.push(Action::Doubt(peer, why)),
            Verdict::New(state) => {
                actions.push(Action::Withdraw);
                self.conclude(state, Some((peer, what)), actions);
            }
        }
    }

    /// Takes the word of somebody who has it no more, and by whom it does not go now, or that comes
    /// when it is over: it ends the doubt about that one. Where that was the last, it is known how
    /// it ended.
    fn take_aside(&mut self, peer: PeerId, failure: Failure, at: At, actions: &mut Vec<Action>) {
        let is_dead = matches!(self.entry.state, OutboxState::Dead { .. });
        let is_sure = failure.kind != FailureKind::Unknown;
        let before = (self.unsure, self.entry.elsewhere.clone());
        if self.is_busy() {
            // Where another one's waits, it is not answered, and so is said again.
            self.said.get_or_insert((peer, Said::Passed(Word::Failed(failure))));
            return;
        }
        if !is_sure || (is_dead && !self.entry.is_unsure()) {
            return actions.push(Action::Noted(peer, WordKind::Failed));
        }
        self.learn(peer, false);
        if is_dead && !self.may_be_there() {
            let state = OutboxState::Dead { at: at.passed, failure };
            actions.push(Action::Withdraw);
            self.conclude(state, Some((peer, WordKind::Failed)), actions);
        } else if before == (self.unsure, self.entry.elsewhere.clone()) {
            actions.push(Action::Noted(peer, WordKind::Failed));
        } else {
            self.change = Some(Change::Cleared(peer));
            actions.push(Action::Put);
        }
    }

    /// Nothing is changed of its record any more: what was said meanwhile is heard now, and what
    /// somebody wants out goes.
    pub(super) fn set_free(&mut self, at: At, actions: &mut Vec<Action>) {
        if let Some(peer) = self.outdated.take()
            && !matches!(self.entry.state, OutboxState::Relayed { .. })
        {
            // The relay takes it again only when it has forgotten the one that it gave up.
            actions.push(Action::Noted(peer, WordKind::Failed));
        }
        if let Some((peer, said)) = self.said.take() {
            self.take_word(peer, said, at, actions);
        }
        if self.cancelled && self.entry.is_open() && !self.is_busy() {
            self.remove(actions);
        }
    }

    /// Notes that the node that packed it has heard how it ended.
    pub(in super::super) fn heard(&mut self, what: WordKind) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.entry.is_unheard() {
            return actions;
        }
        self.entry.heard = Some(what);
        if self.entry.is_unheard() || self.is_busy() {
            // There is more to be said; or the record is being written, with or without this: at
            // worst it is said once more.
        } else if what == WordKind::Failed && !self.may_be_told_better() {
            // They may send it again, so nothing of it may be in the way.
            self.remove(&mut actions);
        } else {
            self.change = Some(Change::Heard);
            actions.push(Action::Put);
        }
        actions
    }

    /// Returns `true` if another one had it, which may still say how it ended.
    fn may_be_told_better(&self) -> bool {
        (self.entry.via.is_some() || self.entry.elsewhere.is_some())
            && matches!(&self.entry.state, OutboxState::Dead { failure, .. }
                if failure.kind == FailureKind::Unknown)
    }

    /// Says again, to the node that packed it, what has become of it.
    pub(in super::super) fn asked_again(&mut self) -> Vec<Action> {
        self.entry.heard = None;
        self.say()
    }

    /// Says what the node that packed it has not heard yet, if that is here.
    pub(in super::super) fn say(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        self.pass_on(&mut actions);
        actions
    }

    pub(super) fn pass_on(&self, actions: &mut Vec<Action>) {
        if matches!(self.change, Some(Change::Concluded { .. })) {
            // It is said when it is durable.
            return;
        }
        let word = self.entry.word().filter(|_| self.entry.is_unheard());
        actions.extend(self.entry.relayed_for.zip(word).map(|(to, word)| Action::Pass(to, word)));
    }
}

impl OutboxEntry {
    fn judge(&self, said: Said, at: u64) -> Verdict {
        match (said, &self.state) {
            (_, OutboxState::Processed { .. }) => Verdict::Known,
            (Said::Processed(mac), OutboxState::Delivered { receipt, proof, .. }) => {
                // Who packed it can tell whether it is true; a relay can't.
                if self.relayed_for.is_none() && !same(proof, &mac) {
                    return Verdict::False(
                        "a peer says that a delivery was processed, and can't prove it",
                    );
                }
                Verdict::New(OutboxState::Processed { at, receipt: receipt.clone(), proof: mac })
            }
            (Said::Processed(_), OutboxState::Dead { .. }) => Verdict::Known,
            // The word of the delivery itself is still on its way.
            (Said::Processed(_), _) => Verdict::Early,
            (Said::Passed(Word::Delivered(_)), OutboxState::Delivered { .. }) => Verdict::Known,
            // The next relay's word goes back the way that the package came: who packed it knows
            // whether it is true.
            (Said::Passed(Word::Delivered(receipt)), _) if self.relayed_for.is_some() => {
                Verdict::New(OutboxState::Delivered { at, receipt, proof: [0; 32] })
            }
            (Said::Passed(Word::Processed { receipt, mac }), _) if self.relayed_for.is_some() => {
                Verdict::New(OutboxState::Processed { at, receipt, proof: mac })
            }
            (Said::Passed(Word::Failed(failure)), _)
                if failure.kind == FailureKind::Expired && self.is_open() && at < self.expires =>
            {
                Verdict::Again(failure)
            }
            // There is time left by the clock of this node.
            (Said::Passed(Word::Lapsed(failure)), _) if self.is_open() && at < self.expires => {
                Verdict::Again(failure)
            }
            (Said::Passed(Word::Failed(failure) | Word::Lapsed(failure)), _) if self.is_open() => {
                Verdict::New(OutboxState::Dead { at, failure })
            }
            // It was not known how it ended; now it is.
            (Said::Passed(Word::Failed(failure)), OutboxState::Dead { failure: before, .. })
                if before.kind == FailureKind::Unknown && failure.kind != FailureKind::Unknown =>
            {
                Verdict::New(OutboxState::Dead { at, failure })
            }
            (Said::Passed(Word::Failed(_) | Word::Lapsed(_)), _) => Verdict::Known,
            // A proof counts whatever was said before: a relay that gave it up may have been wrong.
            (Said::Passed(Word::Delivered(receipt)), _) => match self.vouched(&receipt) {
                Some(proof) => Verdict::New(OutboxState::Delivered { at, receipt, proof }),
                None => {
                    Verdict::False("a relay says that a package was delivered, and can't prove it")
                }
            },
            (Said::Passed(Word::Processed { receipt, mac }), _) => {
                match self.vouched(&receipt).filter(|proof| same(proof, &mac)) {
                    Some(proof) => Verdict::New(OutboxState::Processed { at, receipt, proof }),
                    None => Verdict::False(
                        "a relay says that a package was processed, and can't prove it",
                    ),
                }
            }
        }
    }

    /// Returns the proof for later that it was processed, if the receiver says here that it has it.
    pub(super) fn vouched(&self, receipt: &Receipt) -> Option<[u8; 32]> {
        self.expected
            .filter(|expected| expected.recognises(receipt))
            .map(|expected| expected.processed_mac)
    }
}

/// The comparison takes the same time wherever the bytes differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    blake3::Hash::from_bytes(*a) == blake3::Hash::from_bytes(*b)
}

/// Returns the word about a package that is not here any more: nobody knows how it ended.
pub(in super::super) fn gone() -> Word {
    Word::Failed(Failure::new(
        FailureKind::Unknown,
        "it keeps it no longer: it was taken out of its outbox, or expired, or was delivered and \
         forgotten",
    ))
}

/// Returns the word about a package that is taken out; `unsure`: its receiver may have it.
pub(super) fn taken_out(unsure: bool) -> Word {
    Word::Failed(match unsure {
        true => Failure::new(
            FailureKind::Unknown,
            "it was taken out of its outbox, after somebody was offered it who did not say how that \
             ended",
        ),
        false => Failure::new(FailureKind::Cancelled, "it was taken out of its outbox"),
    })
}

/// Returns `true` if one that had failed is said to have failed in another way: whoever heard the
/// first has not heard that.
pub(super) fn sets_right(before: &OutboxState, now: &OutboxState) -> bool {
    match (before, now) {
        (OutboxState::Dead { failure, .. }, OutboxState::Dead { failure: better, .. }) => {
            failure.kind != better.kind
        }
        _ => false,
    }
}

impl OutboxEntry {
    /// The id that whoever it is of knows it by.
    pub(in super::super) fn known_as(&self, id: TransferId) -> TransferId {
        self.packed_as.unwrap_or(id)
    }

    /// Returns the word that there is for the node that packed it.
    fn word(&self) -> Option<Word> {
        match &self.state {
            OutboxState::Stored | OutboxState::Relayed { .. } => None,
            OutboxState::Delivered { receipt, .. } => Some(Word::Delivered(receipt.clone())),
            OutboxState::Processed { receipt, proof, .. } => {
                Some(Word::Processed { receipt: receipt.clone(), mac: *proof })
            }
            // Whoever had it next may have delivered it, and nobody here has wanted it out.
            OutboxState::Dead { at, failure }
                if failure.kind == FailureKind::Unknown && *at > self.expires =>
            {
                Some(Word::Lapsed(failure.clone()))
            }
            OutboxState::Dead { failure, .. } => Some(Word::Failed(failure.clone())),
        }
    }

    /// Returns whether it is kept for somebody who has not heard yet how it ended.
    pub fn is_unheard(&self) -> bool {
        self.relayed_for.is_some()
            && self.word().is_some_and(|word| self.heard != Some(word.kind()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;
    use crate::node::outbox::{Expected, entry_for_tests};

    fn receipt(mac: [u8; 32]) -> Receipt {
        Receipt { digest: [1; 32], length: 3, place: "in/a".into(), files: 1, mac }
    }

    fn entry(state: OutboxState) -> OutboxEntry {
        let expected =
            Expected { digest: [1; 32], length: 3, delivered_mac: [2; 32], processed_mac: [4; 32] };
        OutboxEntry {
            via: Some(PeerId::from_bytes([9; 32])),
            expected: Some(expected),
            state,
            ..entry_for_tests()
        }
    }

    fn dead() -> OutboxState {
        OutboxState::Dead { at: 1, failure: Failure::new(FailureKind::Refused, "no") }
    }

    fn delivered() -> OutboxState {
        OutboxState::Delivered { at: 1, receipt: receipt([2; 32]), proof: [4; 32] }
    }

    fn processed(receipt: Receipt, mac: [u8; 32]) -> Said {
        Said::Passed(Word::Processed { receipt, mac })
    }

    #[test]
    fn a_relay_is_believed_no_word_of_the_receiver_that_does_not_prove_itself() {
        let other = Receipt { digest: [7; 32], ..receipt([2; 32]) };
        let longer = Receipt { length: 4, ..receipt([2; 32]) };
        for state in [OutboxState::Stored, OutboxState::Relayed { at: 1 }, dead()] {
            for forged in [receipt([3; 32]), receipt([4; 32]), other.clone(), longer.clone()] {
                let said = Said::Passed(Word::Delivered(forged.clone()));
                assert!(
                    matches!(entry(state.clone()).judge(said, 1), Verdict::False(_)),
                    "{forged:?}"
                );
                assert!(matches!(
                    entry(state.clone()).judge(processed(forged, [4; 32]), 1),
                    Verdict::False(_)
                ));
            }
            for mac in [[2; 32], [0; 32]] {
                assert!(matches!(
                    entry(state.clone()).judge(processed(receipt([2; 32]), mac), 1),
                    Verdict::False(_)
                ));
            }
        }
        assert!(matches!(entry(delivered()).judge(Said::Processed([5; 32]), 1), Verdict::False(_)));
        assert!(matches!(
            entry(delivered()).judge(processed(receipt([2; 32]), [5; 32]), 1),
            Verdict::False(_)
        ));
    }

    #[test]
    fn a_proof_counts_whatever_was_said_before_and_a_failure_only_where_nothing_was() {
        for state in [OutboxState::Stored, OutboxState::Relayed { at: 1 }, dead()] {
            let said = Said::Passed(Word::Delivered(receipt([2; 32])));
            assert!(
                matches!(entry(state.clone()).judge(said, 1), Verdict::New(OutboxState::Delivered { proof, .. }) if proof == [4; 32])
            );
            let said = processed(receipt([2; 32]), [4; 32]);
            assert!(matches!(
                entry(state).judge(said, 1),
                Verdict::New(OutboxState::Processed { .. })
            ));
        }
        let failed = || Said::Passed(Word::Failed(Failure::new(FailureKind::Cancelled, "")));
        assert!(matches!(
            entry(OutboxState::Relayed { at: 1 }).judge(failed(), 1),
            Verdict::New(OutboxState::Dead { .. })
        ));
        for over in [
            delivered(),
            dead(),
            OutboxState::Processed { at: 1, receipt: receipt([2; 32]), proof: [4; 32] },
        ] {
            assert!(matches!(entry(over).judge(failed(), 1), Verdict::Known));
        }
    }

    #[test]
    fn a_word_that_is_sure_counts_where_nobody_knew_how_it_had_ended_and_no_other_one() {
        let failed = |kind| Said::Passed(Word::Failed(Failure::new(kind, "")));
        let unsure =
            || OutboxState::Dead { at: 1, failure: Failure::new(FailureKind::Unknown, "") };
        for kind in [FailureKind::Refused, FailureKind::Expired, FailureKind::Cancelled] {
            assert!(matches!(
                entry(unsure()).judge(failed(kind), 3),
                Verdict::New(OutboxState::Dead { failure, .. }) if failure.kind == kind
            ));
            assert!(matches!(entry(dead()).judge(failed(kind), 3), Verdict::Known));
        }
        assert!(matches!(entry(unsure()).judge(failed(FailureKind::Unknown), 3), Verdict::Known));
        let said = Said::Passed(Word::Delivered(receipt([2; 32])));
        let verdict = entry(unsure()).judge(said, 3);
        assert!(matches!(verdict, Verdict::New(OutboxState::Delivered { .. })));
    }

    #[test]
    fn who_heard_that_nobody_knows_how_it_ended_hears_how_it_did() {
        let (packed_by, next) = (PeerId::from_bytes([8; 32]), PeerId::from_bytes([9; 32]));
        let unsure = OutboxState::Dead { at: 1, failure: Failure::new(FailureKind::Unknown, "") };
        let (relayed_for, heard) = (Some(packed_by), Some(WordKind::Failed));
        let mut stored = Stored::loaded(OutboxEntry { relayed_for, heard, ..entry(unsure) });
        assert!(stored.say().is_empty(), "it was heard");
        let refused = Failure::new(FailureKind::Refused, "no");
        let at = At { passed: 3, stopping: false };
        stored.hear(next, Said::Passed(Word::Failed(refused.clone())), at);
        let told = stored.written(true, at);
        assert!(told.contains(&Action::Pass(packed_by, Word::Failed(refused))), "{told:?}");
        // They may send it again, so it goes.
        assert!(stored.heard(WordKind::Failed).contains(&Action::Remove));
    }

    #[test]
    fn what_has_expired_by_the_clock_of_a_relay_goes_on_until_it_has_by_that_of_its_sender() {
        let failed = |kind| Said::Passed(Word::Failed(Failure::new(kind, "")));
        let entry = || OutboxEntry { expires: 10, ..entry(OutboxState::Relayed { at: 1 }) };
        assert!(matches!(entry().judge(failed(FailureKind::Expired), 9), Verdict::Again(_)));
        assert!(matches!(
            entry().judge(failed(FailureKind::Expired), 10),
            Verdict::New(OutboxState::Dead { .. })
        ));
        let lapsed = || Said::Passed(Word::Lapsed(Failure::new(FailureKind::Unknown, "")));
        assert!(matches!(entry().judge(lapsed(), 9), Verdict::Again(_)));
        assert!(matches!(entry().judge(lapsed(), 10), Verdict::New(OutboxState::Dead { .. })));
        // It was taken out there, or is known there no more.
        assert!(matches!(
            entry().judge(failed(FailureKind::Unknown), 9),
            Verdict::New(OutboxState::Dead { .. })
        ));
        assert!(matches!(
            entry().judge(failed(FailureKind::Refused), 9),
            Verdict::New(OutboxState::Dead { .. })
        ));
    }

    #[test]
    fn a_word_that_comes_early_comes_again_and_a_relay_keeps_one_that_it_can_t_judge() {
        assert!(matches!(
            entry(OutboxState::Relayed { at: 1 }).judge(Said::Processed([4; 32]), 1),
            Verdict::Early
        ));
        let kept =
            OutboxEntry { relayed_for: Some(PeerId::from_bytes([8; 32])), ..entry(delivered()) };
        assert!(
            matches!(kept.judge(Said::Processed([5; 32]), 1), Verdict::New(OutboxState::Processed { proof, .. }) if proof == [5; 32])
        );
    }
}
