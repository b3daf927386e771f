//! The ways of edges, from box to box. They turn between layers only: no box is there.

use std::collections::BTreeMap;

use super::bands::Bands;
use super::{Line, Places, Point, Rect, Way};

/// From the corner of a box to the first edge, and from there to the next, at most.
const CORNER: f64 = 16.0;
const BESIDE: f64 = 22.0;

pub(super) fn draw(lines: &[Line], places: &mut Places) {
    let ends = ends(lines, places);
    let bands = Bands::of(lines, places);
    for (at, (line, way)) in lines.iter().zip(&mut places.ways).enumerate() {
        if line.from != line.to {
            let (begin, end) = (ends[2 * at], ends[2 * at + 1]);
            way.points = bands.way(begin, way.inner(), end);
        }
    }
}

/// Draws the edges that end where they begin.
pub(super) fn draw_rings(lines: &[Line], places: &mut Places) {
    for (line, way) in lines.iter().zip(&mut places.ways) {
        if line.from == line.to {
            way.points = places.shapes[line.from].ring(way.words);
        }
    }
}

/// Returns the two ends of each edge, side by side with others at the same side of a box, in the
/// order of where they come from or go to.
fn ends(lines: &[Line], places: &Places) -> Vec<Point> {
    // By box and side: towards where, and which end.
    let mut sides: BTreeMap<(usize, bool), Vec<(f64, usize)>> = BTreeMap::new();
    for (at, (line, way)) in lines.iter().zip(&places.ways).enumerate() {
        let inner = way.inner();
        let (from, to) = (places.shapes[line.from], places.shapes[line.to]);
        let towards = [
            (line.from, from, inner.first().copied().unwrap_or(to.middle())),
            (line.to, to, inner.last().copied().unwrap_or(from.middle())),
        ];
        for (end, (shape, rect, towards)) in towards.into_iter().enumerate() {
            let side = sides.entry((shape, towards.y > rect.y)).or_default();
            side.push((towards.x, 2 * at + end));
        }
    }
    let mut ends = vec![Point::default(); 2 * lines.len()];
    for ((shape, is_below), mut side) in sides {
        side.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let rect = places.shapes[shape];
        let y = if is_below { rect.bottom() } else { rect.top() };
        let spots = rect.spots(side.iter().map(|end| end.0).collect());
        for ((_, end), x) in side.into_iter().zip(spots) {
            ends[end] = Point { x, y };
        }
    }
    ends
}

impl Bands {
    /// The points of a way: straight through bands, from one to the next where it has room.
    fn way(&self, begin: Point, inner: &[Point], end: Point) -> Vec<Point> {
        // Between bands there is nothing to go around.
        let inner = inner.iter().copied().filter(|at| self.around(at.y).is_some());
        let mut points = vec![begin];
        let mut last = begin;
        for at in inner.chain([end]) {
            let (from, to) = (self.around(last.y), self.around(at.y));
            if from != to {
                let is_down = at.y > last.y;
                let side = |band: (f64, f64), is_low: bool| if is_low { band.1 } else { band.0 };
                points.extend(from.map(|band| Point { x: last.x, y: side(band, is_down) }));
                points.extend(to.map(|band| Point { x: at.x, y: side(band, !is_down) }));
            } else if at.x != last.x {
                points.push(at);
            }
            last = at;
        }
        points.push(end);
        points.dedup();
        points
    }
}

impl Rect {
    /// Places along the upper or lower border for as many edges, in their order: where they come
    /// from, if there is room between them, or as far from each other as they can be.
    fn spots(&self, wanted: Vec<f64>) -> Vec<f64> {
        let room = (self.width - 2.0 * CORNER).max(0.0);
        let least = self.x - room / 2.0;
        let all = wanted.len();
        let step = match all {
            0 | 1 => 0.0,
            _ => (room / (all - 1) as f64).min(BESIDE),
        };
        let mut spots: Vec<f64> = Vec::with_capacity(all);
        for (at, wanted) in wanted.into_iter().enumerate() {
            let after = spots.last().map_or(least, |last| last + step);
            let before = least + room - step * (all - 1 - at) as f64;
            spots.push(wanted.max(after).min(before));
        }
        spots
    }

    /// An edge that ends where it begins, around its words.
    fn ring(&self, words: Option<Rect>) -> Vec<Point> {
        let out = words.map_or(self.right() + 24.0, |words| words.x.max(self.right() + 24.0));
        let rise = self.height / 4.0;
        vec![
            Point { x: self.right(), y: self.y - rise },
            Point { x: out, y: self.y },
            Point { x: self.right(), y: self.y + rise },
        ]
    }
}

impl Way {
    /// Its points between the boxes.
    fn inner(&self) -> &[Point] {
        self.points.get(1..self.points.len().saturating_sub(1)).unwrap_or_default()
    }
}
