//! The stretches between which edges may turn.

use std::collections::BTreeMap;

use super::{Line, Places};

/// The last stretch of an edge, before its box.
const LEAD: f64 = 8.0;

/// The stretches of the page, from top to bottom, that have boxes or words in them.
pub(super) struct Bands(Vec<(f64, f64)>);

impl Bands {
    pub(super) fn of(lines: &[Line], places: &Places) -> Self {
        let mut layers: BTreeMap<i32, (f64, f64)> = BTreeMap::new();
        for (rank, rect) in places.ranks.iter().zip(&places.shapes) {
            let (top, bottom) = (rect.top() - LEAD, rect.bottom() + LEAD);
            let layer = layers.entry(*rank).or_insert((top, bottom));
            *layer = (layer.0.min(top), layer.1.max(bottom));
        }
        let words = lines.iter().zip(&places.ways).filter(|(line, _)| line.from != line.to);
        let words = words.filter_map(|(_, way)| way.words);
        let mut all: Vec<(f64, f64)> =
            layers.into_values().chain(words.map(|words| (words.top(), words.bottom()))).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.dedup_by(|next, band| {
            let is_one = next.0 <= band.1;
            band.1 = if is_one { band.1.max(next.1) } else { band.1 };
            is_one
        });
        Self(all)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (f64, f64)> {
        self.0.iter().copied()
    }

    /// The number of the band around a place.
    pub(super) fn at(&self, y: f64) -> Option<usize> {
        let after = self.0.partition_point(|band| band.1 < y);
        self.0.get(after).is_some_and(|band| band.0 <= y).then_some(after)
    }

    /// The band around a place.
    pub(super) fn around(&self, y: f64) -> Option<(f64, f64)> {
        self.at(y).map(|at| self.0[at])
    }
}
