//! The things that are drawn, before they have a place.

use super::super::layout::{Frame, Line, Plan, Shape};
use super::super::words::{cut, shown, width};

/// The narrowest and the widest box, in pixels.
const NARROW: f64 = 116.0;
const WIDE: f64 = 280.0;

/// From the left border of a box to its words, and from these to the right one.
pub(super) const INDENT: f64 = 16.0;
const RIGHT: f64 = 12.0;

/// Height of a box above and below its words, and of each line of them.
pub(super) const ABOVE: f64 = 8.0;
pub(super) const TITLE: f64 = 18.0;
pub(super) const DETAIL: f64 = 16.0;
pub(super) const CHIPS: f64 = 24.0;

/// Sizes of fonts, as in the style.
pub(super) const HEAD_SIZE: f64 = 15.0;
pub(super) const TITLE_SIZE: f64 = 13.5;
pub(super) const SMALL_SIZE: f64 = 11.0;

/// The widest words of an edge.
const WORDS_WIDE: f64 = 160.0;

#[derive(Default)]
pub(super) struct Scene {
    /// A description for a person who does not see it.
    pub(super) about: String,
    /// Set if it shows how things are.
    pub(super) is_live: bool,
    pub(super) heads: Vec<Head>,
    pub(super) cards: Vec<Card>,
    pub(super) arrows: Vec<Arrow>,
}

/// A frame around cards.
pub(super) struct Head {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) details: Vec<Words>,
    /// Lines that are told when one points at it.
    pub(super) about: Vec<String>,
    pub(super) is_missing: bool,
    /// The class of how it is, or none.
    pub(super) state: &'static str,
    pub(super) width: f64,
}

/// A line of small words.
pub(super) struct Words {
    pub(super) text: String,
    pub(super) is_fault: bool,
}

/// A box.
pub(super) struct Card {
    pub(super) id: String,
    pub(super) class: &'static str,
    pub(super) title: String,
    pub(super) details: Vec<Words>,
    /// Rows of steps, each with its place in the row and its width.
    pub(super) chips: Vec<Vec<(String, f64, f64)>>,
    /// Lines that are told when one points at it.
    pub(super) about: Vec<String>,
    pub(super) is_missing: bool,
    /// The class of how it is, or none.
    pub(super) state: &'static str,
    pub(super) frame: Option<usize>,
    pub(super) width: f64,
}

/// An edge.
pub(super) struct Arrow {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The route, if it is of one alone.
    pub(super) route: Option<String>,
    pub(super) words: Option<String>,
    pub(super) about: String,
    pub(super) crosses: bool,
    /// The class of how it is, or none.
    pub(super) state: &'static str,
}

impl Words {
    pub(super) fn new(text: &str) -> Self {
        Self { text: cut(&shown(text), SMALL_SIZE, WIDE - INDENT - RIGHT), is_fault: false }
    }

    pub(super) fn fault(text: &str) -> Self {
        Self { is_fault: true, ..Self::new(text) }
    }

    fn width(&self) -> f64 {
        width(&self.text, SMALL_SIZE)
    }
}

impl Head {
    pub(super) fn new(id: &str, title: &str, details: Vec<Words>) -> Self {
        let title = cut(&shown(title), HEAD_SIZE, WIDE);
        let widths = details.iter().map(Words::width);
        let width = widths.fold(width(&title, HEAD_SIZE), f64::max);
        let (about, is_missing, state) = (Vec::new(), false, "");
        Self { id: id.to_owned(), title, details, about, is_missing, state, width }
    }

    fn height(&self) -> f64 {
        TITLE + DETAIL * self.details.len() as f64 + 16.0
    }
}

impl Card {
    /// The class of what is no box, but words alone.
    pub(super) const EMPTY: &'static str = "empty";

    pub(super) fn new(id: &str, class: &'static str, title: &str, details: Vec<Words>) -> Self {
        let title = cut(&shown(title), TITLE_SIZE, WIDE - INDENT - RIGHT);
        let widths = details.iter().map(Words::width);
        let inner = widths.fold(width(&title, TITLE_SIZE), f64::max);
        Self {
            id: id.to_owned(),
            class,
            title,
            details,
            chips: Vec::new(),
            about: Vec::new(),
            is_missing: false,
            state: "",
            frame: None,
            width: (inner + INDENT + RIGHT).max(NARROW),
        }
    }

    /// Steps in rows, one after the other.
    pub(super) fn with_chips(mut self, steps: &[String]) -> Self {
        let most = WIDE - INDENT - RIGHT;
        let mut at = f64::INFINITY;
        for step in steps {
            let step = cut(&shown(step), SMALL_SIZE, most - 14.0);
            let wide = width(&step, SMALL_SIZE) + 14.0;
            if at + wide > most {
                self.chips.push(Vec::new());
                at = 0.0;
            }
            self.width = self.width.max(INDENT + at + wide + RIGHT);
            self.chips.last_mut().expect("a first row").push((step, at, wide));
            at += wide + 5.0;
        }
        self
    }

    /// Returns the card of a frame without parts.
    pub(super) fn empty() -> Self {
        Self::new("", Self::EMPTY, "", vec![Words::new("nothing begins or ends here")])
    }

    fn height(&self) -> f64 {
        if self.class == Self::EMPTY {
            return DETAIL;
        }
        let lines = DETAIL * self.details.len() as f64 + CHIPS * self.chips.len() as f64;
        ABOVE + TITLE + lines + ABOVE
    }
}

impl Arrow {
    pub(super) fn words(text: &str) -> String {
        cut(&shown(text), SMALL_SIZE, WORDS_WIDE)
    }
}

impl Scene {
    /// Returns the things to be placed.
    pub(super) fn plan(&self) -> Plan {
        let frames = self.heads.iter().map(|head| Frame { head: head.height() });
        // A frame is as wide as what is in it, so this is at least as wide as the frame's words.
        let shapes = self.cards.iter().map(|card| {
            let head = card.frame.map_or(0.0, |frame| self.heads[frame].width);
            Shape { width: card.width.max(head), height: card.height(), frame: card.frame }
        });
        let lines = self.arrows.iter().map(|arrow| Line {
            from: arrow.from,
            to: arrow.to,
            words: arrow.words.as_ref().map(|words| (width(words, SMALL_SIZE) + 8.0, 16.0)),
        });
        Plan { frames: frames.collect(), shapes: shapes.collect(), lines: lines.collect() }
    }
}
