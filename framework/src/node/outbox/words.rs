//! Words about deliveries in this outbox: from their receivers, or from relays that pass them on.
//!
//! Invariant: a word is answered when it is durable. One that comes while the record is being
//! changed waits for that, so that no change is lost.

use std::time::Instant;

use actix::{Context, Handler};

use super::tries::ASK_RELAY;
use super::{Outbox, OutboxEntry, OutboxState};
use crate::delivery::{Failure, FailureKind, Receipt, TransferId};
use crate::node::hub::{PassedWord, ProcessedWord, ToSession};
use crate::node::session::signals::Noted;
use crate::wire::{PeerId, Word, WordKind};

/// A word about a delivery.
#[derive(Debug)]
pub(super) enum Said {
    /// The receiver says that its application is done with it.
    Processed([u8; 32]),
    /// A relay passes something on.
    Passed(Word),
}

/// What a word changes.
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
    fn kind(&self) -> WordKind {
        match self {
            Self::Processed(_) => WordKind::Processed,
            Self::Passed(word) => word.kind(),
        }
    }
}

impl Outbox {
    /// Takes a word of `peer` in.
    pub(super) fn hear(
        &mut self,
        peer: PeerId,
        transfer: TransferId,
        said: Said,
        ctx: &mut Context<Self>,
    ) {
        let what = said.kind();
        let by_whom = |entry: &OutboxEntry| match &said {
            Said::Processed(_) => entry.peer == peer,
            Said::Passed(_) => entry.via == Some(peer),
        };
        let Some(held) = self.entries.get_mut(&transfer).filter(|held| by_whom(&held.entry)) else {
            // What is forgotten need not be said again.
            return self.hub.do_send(ToSession(peer, Noted { transfer, what }));
        };
        if held.revived && held.entry.state == OutboxState::Stored && what == WordKind::Failed {
            // It may have been said of it before it came to life again. If not, it is said again
            // when the relay is asked.
            return;
        }
        if held.busy {
            held.said = Some((peer, said));
            return;
        }
        match held.entry.judge(said, self.shared.clock.now().passed) {
            Verdict::Known => self.hub.do_send(ToSession(peer, Noted { transfer, what })),
            Verdict::Early => {}
            Verdict::Again(failure) => {
                // What was said of it before the next try says it again is old.
                (held.entry.last_failure, held.revived) = (Some(failure), true);
                self.schedule.wait(
                    held.entry.next_hop(),
                    held.entry.created,
                    transfer,
                    Instant::now() + ASK_RELAY,
                );
                self.conclude_by(transfer, OutboxState::Stored, Some((peer, what)), ctx);
            }
            Verdict::False(why) => tracing::warn!(%transfer, %peer, "{why}"),
            Verdict::New(state) => {
                self.schedule.withdraw(held.entry.next_hop(), held.entry.created, transfer);
                let state = self.named(peer, state);
                self.conclude_by(transfer, state, Some((peer, what)), ctx);
            }
        }
    }

    /// A failure is the relay's word, and says so.
    fn named(&self, relay: PeerId, state: OutboxState) -> OutboxState {
        let OutboxState::Dead { at, failure } = state else { return state };
        let name = self.shared.trust.peer(&relay).map_or_else(|| relay.short(), |peer| peer.name);
        let text = format!("the relay {name} gave it up: {failure}");
        OutboxState::Dead { at, failure: Failure::new(failure.kind, text) }
    }

    /// Nothing is changed of its record any more: what was said meanwhile is heard now.
    pub(super) fn set_free(&mut self, transfer: TransferId, ctx: &mut Context<Self>) {
        let Some(held) = self.entries.get_mut(&transfer) else { return };
        held.busy = false;
        if let Some((peer, said)) = held.said.take() {
            self.hear(peer, transfer, said, ctx);
        }
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
            (Said::Passed(Word::Failed(failure)), _)
                if failure.kind == FailureKind::Expired && self.is_open() && at < self.expires =>
            {
                Verdict::Again(failure)
            }
            (Said::Passed(Word::Failed(failure)), _) if self.is_open() => {
                Verdict::New(OutboxState::Dead { at, failure })
            }
            (Said::Passed(Word::Failed(_)), _) => Verdict::Known,
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

    /// What will prove that it was processed, if this is the receiver's word that it was delivered.
    fn vouched(&self, receipt: &Receipt) -> Option<[u8; 32]> {
        self.expected
            .filter(|expected| expected.recognises(receipt))
            .map(|expected| expected.processed_mac)
    }
}

/// The comparison takes the same time wherever the bytes differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    blake3::Hash::from_bytes(*a) == blake3::Hash::from_bytes(*b)
}

impl Handler<ProcessedWord> for Outbox {
    type Result = ();

    fn handle(
        &mut self,
        ProcessedWord { peer, transfer, mac }: ProcessedWord,
        ctx: &mut Context<Self>,
    ) {
        self.hear(peer, transfer, Said::Processed(mac), ctx);
    }
}

impl Handler<PassedWord> for Outbox {
    type Result = ();

    fn handle(&mut self, PassedWord { peer, transfer, word }: PassedWord, ctx: &mut Context<Self>) {
        self.hear(peer, transfer, Said::Passed(word), ctx);
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
    fn what_has_expired_by_the_clock_of_a_relay_goes_on_until_it_has_by_that_of_its_sender() {
        let failed = |kind| Said::Passed(Word::Failed(Failure::new(kind, "")));
        let entry = || OutboxEntry { expires: 10, ..entry(OutboxState::Relayed { at: 1 }) };
        assert!(matches!(entry().judge(failed(FailureKind::Expired), 9), Verdict::Again(_)));
        assert!(matches!(
            entry().judge(failed(FailureKind::Expired), 10),
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
