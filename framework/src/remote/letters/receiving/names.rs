//! The letters of one sender that wait, by the names that they are for: each name has an order of
//! its own.
//!
//! Invariant: one hands over for a name at a time, and no more while [`UNNOTED`] ends are not
//! durable: so one that a process ended with is among the first that wait in the next life.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::super::letter_id::LogId;

/// The most letters of a name that are over, and not durably so.
pub(in crate::remote::letters) const UNNOTED: usize = 64;

/// The place of a letter in the order of its name: logs one after the other, each by number.
pub(super) type Spot = (u64, LogId, u64);

/// The names that letters wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Names(BTreeMap<Arc<str>, Queue>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Queue {
    waiting: BTreeSet<Spot>,
    /// Those that are over, and not durably.
    closing: usize,
    /// Somebody hands them over.
    is_handed_over: bool,
}

impl Names {
    /// A letter waits; its name, of which there is one in memory.
    pub(super) fn put(&mut self, name: &str, spot: Spot) -> Arc<str> {
        let name = self.0.get_key_value(name).map_or_else(|| name.into(), |(name, _)| name.clone());
        self.0.entry(Arc::clone(&name)).or_default().waiting.insert(spot);
        name
    }

    /// A letter is over, and [`ended`](Self::ended) follows when that is durable.
    pub(super) fn end(&mut self, name: &str, spot: Spot) {
        if let Some(queue) = self.0.get_mut(name) {
            queue.waiting.remove(&spot);
            queue.closing += 1;
        }
    }

    /// The end of a letter is durable.
    pub(super) fn ended(&mut self, name: &str) {
        if let Some(queue) = self.0.get_mut(name) {
            queue.closing = queue.closing.saturating_sub(1);
            self.tidy(name);
        }
    }

    fn tidy(&mut self, name: &str) {
        let is_over =
            |queue: &Queue| queue.waiting.is_empty() && queue.closing == 0 && !queue.is_handed_over;
        if self.0.get(name).is_some_and(is_over) {
            self.0.remove(name);
        }
    }

    /// The first letter of a name.
    pub(super) fn first(&self, name: &str) -> Option<Spot> {
        self.0.get(name)?.waiting.first().copied()
    }

    /// The letter of a name that may be handed over.
    pub(super) fn next(&self, name: &str) -> Option<Spot> {
        let queue = self.0.get(name).filter(|queue| queue.closing < UNNOTED)?;
        queue.waiting.first().copied()
    }

    /// Those of which one may have been with its actor when the last life ended, as this one begins.
    pub(super) fn suspects(&self) -> impl Iterator<Item = Spot> {
        self.0.values().flat_map(|queue| queue.waiting.iter().take(UNNOTED + 1).copied())
    }

    /// Notes whether somebody hands over for a name.
    pub(super) fn set(&mut self, name: &str, is_handed_over: bool) {
        if let Some(queue) = self.0.get_mut(name) {
            queue.is_handed_over = is_handed_over;
            self.tidy(name);
        }
    }

    /// Returns `true` if somebody hands over for a name.
    pub(super) fn is_handed_over(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|queue| queue.is_handed_over)
    }

    /// All names.
    pub(super) fn all(&self) -> Vec<Arc<str>> {
        self.0.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = [1; 16];

    #[test]
    fn of_a_name_so_many_ends_wait_to_be_noted_and_no_more_and_so_many_are_suspects() {
        let mut names = Names::default();
        (1..=100).for_each(|number| drop(names.put("a", (0, LOG, number))));
        names.put("b", (0, LOG, 200));
        for number in 1..=UNNOTED as u64 {
            assert_eq!(names.next("a"), Some((0, LOG, number)));
            names.end("a", (0, LOG, number));
        }
        assert_eq!((names.next("a"), names.next("b")), (None, Some((0, LOG, 200))));
        names.ended("a");
        assert_eq!(names.next("a"), Some((0, LOG, 65)));
        // What is not noted is there again in the next life, with one that may be with its actor.
        let mut again = Names::default();
        (2..=100).for_each(|number| drop(again.put("a", (0, LOG, number))));
        let suspects: Vec<_> = again.suspects().map(|(_, _, number)| number).collect();
        assert_eq!(suspects, (2..=66).collect::<Vec<_>>());
    }

    #[test]
    fn a_name_goes_when_nothing_of_it_waits_and_all_is_noted() {
        let mut names = Names::default();
        names.put("a", (0, LOG, 1));
        names.set("a", true);
        names.end("a", (0, LOG, 1));
        names.set("a", false);
        assert_eq!(names.all().len(), 1);
        names.ended("a");
        assert_eq!(names.all().len(), 0);
    }
}
