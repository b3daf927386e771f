//! Places of things: nothing lies on something else, and no edge goes through a box.

use super::super::layout::{Places, Point, Rect};
use super::super::svg;
use super::some::*;
use crate::{Graph, Topology};

/// The places of a small graph, and between which boxes its edges lead.
pub(super) fn places(topology: &Topology) -> (Places, Vec<(usize, usize)>) {
    svg::places(&Graph::of(topology))
}

pub(super) fn check(places: &Places, ends: &[(usize, usize)]) {
    let page = Rect {
        x: places.width / 2.0,
        y: places.height / 2.0,
        width: places.width,
        height: places.height,
    };
    for rect in places.shapes.iter().chain(&places.frames) {
        assert!(is_within(rect, &page), "{rect:?} is beyond the page");
    }
    apart(&places.shapes, "boxes");
    apart(&places.frames, "frames");
    for (way, &(from, to)) in places.ways.iter().zip(ends) {
        assert!(way.points.len() >= 2, "an edge leads somewhere");
        if from == to {
            continue;
        }
        for pair in way.points.windows(2) {
            let spanned = around(pair[0], pair[1]);
            for (at, shape) in places.shapes.iter().enumerate() {
                let through = overlap(&spanned, shape);
                assert!(through < 0.5, "edge {from}-{to} goes through {at}: {pair:?} {shape:?}");
            }
        }
    }
}

fn around(a: Point, b: Point) -> Rect {
    Rect {
        x: f64::midpoint(a.x, b.x),
        y: f64::midpoint(a.y, b.y),
        width: (a.x - b.x).abs().max(1.0),
        height: (a.y - b.y).abs().max(1.0),
    }
}

fn is_within(rect: &Rect, around: &Rect) -> bool {
    rect.left() >= around.left()
        && rect.right() <= around.right()
        && rect.top() >= around.top()
        && rect.bottom() <= around.bottom()
}

/// Returns how far two boxes lie on each other, in the direction in which that is less.
fn overlap(a: &Rect, b: &Rect) -> f64 {
    let wide = a.right().min(b.right()) - a.left().max(b.left());
    let high = a.bottom().min(b.bottom()) - a.top().max(b.top());
    wide.min(high)
}

fn apart(rects: &[Rect], what: &str) {
    for (at, one) in rects.iter().enumerate() {
        for other in &rects[at + 1..] {
            assert!(overlap(one, other) <= 0.0, "{what} lie on each other: {one:?} {other:?}");
        }
    }
}

#[test]
fn nothing_lies_on_something_else() {
    let some = [two_nodes(), chain(), fan_out(20), fan_in(8), cycles(), awkward(), many(8, 24)];
    for topology in some.into_iter().chain([entangled()]) {
        let (places, ends) = places(&topology);
        check(&places, &ends);
    }
}

#[test]
fn what_would_be_much_too_wide_goes_from_left_to_right() {
    assert!(!places(&fan_out(3)).0.sideways);
    assert!(places(&fan_out(20)).0.sideways);
}

#[test]
fn nodes_of_one_layer_are_in_the_order_of_their_names() {
    let (places, _) = places(&fan_out(20));
    let towns = &places.frames[1..];
    assert!(towns.is_sorted_by(|a, b| a.bottom() < b.top()), "{towns:?}");
}
