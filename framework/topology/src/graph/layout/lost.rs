//! Boxes and edges that the layers have lost: of some graphs with many edges, `dagre` gives two
//! things of a layer one place in its order, and then only one of them a place on the page.

use std::collections::BTreeMap;

use super::{Line, Places, Point, Way};

/// Between two layers, or a layer and words.
const BETWEEN: f64 = 24.0;

/// Puts boxes into their layers that are not there, and leads edges through layers that they pass
/// and have no point in. Returns `true` if there was one.
pub(super) fn find(lines: &[Line], places: &mut Places) -> bool {
    // What is lost lies where all begins.
    let mut layers = BTreeMap::<i32, f64>::new();
    for (rank, rect) in places.ranks.iter().zip(&places.shapes) {
        let y = layers.entry(*rank).or_insert(rect.y);
        *y = y.max(rect.y);
    }
    let mut was_lost = false;
    for (rank, rect) in places.ranks.iter().zip(&mut places.shapes) {
        was_lost |= rect.y != layers[rank];
        rect.y = layers[rank];
    }
    for (line, way) in lines.iter().zip(&mut places.ways) {
        let (from, to) = (places.shapes[line.from].middle(), places.shapes[line.to].middle());
        let passed = layers.values().copied().filter(|&y| is_between(y, from, to));
        if line.from != line.to && way.has_lost(passed.clone(), from, to) {
            way.lead(passed.collect(), from, to);
            was_lost = true;
        }
    }
    if was_lost {
        spread(places);
    }
    was_lost
}

/// Moves layers and words down, as far as they must for what was lost and is higher than the rest
/// of its layer.
fn spread(places: &mut Places) {
    let words = places.ways.iter().filter_map(|way| way.words);
    let mut all: Vec<(f64, f64)> =
        places.shapes.iter().copied().chain(words).map(|rect| (rect.y, rect.height)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.dedup_by(|next, level| {
        let is_one = next.0 - level.0 < 1.0;
        level.1 = if is_one { level.1.max(next.1) } else { level.1 };
        is_one
    });
    // How far each of them is moved.
    let mut moves: Vec<(f64, f64)> = Vec::with_capacity(all.len());
    for pair in all.windows(2) {
        let by = moves.last().map_or(0.0, |last| last.1);
        let apart = (pair[0].1 + pair[1].1) / 2.0 + BETWEEN;
        moves.push((pair[1].0 - 1.0, by + (apart - (pair[1].0 - pair[0].0)).max(0.0)));
    }
    let moved = |y: f64| {
        let before = moves.partition_point(|from| from.0 <= y);
        y + before.checked_sub(1).map_or(0.0, |last| moves[last].1)
    };
    places.shapes.iter_mut().for_each(|rect| rect.y = moved(rect.y));
    for way in &mut places.ways {
        way.points.iter_mut().for_each(|point| point.y = moved(point.y));
        way.words.iter_mut().for_each(|words| words.y = moved(words.y));
    }
}

fn is_between(y: f64, from: Point, to: Point) -> bool {
    from.y.min(to.y) < y && y < from.y.max(to.y)
}

impl Way {
    /// Returns `true` if there is a layer that it passes without a point, or words of it elsewhere.
    fn has_lost(&self, passed: impl Iterator<Item = f64>, from: Point, to: Point) -> bool {
        let is_there = |y: f64| self.points.iter().any(|point| (point.y - y).abs() < 1.0);
        let is_elsewhere = self.words.is_some_and(|words| !is_between(words.y, from, to));
        is_elsewhere || !passed.into_iter().all(is_there)
    }

    /// Leads it straight from one to the other, with a point in each layer that it passes, and its
    /// words before the first of them.
    fn lead(&mut self, mut passed: Vec<f64>, from: Point, to: Point) {
        if to.y < from.y {
            passed.reverse();
        }
        let next = passed.first().copied().unwrap_or(to.y);
        let at = |y: f64| Point { x: from.x + (to.x - from.x) * (y - from.y) / (to.y - from.y), y };
        let words = self.words.as_mut().map(|words| {
            let place = at(f64::midpoint(from.y, next));
            (words.x, words.y) = (place.x, place.y);
            place
        });
        let inner = words.into_iter().chain(passed.into_iter().map(at));
        self.points = std::iter::once(from).chain(inner).chain([to]).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rect;
    use super::*;

    fn rect(x: f64, y: f64) -> Rect {
        Rect { x, y, width: 100.0, height: 40.0 }
    }

    /// Three layers with a box each, and an edge from the last to the first, with words.
    fn three() -> (Vec<Line>, Places) {
        let points = [(50.0, 400.0), (90.0, 300.0), (150.0, 200.0), (50.0, 0.0)];
        let way = Way {
            points: points.into_iter().map(|(x, y)| Point { x, y }).collect(),
            words: Some(Rect { x: 90.0, y: 300.0, width: 30.0, height: 16.0 }),
        };
        let places = Places {
            shapes: vec![rect(50.0, 0.0), rect(50.0, 200.0), rect(50.0, 400.0)],
            ranks: vec![1, 4, 7],
            ways: vec![way],
            ..Places::default()
        };
        (vec![Line { from: 2, to: 0, words: Some((30.0, 16.0)) }], places)
    }

    #[test]
    fn what_is_not_lost_stays() {
        let (lines, mut places) = three();
        let before = places.clone();
        assert!(!find(&lines, &mut places));
        assert_eq!(places, before);
    }

    #[test]
    fn a_lost_box_goes_into_its_layer() {
        let (lines, mut places) = three();
        places.shapes.push(rect(200.0, 0.0));
        places.ranks.push(4);
        assert!(find(&lines, &mut places));
        assert_eq!(places.shapes[3], rect(200.0, 200.0));
        assert_eq!(places.ways, three().1.ways);
    }

    #[test]
    fn layers_and_words_have_room_for_a_lost_box_that_is_high() {
        let (lines, mut places) = three();
        places.shapes.push(Rect { height: 400.0, ..rect(200.0, 0.0) });
        places.ranks.push(4);
        assert!(find(&lines, &mut places));
        let [first, second, third, lost] = places.shapes[..] else { unreachable!("it has four") };
        let words = places.ways[0].words.expect("it has words");
        assert_eq!((lost.top(), lost.y), (first.bottom() + BETWEEN, second.y));
        assert_eq!(words.top(), lost.bottom() + BETWEEN);
        assert!(third.top() >= words.bottom() + BETWEEN);
        let ys: Vec<f64> = places.ways[0].points.iter().map(|point| point.y).collect();
        assert_eq!(ys, [third.y, words.y, second.y, first.y]);
    }

    #[test]
    fn an_edge_has_a_point_in_each_layer_that_it_passes_and_its_words_between_two() {
        let (lines, mut places) = three();
        places.ways[0].points = vec![Point { x: 50.0, y: 400.0 }, Point { x: 50.0, y: 0.0 }];
        places.ways[0].words = Some(Rect { x: 0.0, y: 0.0, width: 30.0, height: 16.0 });
        assert!(find(&lines, &mut places));
        let ys: Vec<f64> = places.ways[0].points.iter().map(|point| point.y).collect();
        assert_eq!(ys, [400.0, 300.0, 200.0, 0.0]);
        assert_eq!(places.ways[0].words.map(|words| (words.x, words.y)), Some((50.0, 300.0)));
    }
}
