//! Curves through the points of edges.

use super::super::layout::Point;

/// A path through all points, which leaves and reaches each along the layers' direction, and so
/// never bends beyond the box that two points span.
pub(super) fn path(points: &[Point], sideways: bool) -> String {
    let mut path = String::new();
    let mut last: Option<Point> = None;
    for &at in points {
        match last {
            None => path.push_str(&format!("M{:.1},{:.1}", at.x, at.y)),
            Some(from) => path.push_str(&bend(from, at, sideways)),
        }
        last = Some(at);
    }
    path
}

fn bend(from: Point, to: Point, sideways: bool) -> String {
    let is_straight = if sideways { from.y == to.y } else { from.x == to.x };
    if is_straight {
        return format!("L{:.1},{:.1}", to.x, to.y);
    }
    let (first, second) = if sideways {
        let middle = f64::midpoint(from.x, to.x);
        (Point { x: middle, y: from.y }, Point { x: middle, y: to.y })
    } else {
        let middle = f64::midpoint(from.y, to.y);
        (Point { x: from.x, y: middle }, Point { x: to.x, y: middle })
    };
    format!(
        "C{:.1},{:.1} {:.1},{:.1} {:.1},{:.1}",
        first.x, first.y, second.x, second.y, to.x, to.y
    )
}

/// An edge that ends where it begins.
pub(super) fn ring(points: &[Point]) -> String {
    let [from, out, to] = points else { return path(points, false) };
    let (near, far) = (f64::midpoint(from.x, out.x), out.x);
    format!(
        "M{:.1},{:.1}C{near:.1},{:.1} {far:.1},{:.1} {far:.1},{:.1}\
         C{far:.1},{:.1} {near:.1},{:.1} {:.1},{:.1}",
        from.x, from.y, from.y, from.y, out.y, to.y, to.y, to.x, to.y
    )
}
