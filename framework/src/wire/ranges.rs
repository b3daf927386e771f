//! Index sets as they travel: a few ranges, checked.
//!
//! Invariant: half-open, none empty, ascending, disjoint, at most [`RANGES_LIMIT`].

use serde::{Deserialize, Serialize};

/// The most ranges one message carries; what is left over goes into the next message.
pub(crate) const RANGES_LIMIT: usize = 1024;

/// Ranges `start..end` of indices, in the form of the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Ranges(Vec<(u64, u64)>);

/// An error of making [`Ranges`] of pairs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangesError {
    /// More than one message may carry.
    #[error("{given} ranges in one message, at most {RANGES_LIMIT} are allowed")]
    TooMany {
        /// Ranges given.
        given: usize,
    },
    /// A range that ends where it starts, or before.
    #[error("the range {start}..{end} is empty")]
    Empty {
        /// Its start.
        start: u64,
        /// Its end.
        end: u64,
    },
    /// A range that starts before the one in front of it has ended.
    #[error("the range that starts at {start} follows one that ends at {previous}")]
    Unordered {
        /// The start of the range.
        start: u64,
        /// The end of the range before it.
        previous: u64,
    },
}

impl Ranges {
    /// No index at all.
    pub const EMPTY: Self = Self(Vec::new());

    /// Checks that `pairs` are what this type promises.
    pub fn new(pairs: Vec<(u64, u64)>) -> Result<Self, RangesError> {
        if pairs.len() > RANGES_LIMIT {
            return Err(RangesError::TooMany { given: pairs.len() });
        }
        let mut previous = 0;
        for &(start, end) in &pairs {
            if start >= end {
                return Err(RangesError::Empty { start, end });
            }
            if start < previous {
                return Err(RangesError::Unordered { start, previous });
            }
            previous = end;
        }
        Ok(Self(pairs))
    }

    /// Just this index; `None` for `u64::MAX`, which no half-open range holds.
    pub fn single(index: u64) -> Option<Self> {
        Some(Self(vec![(index, index.checked_add(1)?)]))
    }

    /// The ranges, ascending.
    pub fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// The ranges, ascending. Iterate over these, not over their indices: a range of a peer may be
    /// as long as `u64` allows.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = std::ops::Range<u64>> + '_ {
        self.0.iter().map(|&(start, end)| start..end)
    }

    /// Returns whether there is no index.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether `index` is in one of the ranges.
    pub fn contains(&self, index: u64) -> bool {
        let after = self.0.partition_point(|&(start, _)| start <= index);
        after > 0 && index < self.0[after - 1].1
    }
}

impl TryFrom<Vec<(u64, u64)>> for Ranges {
    type Error = RangesError;

    fn try_from(pairs: Vec<(u64, u64)>) -> Result<Self, RangesError> {
        Self::new(pairs)
    }
}

impl From<Ranges> for Vec<(u64, u64)> {
    fn from(ranges: Ranges) -> Self {
        ranges.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::codec;

    #[test]
    fn the_bytes_are_held() {
        let ranges = Ranges::new(vec![(0, 2), (3, 4)]).unwrap();
        let bytes = codec::encode(&ranges).unwrap();
        assert_eq!(bytes, [2_u64, 0, 2, 3, 4].map(u64::to_le_bytes).concat());
        assert_eq!(codec::decode::<Ranges>(&bytes).unwrap(), ranges);
    }

    #[test]
    fn what_is_out_of_order_empty_or_too_much_is_refused_in_memory_and_on_the_wire() {
        let too_many: Vec<_> =
            (0..=RANGES_LIMIT as u64).map(|index| (2 * index, 2 * index + 1)).collect();
        for (pairs, error) in [
            (vec![(1, 1)], RangesError::Empty { start: 1, end: 1 }),
            (vec![(2, 1)], RangesError::Empty { start: 2, end: 1 }),
            (vec![(0, 5), (4, 6)], RangesError::Unordered { start: 4, previous: 5 }),
            (too_many, RangesError::TooMany { given: RANGES_LIMIT + 1 }),
        ] {
            assert!(codec::decode::<Ranges>(&codec::encode(&pairs).unwrap()).is_err());
            assert_eq!(Ranges::new(pairs), Err(error));
        }
    }

    #[test]
    fn the_last_index_has_no_single_range() {
        assert_eq!(Ranges::single(u64::MAX), None);
        assert_eq!(Ranges::single(7).unwrap().as_slice(), [(7, 8)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn contains_agrees_with_a_look_at_every_range(steps in prop::collection::vec((0_u64..4, 1_u64..4), 0..20)) {
            let mut end = 0;
            let pairs = steps.into_iter().map(|(gap, length)| { let start = end + gap; end = start + length; (start, end) }).collect();
            let ranges = Ranges::new(pairs).unwrap();
            for index in 0..end + 2 {
                prop_assert_eq!(ranges.contains(index), ranges.iter().any(|range| range.contains(&index)));
            }
            prop_assert_eq!(codec::decode::<Ranges>(&codec::encode(&ranges).unwrap()).unwrap(), ranges);
        }
    }
}
