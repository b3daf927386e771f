//! The ways of a relay in the middle: by the next relay, or to the receiver itself.

use super::{Attempt, Break, Desk, PROCESSED, RELAY, Step, Whose, World, failed, word};
use crate::delivery::FailureKind;
use crate::node::outbox::OutboxState;
use crate::node::outbox::stored::{Ended, Stored};

impl World {
    /// Tells what may happen on the ways of a relay in the middle.
    pub(super) fn way_steps(&self, may: &mut impl FnMut(bool, Step)) {
        let Some(Desk { stored: Some(stored), attempt, .. }) = &self.sender else { return };
        let may_turn = !stored.is_busy() && stored.entry.state == OutboxState::Stored;
        may(self.left.turns > 0 && may_turn, Step::Turn);
        let is_offered = self.is_direct() && *attempt == Some(Attempt::Offered);
        may(is_offered, Step::TakenDirectly { lost: false });
        may(is_offered && self.left.lost > 0, Step::TakenDirectly { lost: true });
        let refuses = self.left.refusals > 0 && !self.committed;
        may(is_offered && refuses, Step::RefusedDirectly);
    }

    /// It goes the other way from now on.
    pub(super) fn turn(&mut self) {
        (self.left.turns, self.turned) = (self.left.turns - 1, true);
        let via = if self.is_direct() { Some(RELAY) } else { None };
        self.happen(Whose::Sender, |stored| {
            stored.go_by(via);
            Vec::new()
        });
    }

    /// The receiver has it from the middle, and says so; or that is lost.
    pub(super) fn take_directly(&mut self, lost: bool) {
        self.committed = true;
        if lost {
            (self.left.lost, self.word_lost) = (self.left.lost - 1, true);
            return self.answer_sender(failed(FailureKind::Unreachable, true));
        }
        let (outcome, enclosed) = (Ok(word()), Some(word()));
        self.answer_sender(Ended {
            outcome,
            enclosed,
            proof: PROCESSED,
            unsure: false,
            sent: true,
        });
    }

    fn answer_sender(&mut self, ended: Ended) {
        if let Some(desk) = &mut self.sender {
            desk.attempt = Some(Attempt::Over(Box::new(ended)));
        }
    }

    pub(super) fn refuse_directly(&mut self) {
        self.left.refusals -= 1;
        self.answer_sender(failed(FailureKind::Refused, false));
    }

    /// The relay does not carry it, and has not looked whether it has it: who offers it knows as
    /// much as before.
    pub(super) fn refuse_by_relay(&mut self) {
        self.left.refusals -= 1;
        let stored = self.desk(Whose::Sender).and_then(|desk| desk.stored.as_ref());
        let before = self.sent || stored.is_some_and(Stored::is_unsure);
        let unsure = before && self.broken != Some(Break::DeniedUnlooked);
        self.end_sending(failed(FailureKind::Refused, unsure));
    }
}
