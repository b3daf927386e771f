//! The text of the picture.

use std::fmt::{Arguments, Write as _};

use super::super::layout::{Places, Point, Rect, Way};
use super::super::words::shown;
use super::curve;
use super::scene::{ABOVE, Arrow, CHIPS, Card, DETAIL, Head, INDENT, Scene, TITLE, Words};

/// Colours and fonts, light and dark.
pub(super) const STYLE: &str = include_str!("style.css");
/// The same of how things are.
const LIVE: &str = include_str!("live.css");

pub(super) fn write(scene: &Scene, places: &Places) -> String {
    let mut svg = Svg(String::new());
    let (width, height) = (places.width.ceil(), places.height.ceil());
    svg.line(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"estafette-graph\" role=\"img\" \
         aria-labelledby=\"estafette-title estafette-about\" width=\"{width}\" \
         height=\"{height}\" viewBox=\"0 0 {width} {height}\">"
    ));
    svg.line(format_args!("<title id=\"estafette-title\">Topology</title>"));
    svg.line(format_args!("<desc id=\"estafette-about\">{}</desc>", escaped(&scene.about)));
    let live = if scene.is_live { LIVE } else { "" };
    svg.line(format_args!("<style>\n{STYLE}{live}</style>"));
    svg.line(format_args!("<rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>"));
    for (head, rect) in scene.heads.iter().zip(&places.frames) {
        svg.frame(head, rect);
    }
    for (arrow, way) in scene.arrows.iter().zip(&places.ways) {
        let ends = [arrow.from, arrow.to].map(|card| &*scene.cards[card].id);
        svg.arrow(arrow, ends, way, places.sideways);
    }
    for (head, rect) in scene.heads.iter().zip(&places.frames) {
        svg.head(head, rect);
    }
    for (card, rect) in scene.cards.iter().zip(&places.shapes) {
        svg.card(card, rect);
    }
    svg.0.push_str("</svg>\n");
    svg.0
}

struct Svg(String);

impl Svg {
    fn line(&mut self, line: Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a string takes everything");
    }

    fn frame(&mut self, head: &Head, rect: &Rect) {
        let missing = if head.is_missing { " missing" } else { "" };
        self.line(format_args!(
            "<g class=\"around{missing}{}\" data-id=\"{}\"><title>{}</title>",
            head.state,
            escaped(&head.id),
            lines(&head.about)
        ));
        self.rect("frame", rect, 10.0);
        self.line(format_args!("</g>"));
    }

    /// The words of a frame; over edges, which may come in there.
    fn head(&mut self, head: &Head, rect: &Rect) {
        let (x, mut y) = (rect.left() + 14.0, rect.top() + 23.0);
        self.line(format_args!("<g class=\"over\">"));
        self.text("head", x, y, &head.title);
        for words in &head.details {
            y += DETAIL;
            self.words(words, x, y);
        }
        self.line(format_args!("</g>"));
    }

    fn card(&mut self, card: &Card, rect: &Rect) {
        let missing = if card.is_missing { " missing" } else { "" };
        let (id, about) = (escaped(&card.id), lines(&card.about));
        let (x, mut y) = (rect.left() + INDENT, rect.top() + ABOVE);
        if card.class == Card::EMPTY {
            return card.details.iter().for_each(|words| self.words(words, rect.left(), rect.y));
        }
        self.line(format_args!(
            "<g class=\"{}{missing}{}\" data-id=\"{id}\">",
            card.class, card.state
        ));
        self.line(format_args!("<title>{about}</title>"));
        self.rect("card", rect, 6.0);
        self.line(format_args!(
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"4\" height=\"{:.1}\" rx=\"2\"/>",
            rect.left() + 5.0,
            rect.top() + 7.0,
            rect.height - 14.0
        ));
        self.text("title", x, y + 13.0, &card.title);
        y += TITLE;
        for words in &card.details {
            self.words(words, x, y + 11.0);
            y += DETAIL;
        }
        for row in &card.chips {
            for (step, at, width) in row {
                self.line(format_args!(
                    "<rect class=\"chip\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
                     height=\"18\" rx=\"9\"/>",
                    x + at,
                    y + 3.0
                ));
                self.middle("step", x + at + width / 2.0, y + 16.0, step);
            }
            y += CHIPS;
        }
        self.line(format_args!("</g>"));
    }

    fn arrow(&mut self, arrow: &Arrow, ends: [&str; 2], way: &Way, sideways: bool) {
        let [.., before, end] = way.points.as_slice() else { return };
        let class = if arrow.crosses { "crosses" } else { "inside" };
        let is_ring = arrow.from == arrow.to;
        let path = match is_ring {
            true => curve::ring(&way.points),
            false => curve::path(&way.points, sideways),
        };
        let route = arrow
            .route
            .as_ref()
            .map_or_else(String::new, |route| format!(" data-route=\"{}\"", escaped(route)));
        let [from, to] = ends.map(escaped);
        self.line(format_args!(
            "<g class=\"{class}{}\" data-from=\"{from}\" data-to=\"{to}\"{route}><title>{}</title>",
            arrow.state,
            escaped(&arrow.about)
        ));
        self.line(format_args!("<path class=\"way\" d=\"{path}\"/>"));
        self.tip(before, end, sideways || is_ring);
        if let Some((words, at)) = arrow.words.as_ref().zip(way.words) {
            self.middle("words", at.x, at.y + 4.0, words);
        }
        self.line(format_args!("</g>"));
    }

    fn tip(&mut self, before: &Point, end: &Point, sideways: bool) {
        // Edges reach boxes along the direction of the layers.
        let (x, y) = if sideways {
            (5.0 * (end.x - before.x).signum(), 0.0)
        } else {
            (0.0, 5.0 * (end.y - before.y).signum())
        };
        self.line(format_args!(
            "<path class=\"tip\" d=\"M{:.1},{:.1}L{:.1},{:.1}L{:.1},{:.1}Z\"/>",
            end.x,
            end.y,
            end.x - 1.8 * x - 0.9 * y,
            end.y - 1.8 * y - 0.9 * x,
            end.x - 1.8 * x + 0.9 * y,
            end.y - 1.8 * y + 0.9 * x
        ));
    }

    fn rect(&mut self, class: &str, rect: &Rect, round: f64) {
        self.line(format_args!(
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
             rx=\"{round}\"/>",
            rect.left(),
            rect.top(),
            rect.width,
            rect.height
        ));
    }

    fn words(&mut self, words: &Words, x: f64, y: f64) {
        self.text(if words.is_fault { "fault" } else { "detail" }, x, y, &words.text);
    }

    fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = escaped(text);
        self.line(format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"));
    }

    fn middle(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = escaped(text);
        self.line(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{text}</text>"
        ));
    }
}

/// Lines of text as XML has it.
fn lines(lines: &[String]) -> String {
    lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n")
}

/// A line of text as XML has it.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in shown(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}
