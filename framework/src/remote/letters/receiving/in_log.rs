//! One log of a sender, as its receiver has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::super::error::RemoteError;
use super::super::super::letter_id::LogId;
use super::super::record::{Refusal, Taken};
use super::super::trying::Suspects;

/// A record that is to become durable, together with those beside it or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::remote::letters) enum Note {
    /// The point up to which a log was taken.
    Log(LogId, Taken),
    NoLog(LogId),
    /// The letter that was taken.
    Mail(LogId, u64),
    NoMail(LogId, u64),
    Refused(LogId, u64, Refusal),
    NoRefused(LogId, u64),
    /// Nothing is counted against it any more.
    NoTried(LogId, u64),
}

/// A log, and how far it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::remote::letters) struct InLog<L> {
    pub(super) order: u64,
    pub(super) highest: u64,
    /// So far, that is durable.
    pub(super) durable: u64,
    pub(super) held: BTreeMap<u64, Held<L>>,
    pub(super) bytes: u64,
    /// Handled or refused, and not durably yet.
    pub(super) closing: BTreeMap<u64, Option<Refusal>>,
    pub(super) refused: BTreeMap<u64, Refusal>,
    /// The numbers that were refused, by their turns.
    turns: BTreeMap<u64, u64>,
    pub(super) suspects: Suspects,
}

/// A letter that is stored and not handled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held<L> {
    pub(super) letter: L,
    pub(super) name: Arc<str>,
    pub(super) cost: u64,
    pub(super) expires: u64,
}

/// The facts that are kept of a letter besides itself.
#[derive(Clone, Copy, Debug)]
pub(in crate::remote::letters) struct About<'a> {
    pub(in crate::remote::letters) name: &'a str,
    pub(in crate::remote::letters) cost: u64,
    /// The time at which it expires.
    pub(in crate::remote::letters) expires: u64,
}

impl<L> InLog<L> {
    pub(super) fn new(Taken { highest, order }: Taken) -> Self {
        Self {
            order,
            highest,
            durable: highest,
            held: BTreeMap::new(),
            bytes: 0,
            closing: BTreeMap::new(),
            refused: BTreeMap::new(),
            turns: BTreeMap::new(),
            suspects: Suspects::default(),
        }
    }

    /// A letter is refused, which is to become durable; the oldest refusals go.
    pub(super) fn refuse(
        &mut self,
        (log, number): (LogId, u64),
        why: RemoteError,
        most: usize,
        notes: &mut Vec<Note>,
    ) {
        let refusal = self.next_refusal(number, why);
        notes.push(Note::Refused(log, number, refusal.clone()));
        self.closing.insert(number, Some(refusal));
        while self.turns.len() > most {
            let Some((_, oldest)) = self.turns.pop_first() else { break };
            self.refused.remove(&oldest);
            notes.push(Note::NoRefused(log, oldest));
        }
    }

    fn next_refusal(&mut self, number: u64, why: RemoteError) -> Refusal {
        let turn = self.turns.last_key_value().map_or(0, |(turn, _)| turn + 1);
        self.turns.insert(turn, number);
        Refusal { why, turn }
    }

    pub(super) fn close(&mut self, number: u64) {
        if let Some(Some(refusal)) = self.closing.remove(&number) {
            // It may have been one too many before it was durable.
            if self.turns.contains_key(&refusal.turn) {
                self.refused.insert(number, refusal);
            }
        }
    }

    /// A refusal that an earlier life noted.
    pub(in crate::remote::letters) fn restore_refusal(
        &mut self,
        number: u64,
        mut refusal: Refusal,
    ) {
        // Earlier builds noted no turns.
        while self.turns.contains_key(&refusal.turn) {
            refusal.turn += 1;
        }
        self.turns.insert(refusal.turn, number);
        self.refused.insert(number, refusal);
    }

    /// Refuses what can't be read any more, unless it was refused before.
    pub(in crate::remote::letters) fn refuse_unreadable(
        &mut self,
        number: u64,
        why: &RemoteError,
    ) -> Refusal {
        if let Some(refusal) = self.refused.get(&number) {
            return refusal.clone();
        }
        let refusal = self.next_refusal(number, why.clone());
        self.refused.insert(number, refusal.clone());
        refusal
    }

    /// Restores what an earlier life has counted against a letter.
    pub(in crate::remote::letters) fn restore_weight(&mut self, number: u64, weight: u32) {
        self.suspects.weigh(number, weight);
    }

    /// Forgets refusals that the sender passes over: it has noted them.
    pub(super) fn prune(
        &mut self,
        log: LogId,
        (before, number): (u64, u64),
        notes: &mut Vec<Note>,
    ) {
        let passed: Vec<u64> = self
            .refused
            .range(before.saturating_add(1)..number)
            .map(|(&number, _)| number)
            .collect();
        for number in passed {
            if let Some(refusal) = self.refused.remove(&number) {
                self.turns.remove(&refusal.turn);
                notes.push(Note::NoRefused(log, number));
            }
        }
    }
}
