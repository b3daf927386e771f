//! Sets of chunk indices as few ranges: arrival is nearly in order, so a set of a million indices
//! is a handful of ranges.
//!
//! Invariant: ranges are disjoint, not touching, none empty, and never more than
//! [`RangeSet::LIMIT`].

use std::collections::BTreeMap;

use crate::wire::{RANGES_LIMIT, Ranges};

/// A set of indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeSet {
    /// start → end, half-open.
    ranges: BTreeMap<u64, u64>,
    count: u64,
}

impl RangeSet {
    /// The most ranges a set may fall into. Windows are far smaller, so only a hostile peer reaches
    /// it.
    pub(crate) const LIMIT: usize = 65_536;

    /// Adds an index; `false` if it was there, or if the set is as scattered as it may be.
    pub(crate) fn insert(&mut self, index: u64) -> bool {
        let before = self.ranges.range(..=index).next_back().map(|(&start, &end)| (start, end));
        if before.is_some_and(|(_, end)| index < end) || index == u64::MAX {
            return false;
        }
        let after = self.ranges.get(&(index + 1)).copied();
        let joins_before = before.filter(|&(_, end)| end == index);
        if joins_before.is_none() && after.is_none() && self.ranges.len() >= Self::LIMIT {
            return false;
        }
        let end = after.unwrap_or(index + 1);
        if after.is_some() {
            self.ranges.remove(&(index + 1));
        }
        self.ranges.insert(joins_before.map_or(index, |(start, _)| start), end);
        self.count += 1;
        true
    }

    /// The indices below `end`.
    pub(crate) fn up_to(end: u64) -> Self {
        Self { ranges: (end > 0).then_some((0, end)).into_iter().collect(), count: end }
    }

    /// Takes an index out; `false` if it was not there.
    pub(crate) fn remove(&mut self, index: u64) -> bool {
        let Some((start, end)) =
            self.ranges.range(..=index).next_back().map(|(&start, &end)| (start, end))
        else {
            return false;
        };
        if index >= end {
            return false;
        }
        self.ranges.remove(&start);
        if start < index {
            self.ranges.insert(start, index);
        }
        if index + 1 < end {
            self.ranges.insert(index + 1, end);
        }
        self.count -= 1;
        true
    }

    /// Returns whether the index is in the set.
    pub(crate) fn contains(&self, index: u64) -> bool {
        self.ranges.range(..=index).next_back().is_some_and(|(_, &end)| index < end)
    }

    /// Returns the number of indices from 0 on without a gap.
    pub(crate) fn prefix(&self) -> u64 {
        self.ranges.get(&0).copied().unwrap_or(0)
    }

    /// Returns the number of indices in the set.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The set as messages can carry it: each with as many ranges as one may have.
    pub(crate) fn to_wire(&self) -> Vec<Ranges> {
        let ranges: Vec<_> = self.iter().collect();
        let parts = ranges.chunks(RANGES_LIMIT);
        parts
            .map(|part| {
                Ranges::new(part.to_vec()).expect("ranges of a set are in order and disjoint")
            })
            .collect()
    }

    /// The ranges, half-open, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|(&start, &end)| (start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0u64..40), 0..200)) {
            let (mut ours, mut model) = (RangeSet::default(), BTreeSet::new());
            for (insert, index) in steps {
                if insert {
                    prop_assert_eq!(ours.insert(index), model.insert(index));
                } else {
                    prop_assert_eq!(ours.remove(index), model.remove(&index));
                }
                prop_assert_eq!(ours.count(), model.len() as u64);
                prop_assert_eq!(ours.prefix(), (0..).take_while(|i| model.contains(i)).count() as u64);
                let listed: Vec<u64> = ours.iter().flat_map(|(start, end)| start..end).collect();
                prop_assert_eq!(listed, model.iter().copied().collect::<Vec<_>>());
                prop_assert!(ours.ranges.iter().zip(ours.ranges.iter().skip(1)).all(|((_, end), (start, _))| end < start));
            }
        }
    }
}
