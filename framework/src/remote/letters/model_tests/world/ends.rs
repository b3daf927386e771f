//! The ends that all may come to.

use super::*;

impl World {
    /// All that was posted has come to its end at both ends.
    pub(in super::super) fn has_ended(&self) -> bool {
        let is_idle = |sender: &Sender| {
            let is_due = sender.keys.is_due(self.now);
            let all_wait = sender.offers.durable().all(|(_, &letter)| self.waits(letter));
            all_wait && sender.writes.is_empty() && !is_due
        };
        let has_none = |receiver: &Receiver| {
            let held = self.receiver_spool.mail.values();
            held.copied().all(|letter| self.waits(letter)) && receiver.writes.is_empty()
        };
        let is_over =
            |(letter, fate): (usize, &Fate)| fate.end.is_some() || self.waits(letter as Letter);
        self.left.letters == 0
            && self.left.days == 0
            && self.fates.iter().enumerate().all(is_over)
            && self.sender.as_ref().is_some_and(is_idle)
            && self.receiver.as_ref().is_some_and(has_none)
    }

    /// All that was posted was processed, but for what is for a name that nobody has.
    pub(in super::super) fn are_processed(&self) -> bool {
        let is_so = |(letter, fate): (usize, &Fate)| {
            fate.end == Some(End::Processed) || self.waits(letter as Letter)
        };
        self.fates.iter().enumerate().all(is_so)
    }

    /// Nothing lies in a spool that nobody will take out.
    pub(in super::super) fn is_clean(&self) -> bool {
        let spools = self.sender_spool.letters.values().chain(self.receiver_spool.mail.values());
        spools.copied().all(|letter| self.waits(letter))
            && self.sender_spool.keys.len() <= self.keys_in_time()
    }

    /// Returns `true` if a letter is for a name that nobody has, so that it need not come to an end.
    pub(super) fn waits(&self, letter: Letter) -> bool {
        self.absent && self.name_of(letter) == LATER
    }

    /// Returns `true` if all that was stored and has no end is in its sender's spool.
    pub(in super::super) fn has_all(&self) -> bool {
        let is_there = |(letter, fate): (usize, &Fate)| {
            !fate.stored
                || fate.end.is_some()
                || self.sender_spool.letters.values().any(|&kept| usize::from(kept) == letter)
        };
        self.fates.iter().enumerate().all(is_there)
    }
}
