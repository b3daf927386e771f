//! Places of boxes and edges, by layers (the method of Sugiyama, in the crate `dagre`).

mod bands;
mod lost;
mod separate;
mod ways;

use dagre::graph::{Graph as Layers, GraphOptions};
use dagre::layout::types::LabelPos;
use dagre::{EdgeLabel, LayoutOptions, NodeLabel, RankDir};

/// Between the parts of a frame and its border.
const PADDING: f64 = 14.0;

/// Around everything.
const MARGIN: f64 = 16.0;

/// A page that is read from top to bottom.
const PAGE: (f64, f64) = (1200.0, 1800.0);

/// A frame around boxes.
pub(super) struct Frame {
    /// Height of its words, above the boxes.
    pub(super) head: f64,
}

/// A box to be placed.
pub(super) struct Shape {
    pub(super) width: f64,
    pub(super) height: f64,
    /// The frame that it is in.
    pub(super) frame: Option<usize>,
}

/// An edge to be placed, between two boxes.
pub(super) struct Line {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Width and height of its words.
    pub(super) words: Option<(f64, f64)>,
}

/// A place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// A placed box, by its middle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A placed edge.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Way {
    /// Its points, from box to box.
    pub(super) points: Vec<Point>,
    /// The place of its words.
    pub(super) words: Option<Rect>,
}

/// The places of everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Places {
    /// Set if layers follow each other from left to right instead of from top to bottom.
    pub(super) sideways: bool,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) frames: Vec<Rect>,
    pub(super) shapes: Vec<Rect>,
    /// The layer of each box.
    ranks: Vec<i32>,
    pub(super) ways: Vec<Way>,
}

/// The things to be placed.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) frames: Vec<Frame>,
    pub(super) shapes: Vec<Shape>,
    pub(super) lines: Vec<Line>,
}

impl Plan {
    /// Finds places: from top to bottom, or from left to right where that would be much too wide.
    pub(super) fn place(&self) -> Places {
        let upright = self.place_in(false);
        if upright.width <= PAGE.0 {
            return upright;
        }
        let sideways = self.place_in(true);
        match sideways.scale() > 1.25 * upright.scale() {
            true => sideways,
            false => upright,
        }
    }

    fn place_in(&self, sideways: bool) -> Places {
        let mut layers = self.layers();
        let options = LayoutOptions {
            rankdir: if sideways { RankDir::LR } else { RankDir::TB },
            nodesep: if sideways { 20.0 } else { 28.0 },
            edgesep: 18.0,
            ranksep: if sideways { 88.0 } else { 52.0 },
            // Of arrangements with as few crossings, that which comes first: in the order of names.
            tie_keep_first: true,
            ..LayoutOptions::default()
        };
        dagre::layout(&mut layers, Some(options));
        let mut places = self.read(&layers, sideways);
        let has_moved = places.as_if_upright(|places| {
            let was_lost = lost::find(&self.lines, places);
            separate::move_boxes(places) || was_lost
        });
        self.make_room_for_heads(&mut places);
        self.frame(&mut places);
        places.as_if_upright(|places| {
            separate::separate(&self.shapes, &self.lines, places, has_moved);
            ways::draw(&self.lines, places);
        });
        ways::draw_rings(&self.lines, &mut places);
        places.fit();
        places
    }

    fn layers(&self) -> Layers<NodeLabel, EdgeLabel> {
        let options = GraphOptions { directed: true, multigraph: true, compound: true };
        let mut layers = Layers::with_options(options);
        for frame in 0..self.frames.len() {
            layers.set_node(frame_name(frame), Some(NodeLabel::default()));
        }
        for (at, shape) in self.shapes.iter().enumerate() {
            let (width, height) = (shape.width, shape.height);
            let label = NodeLabel { width, height, ..NodeLabel::default() };
            layers.set_node(shape_name(at), Some(label));
            if let Some(frame) = shape.frame {
                layers.set_parent(&shape_name(at), Some(&frame_name(frame)));
            }
        }
        for (at, line) in self.lines.iter().enumerate() {
            let (width, height) = line.words.unwrap_or_default();
            let labelpos = LabelPos::Center;
            let label = EdgeLabel { width, height, labelpos, ..EdgeLabel::default() };
            let (from, to) = (shape_name(line.from), shape_name(line.to));
            layers.set_edge(from, to, Some(label), Some(&line_name(at)));
        }
        layers
    }

    /// Returns the places that were found.
    fn read(&self, layers: &Layers<NodeLabel, EdgeLabel>, sideways: bool) -> Places {
        let shapes = self.shapes.iter().enumerate().map(|(at, shape)| {
            let label = layers.node(&shape_name(at));
            let (x, y) = label.and_then(|label| label.x.zip(label.y)).unwrap_or_default();
            Rect { x, y, width: shape.width, height: shape.height }
        });
        let ways =
            self.lines.iter().enumerate().map(|(at, line)| {
                let (from, to) = (shape_name(line.from), shape_name(line.to));
                let label = layers.edge(&from, &to, Some(&line_name(at)));
                label.map_or_else(Way::default, |label| Way {
                    points: label.points.iter().map(|at| Point { x: at.x, y: at.y }).collect(),
                    words: line
                        .words
                        .zip(label.x.zip(label.y))
                        .map(|((width, height), (x, y))| Rect { x, y, width, height }),
                })
            });
        let ranks = (0..self.shapes.len()).map(|at| layers.node(&shape_name(at))?.rank);
        let ranks = ranks.map(Option::unwrap_or_default).collect();
        let (shapes, ways) = (shapes.collect(), ways.collect());
        Places { sideways, shapes, ranks, ways, ..Places::default() }
    }

