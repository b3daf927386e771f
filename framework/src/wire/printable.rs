//! Words of others for a terminal or a log.
//!
//! Whatever a peer, a file's name or a record says goes through [`printable`] before a person sees
//! it: a name can't move the cursor, begin a line of its own, turn what stands behind it around, or
//! hide.

use std::fmt::{self, Display, Write};

/// The most characters of a foreign text that are shown.
pub const SHOWN_LIMIT: usize = 2048;

/// `text` as it may be shown: what is no visible character is escaped (control characters, C1 too;
/// marks that turn the direction of writing; what has no width or no shape; separators of lines and
/// paragraphs), and what is longer than [`SHOWN_LIMIT`] is cut off.
///
/// ```
/// let text = estafette::wire::printable("can't \u{1b}[2J go\n\u{202e}on").to_string();
/// assert_eq!(text, r"can't \u{1b}[2J go\n\u{202e}on");
/// ```
pub fn printable(text: &str) -> impl Display + fmt::Debug + '_ {
    Printable(text)
}

struct Printable<'t>(&'t str);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, character) in self.0.chars().enumerate() {
            if place == SHOWN_LIMIT {
                return f.write_char('…');
            }
            if is_visible(character) {
                f.write_char(character)?
            } else {
                write!(f, "{}", character.escape_default())?
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Returns whether a character has a shape of its own, or belongs to that of the one before, and
/// moves nothing else.
pub fn is_visible(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\0'..='\u{9f}' => false,
        // What Unicode says to ignore where it is not known, and blanks that are letters: nothing
        // of it is seen.
        '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => false,
        // The standard library knows what else is not printed, and escapes marks that belong to the
        // character before, too, but only where there is none.
        other => {
            let mut pair = [b'a'; 8];
            let length = 1 + other.encode_utf8(&mut pair[1..]).len();
            std::str::from_utf8(&pair[..length])
                .is_ok_and(|pair| pair.escape_debug().nth(1) == Some(other))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_stays() {
        for text in ["can't \"go\" \\ on", "né e\u{301} 東京 Ελλ עברית مرحبا 💥", "a b"]
        {
            assert_eq!(printable(text).to_string(), text);
        }
        assert_eq!(format!("{:?}", printable("a\n")), r#""a\n""#);
    }

    #[test]
    fn what_moves_turns_or_hides_is_escaped() {
        let controls = ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}');
        let turning = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
        let hidden = "\u{ad}\u{34f}\u{115f}\u{1160}\u{17b4}\u{180e}\u{200b}\u{200c}\u{200d}\u{2028}\u{2029}\u{2060}\u{2064}\u{206a}\
                      \u{2800}\u{3164}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{e0001}\u{e0041}\u{e0100}\u{e000}\u{10ffff}\u{1d173}";
        for character in controls.chain(turning.chars()).chain(hidden.chars()) {
            let shown = printable(&format!("a{character}b")).to_string();
            assert!(
                shown.len() > 3 && shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{shown:?}"
            );
        }
    }

    #[test]
    fn it_has_an_end() {
        assert_eq!(printable(&"é".repeat(1 << 20)).to_string().chars().count(), SHOWN_LIMIT + 1);
        assert_eq!(printable(&"x".repeat(SHOWN_LIMIT)).to_string().len(), SHOWN_LIMIT);
    }
}
