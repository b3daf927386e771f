//! Boxes and frames that lie on each other, moved apart: layers do not keep frames from that, nor
//! always boxes. Edges are then led anew, past the boxes of each layer.

use super::bands::Bands;
use super::{Line, Places, Rect, Shape};

/// Between two frames.
const GAP: f64 = 24.0;

/// Between two boxes of a layer, where there was less than `CLEAR`.
const BETWEEN: f64 = 20.0;

/// Beside a box, an edge or words.
const CLEAR: f64 = 8.0;

/// Moves frames apart, and leads edges past what moved, now or before.
pub(super) fn separate(shapes: &[Shape], lines: &[Line], places: &mut Places, has_moved: bool) {
    if move_frames(shapes, places) || has_moved {
        lead_anew(lines, places);
    }
}

/// Moves the boxes of each layer to the right, as far as they must: among many edges, `dagre` has
/// left two boxes no more than the gap of two edges. Returns whether one had to.
pub(super) fn move_boxes(places: &mut Places) -> bool {
    let mut order: Vec<usize> = (0..places.shapes.len()).collect();
    let key = |at: usize| (places.ranks[at], places.shapes[at].x);
    order.sort_by(|&a, &b| {
        let ((rank_a, x_a), (rank_b, x_b)) = (key(a), key(b));
        rank_a.cmp(&rank_b).then(x_a.total_cmp(&x_b)).then(a.cmp(&b))
    });
    let mut has_moved = false;
    for pair in order.windows(2) {
        let (before, at) = (pair[0], pair[1]);
        let right = places.shapes[before].right();
        let rect = &mut places.shapes[at];
        if places.ranks[before] == places.ranks[at] && rect.left() < right + CLEAR {
            rect.x = right + BETWEEN + rect.width / 2.0;
            has_moved = true;
        }
    }
    has_moved
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

#[cfg(test)]
mod tests {
    use super::super::{Point, Way};
    use super::*;

    fn rect(x: f64, y: f64, width: f64, height: f64) -> Rect {
        Rect { x, y, width, height }
    }

    /// A wide frame with a box above and one below, a narrow one that lies on its left, and an edge
    /// from the upper box to the lower one that passes beside the narrow frame's box.
    fn on_each_other() -> (Vec<Shape>, Vec<Line>, Places) {
        let shape = |frame| Shape { width: 100.0, height: 40.0, frame: Some(frame) };
        let line = |from, to, words| Line { from, to, words };
        let words = rect(170.0, 150.0, 60.0, 16.0);
        let points = [(250.0, 70.0), (170.0, 150.0), (250.0, 230.0)];
        let way = Way {
            points: points.into_iter().map(|(x, y)| Point { x, y }).collect(),
            words: Some(words),
        };
        let places = Places {
            frames: vec![rect(200.0, 150.0, 300.0, 240.0), rect(100.0, 150.0, 128.0, 90.0)],
            shapes: vec![
                rect(250.0, 50.0, 100.0, 40.0),
                rect(250.0, 250.0, 100.0, 40.0),
                rect(100.0, 150.0, 100.0, 40.0),
            ],
            ranks: vec![0, 2, 1],
            ways: vec![way],
            ..Places::default()
        };
        let lines = vec![line(0, 1, Some((60.0, 16.0)))];
        (vec![shape(0), shape(0), shape(1)], lines, places)
    }

    #[test]
    fn frames_that_lie_on_each_other_are_moved_apart_with_what_is_in_them() {
        let (shapes, lines, mut places) = on_each_other();
        separate(&shapes, &lines, &mut places, false);
        assert_eq!(places.frames[1].right() + GAP, places.frames[0].left());
        let moved = places.frames[0].x - 200.0;
        assert!(moved > 100.0);
        assert_eq!([places.shapes[0].x, places.shapes[1].x], [250.0 + moved; 2]);
        assert_eq!(places.shapes[2].x, 100.0);
    }

    #[test]
    fn edges_and_their_words_keep_clear_of_boxes_that_they_pass() {
        let (shapes, lines, mut places) = on_each_other();
        separate(&shapes, &lines, &mut places, false);
        let words = places.ways[0].words.expect("it has words");
        assert_eq!(words.x, places.ways[0].points[1].x);
        assert_eq!(words.left(), places.shapes[2].right() + CLEAR);
    }

    #[test]
    fn boxes_of_a_layer_that_lie_on_each_other_are_moved_apart() {
        let (.., mut places) = on_each_other();
        assert!(!move_boxes(&mut places));
        // Beside the third one, on it, and below both.
        places.shapes[0] = rect(110.0, 168.0, 100.0, 40.0);
        places.shapes[1].x = 110.0;
        places.ranks = vec![1, 2, 1];
        assert!(move_boxes(&mut places));
        let [on, below, left] = places.shapes[..] else { unreachable!("it has three") };
        assert_eq!((left.x, on.left(), below.x), (100.0, left.right() + BETWEEN, 110.0));
    }

    #[test]
    fn frames_that_are_apart_stay() {
        let (shapes, lines, mut places) = on_each_other();
        places.frames[1].y = 400.0;
        let before = places.clone();
        separate(&shapes, &lines, &mut places, false);
        assert_eq!(places, before);
    }
}