    /// Moves down what is below the upper border of a frame, as far as its words need.
    fn make_room_for_heads(&self, places: &mut Places) {
        let mut rooms: Vec<(f64, f64)> = Vec::new();
        for (at, frame) in self.frames.iter().enumerate() {
            let top = self.shapes_of(at, places).map(|rect| rect.top()).reduce(f64::min);
            rooms.extend(top.map(|top| (top - PADDING, frame.head - PADDING)));
        }
        rooms.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Frames side by side have their heads in one room.
        rooms.dedup_by(|next, room| {
            let is_same = (next.0 - room.0).abs() < 24.0;
            room.1 = if is_same { room.1.max(next.1) } else { room.1 };
            is_same
        });
        let moved = |y: f64| {
            y + rooms.iter().take_while(|room| room.0 <= y).map(|room| room.1).sum::<f64>()
        };
        for rect in &mut places.shapes {
            rect.y = moved(rect.top()) + rect.height / 2.0;
        }
        for way in &mut places.ways {
            way.points.iter_mut().for_each(|point| point.y = moved(point.y));
            way.words.iter_mut().for_each(|words| words.y = moved(words.y));
        }
    }

    /// Draws frames around their boxes.
    fn frame(&self, places: &mut Places) {
        let around = |(at, frame): (usize, &Frame)| {
            let rects = || self.shapes_of(at, places);
            let left = rects().map(|rect| rect.left()).fold(f64::INFINITY, f64::min) - PADDING;
            let right = rects().map(|rect| rect.right()).fold(0.0, f64::max) + PADDING;
            let top = rects().map(|rect| rect.top()).fold(f64::INFINITY, f64::min) - frame.head;
            let bottom = rects().map(|rect| rect.bottom()).fold(0.0, f64::max) + PADDING;
            let (width, height) = (right - left, bottom - top);
            Rect { x: left + width / 2.0, y: top + height / 2.0, width, height }
        };
        places.frames = self.frames.iter().enumerate().map(around).collect();
    }

    fn shapes_of<'a>(
        &'a self,
        frame: usize,
        places: &'a Places,
    ) -> impl Iterator<Item = Rect> + 'a {
        let shapes = self.shapes.iter().zip(&places.shapes);
        shapes.filter(move |(shape, _)| shape.frame == Some(frame)).map(|(_, rect)| *rect)
    }
}

fn frame_name(at: usize) -> String {
    format!("f{at}")
}

fn shape_name(at: usize) -> String {
    format!("s{at}")
}

fn line_name(at: usize) -> String {
    format!("l{at}")
}

impl Rect {
    pub(super) fn left(&self) -> f64 {
        self.x - self.width / 2.0
    }

    pub(super) fn right(&self) -> f64 {
        self.x + self.width / 2.0
    }

    pub(super) fn top(&self) -> f64 {
        self.y - self.height / 2.0
    }

    pub(super) fn bottom(&self) -> f64 {
        self.y + self.height / 2.0
    }

    fn turned(self) -> Self {
        Self { x: self.y, y: self.x, width: self.height, height: self.width }
    }

    fn middle(&self) -> Point {
        Point { x: self.x, y: self.y }
    }
}

impl Places {
    /// Does something as if layers followed each other from top to bottom.
    fn as_if_upright<T>(&mut self, does: impl FnOnce(&mut Self) -> T) -> T {
        if self.sideways {
            self.turn();
        }
        let done = does(self);
        if self.sideways {
            self.turn();
        }
        done
    }

    /// Makes of layers from left to right those from top to bottom, and the other way round.
    fn turn(&mut self) {
        let words = self.ways.iter_mut().filter_map(|way| way.words.as_mut());
        for rect in self.frames.iter_mut().chain(&mut self.shapes).chain(words) {
            *rect = rect.turned();
        }
        for point in self.ways.iter_mut().flat_map(|way| &mut way.points) {
            (point.x, point.y) = (point.y, point.x);
        }
    }

    /// Returns its scale on a page.
    fn scale(&self) -> f64 {
        (PAGE.0 / self.width).min(PAGE.1 / self.height)
    }

    /// Moves all to where it begins at the margin, and says how large it is.
    fn fit(&mut self) {
        let words = self.ways.iter().filter_map(|way| way.words.as_ref());
        let corners = self.frames.iter().chain(&self.shapes).chain(words).flat_map(|rect| {
            [Point { x: rect.left(), y: rect.top() }, Point { x: rect.right(), y: rect.bottom() }]
        });
        let points = self.ways.iter().flat_map(|way| &way.points).copied();
        let all: Vec<Point> = corners.chain(points).collect();
        let least = |of: fn(&Point) -> f64| all.iter().map(of).reduce(f64::min).unwrap_or(0.0);
        let most = |of: fn(&Point) -> f64| all.iter().map(of).reduce(f64::max).unwrap_or(0.0);
        let (left, top) = (least(|at| at.x) - MARGIN, least(|at| at.y) - MARGIN);
        self.width = most(|at| at.x) - left + MARGIN;
        self.height = most(|at| at.y) - top + MARGIN;
        let words = self.ways.iter_mut().filter_map(|way| way.words.as_mut());
        for rect in self.frames.iter_mut().chain(&mut self.shapes).chain(words) {
            (rect.x, rect.y) = (rect.x - left, rect.y - top);
        }
        for point in self.ways.iter_mut().flat_map(|way| &mut way.points) {
            (point.x, point.y) = (point.x - left, point.y - top);
        }
    }
}
