//! Sums of letters, and how much of them may be where.

use super::super::{FAR, FAR_BYTES, WINDOW, WINDOW_BYTES};

/// Letters, and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::remote::letters) struct Sum {
    pub(in crate::remote::letters) letters: u64,
    pub(in crate::remote::letters) bytes: u64,
}

impl Sum {
    pub(super) fn add(&mut self, cost: u64) {
        self.letters += 1;
        self.bytes += cost;
    }

    pub(super) fn remove(&mut self, cost: u64) {
        self.letters -= 1;
        self.bytes -= cost;
    }

    /// Returns `true` if one more, which costs so much, is within these limits. One that costs more
    /// than all may goes alone.
    fn has_room(self, cost: u64, most: Self) -> bool {
        self.letters < most.letters && (self.bytes == 0 || self.bytes + cost <= most.bytes)
    }
}

/// The most that may be somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::remote::letters) struct Windows {
    /// Said on this link, and not answered.
    pub(in crate::remote::letters) road: Sum,
    /// Said, and not over.
    pub(in crate::remote::letters) far: Sum,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            road: Sum { letters: WINDOW, bytes: WINDOW_BYTES },
            far: Sum { letters: FAR, bytes: FAR_BYTES },
        }
    }
}

impl Windows {
    /// Returns `true` if a letter may be said that costs so much on the road, and so much there.
    pub(super) fn have_room(self, road: (Sum, u64), far: (Sum, u64)) -> bool {
        road.0.has_room(road.1, self.road) && far.0.has_room(far.1, self.far)
    }
}
