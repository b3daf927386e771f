//! Names as they can be drawn: how wide they are, cut where they are too long, and without what
//! would change how the rest is read.

use estafette::wire::is_visible;
use unicode_width::UnicodeWidthChar;

/// A name, in which what nobody sees is a mark: control characters, line breaks, marks of direction.
pub(super) fn shown(name: &str) -> String {
    name.chars().map(|c| if is_hidden(c) { '\u{FFFD}' } else { c }).collect()
}

fn is_hidden(c: char) -> bool {
    match c {
        // These give letters of Persian or Hindi, and emoji, their shape.
        '\u{200C}' | '\u{200D}' | '\u{FE0F}' => false,
        // XML has no word for these.
        '\u{FFFE}' | '\u{FFFF}' => true,
        _ => !is_visible(c),
    }
}

/// Returns the width of a text, in pixels, about: fonts differ, and this is a wide one.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(em).sum::<f64>() * size
}

/// The width of a character, of the size of its font.
fn em(c: char) -> f64 {
    match c {
        'f' | 'i' | 'j' | 'l' | 'r' | 't' | 'I' | ' ' | '.' | ',' | ':' | ';' | '\'' | '|' => 0.38,
        '!' | '(' | ')' | '[' | ']' | '/' | '\\' | '-' | '`' | '"' => 0.42,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' => 0.98,
        'A'..='Z' | '0'..='9' => 0.68,
        _ if c.is_ascii() => 0.62,
        _ => match c.width().unwrap_or(0) {
            0 => 0.0,
            1 if c < '\u{700}' => 0.7,
            // Few fonts have all of these, and what has no shape is drawn as a wide box.
            _ => 1.05,
        },
    }
}

/// A text that is no wider than this, with an ellipsis for what was left out.
pub(super) fn cut(text: &str, size: f64, most: f64) -> String {
    if width(text, size) <= most {
        return text.to_owned();
    }
    let mut room = most / size - em('…');
    let mut kept = text.chars().take_while(|&c| {
        room -= em(c);
        room >= 0.0
    });
    let kept: String = kept.by_ref().collect();
    // A joiner without what it joins draws a circle.
    format!("{}…", kept.trim_end_matches(['\u{200D}', ' ']))
}
