//! Frames that lie on each other, moved apart: layers do not keep them from that. Edges are then led
//! anew, past the boxes of each layer.

use super::bands::Bands;
use super::{Line, Places, Rect, Shape};

/// Between two frames.
const GAP: f64 = 24.0;

/// Beside a box, an edge or words.
const CLEAR: f64 = 8.0;

pub(super) fn separate(shapes: &[Shape], lines: &[Line], places: &mut Places) {
    if move_frames(shapes, places) {
        lead_anew(lines, places);
    }
}

/// Moves frames to the right, as far as they must. Returns whether one had to.
fn move_frames(shapes: &[Shape], places: &mut Places) -> bool {
    let mut order: Vec<usize> = (0..places.frames.len()).collect();
    order.sort_by(|&a, &b| places.frames[a].x.total_cmp(&places.frames[b].x).then(a.cmp(&b)));
    let mut has_moved = false;
    for at in 0..order.len() {
        let frame = places.frames[order[at]];
        let before = order[..at].iter().map(|&before| places.frames[before]);
        let beside =
            before.filter(|other| other.top() < frame.bottom() && frame.top() < other.bottom());
        let left = beside.map(|other| other.right() + GAP).fold(frame.left(), f64::max);
        // What layers leave between frames is less, and enough.
        if left - frame.left() <= GAP {
            continue;
        }
        has_moved = true;
        let by = left - frame.left();
        places.frames[order[at]].x += by;
        for (shape, rect) in shapes.iter().zip(&mut places.shapes) {
            if shape.frame == Some(order[at]) {
                rect.x += by;
            }
        }
    }
    has_moved
}

/// Gives each edge a place in each layer that it passes, as near as there is room to where it was.
fn lead_anew(lines: &[Line], places: &mut Places) {
    let bands = Bands::of(lines, places);
    let mut taken: Vec<Vec<(f64, f64)>> = bands
        .iter()
        .map(|(top, bottom)| {
            let is_there = |rect: &&Rect| rect.top() < bottom && top < rect.bottom();
            places.shapes.iter().filter(is_there).map(|rect| (rect.left(), rect.right())).collect()
        })
        .collect();
    for (line, way) in lines.iter().zip(&mut places.ways) {
        if line.from == line.to {
            continue;
        }
        let last = way.points.len().saturating_sub(1);
        for (at, point) in way.points.iter_mut().enumerate() {
            let Some(band) = bands.at(point.y).filter(|_| at > 0 && at < last) else { continue };
            let words = way.words.as_mut().filter(|words| words.y == point.y);
            let half = words.as_ref().map_or(0.0, |words| words.width / 2.0) + CLEAR;
            point.x = nearest(point.x, half, &taken[band]);
            taken[band].push((point.x - half + CLEAR, point.x + half - CLEAR));
            if let Some(words) = words {
                words.x = point.x;
            }
        }
    }
}

/// The place nearest to this one that is so far away from all that is taken.
fn nearest(wanted: f64, half: f64, taken: &[(f64, f64)]) -> f64 {
    let is_free =
        |x: &f64| taken.iter().all(|&(left, right)| x + half <= left || right <= x - half);
    let beside = taken.iter().flat_map(|&(left, right)| [left - half, right + half]);
    // Beyond all that is taken there is room.
    std::iter::once(wanted)
        .chain(beside)
        .filter(is_free)
        .min_by(|a, b| (a - wanted).abs().total_cmp(&(b - wanted).abs()))
        .unwrap_or(wanted)
}
