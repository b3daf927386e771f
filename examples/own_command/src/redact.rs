//! A filter: fields of CSV are blanked, byte by byte, so that no file is too long for it.

use estafette_actors::source::Filter;
use schemars::JsonSchema;
use serde::Deserialize;

/// The text in place of a field.
const BLANK: &[u8] = b"***";
/// The longest first line, in bytes. Of a file with a longer one, all fields are blanked.
const HEADER: usize = 64 << 10;

/// The settings of [`Redact`].
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The names of the columns that are blanked, as the first line has them, in upper or lower
    /// case.
    pub fields: Vec<String>,
}

/// Blanks columns of CSV (RFC 4180): the first line has their names and stays as it is.
#[derive(Debug)]
pub struct Redact {
    fields: Vec<String>,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    /// The fields of the first line, until it is over.
    header: Vec<Vec<u8>>,
    /// The columns that are blanked, once it is.
    blanked: Option<Vec<bool>>,
    length: usize,
    column: usize,
    quotes: Quotes,
    /// Set if something of this field has come.
    begun: bool,
}

/// The state of a field's quotes. Only one that begins with a quote is quoted; in all others a
/// quote is a byte as any other, as readers of CSV have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Quotes {
    /// Nothing of the field has come.
    #[default]
    Start,
    Without,
    Within,
    /// A quote came within: its end, or the first of two that stand for one.
    Perhaps,
}

impl Quotes {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Start | Self::Perhaps, b'"') => Self::Within,
            (Self::Within, b'"') => Self::Perhaps,
            (Self::Within, _) => Self::Within,
            _ => Self::Without,
        }
    }
}

/// The mark that some programs write before the first line.
const MARK: &[u8] = "\u{feff}".as_bytes();

impl Redact {
    /// A filter with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { fields: settings.fields, state: State::default() }
    }

    fn is_blanked(&self) -> bool {
        let blanked = self.state.blanked.as_ref();
        // A column without a name may be anything.
        blanked.is_some_and(|blanked| blanked.get(self.state.column).copied().unwrap_or(true))
    }

    fn name_columns(&mut self) {
        let is_meant = |name: &Vec<u8>| {
            let name = String::from_utf8_lossy(name);
            let name = name.trim_start_matches('\u{feff}').trim().trim_matches('"').to_lowercase();
            self.fields.iter().any(|field| field.to_lowercase() == name)
        };
        self.state.blanked = Some(self.state.header.iter().map(is_meant).collect());
    }

    fn byte(&mut self, byte: u8, output: &mut Vec<u8>) {
        let state = &mut self.state;
        let ends_line = matches!(byte, b'\n' | b'\r');
        if state.quotes != Quotes::Within && (byte == b',' || ends_line) {
            output.push(byte);
            state.quotes = Quotes::Start;
            if ends_line && state.blanked.is_none() && !state.header.is_empty() {
                self.name_columns();
            }
            self.state.column = if ends_line { 0 } else { self.state.column + 1 };
            self.state.begun = false;
            return;
        }
        if state.blanked.is_some() || MARK.get(state.length) != Some(&byte) {
            state.quotes = state.quotes.after(byte);
        }
        if state.blanked.is_none() {
            output.push(byte);
            state.length += 1;
            state.header.resize_with(state.header.len().max(state.column + 1), Vec::new);
            if let Some(name) = state.header.get_mut(state.column) {
                name.push(byte);
            }
            if state.length >= HEADER {
                state.blanked = Some(Vec::new());
            }
        } else if self.is_blanked() {
            if !std::mem::replace(&mut self.state.begun, true) {
                output.extend_from_slice(BLANK);
            }
        } else {
            output.push(byte);
        }
    }
}

impl Filter for Redact {
    fn push(&mut self, input: &[u8], output: &mut Vec<u8>) {
        input.iter().for_each(|byte| self.byte(*byte, output));
    }

    fn finish(&mut self, _: &mut Vec<u8>) {}

    fn reset(&mut self) {
        self.state = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(input: &str, pieces: usize) -> String {
        let fields = vec!["Card".into(), "pin".into()];
        let mut redact = Redact::new(Settings { fields });
        let mut output = Vec::new();
        for piece in input.as_bytes().chunks(pieces) {
            redact.push(piece, &mut output);
        }
        redact.finish(&mut output);
        String::from_utf8(output).expect("it is text")
    }

    #[test]
    fn columns_are_blanked_wherever_the_input_is_cut() {
        let cases = [
            ("id,card\n1,4711 0815\n2,\n", "id,card\n1,***\n2,\n"),
            (
                "\u{feff}CARD,\"pin\"\r\n\"4,7\"\"\n11\",9\r\n",
                "\u{feff}CARD,\"pin\"\r\n***,***\r\n",
            ),
            // A column without a name.
            ("id,card\n1,2,3\n", "id,card\n1,***,***\n"),
            ("id,name\n1,\"a,b\"\n", "id,name\n1,\"a,b\"\n"),
            // A quote that is none, and one behind the end of a quoted field.
            ("item,card\n5\" pipe,4711\nx,0815\n", "item,card\n5\" pipe,***\nx,***\n"),
            ("item,card\n\"a\"b\"c,4711\nx,0815\n", "item,card\n\"a\"b\"c,***\nx,***\n"),
            ("item,card\n\"a\"\",b\",4711\n", "item,card\n\"a\"\",b\",***\n"),
            ("\u{feff}\"a,b\",pin\n1,2\n", "\u{feff}\"a,b\",pin\n1,***\n"),
            ("", ""),
        ];
        for (input, wanted) in cases {
            for pieces in 1..=input.len().max(1) {
                assert_eq!(redacted(input, pieces), wanted, "in pieces of {pieces}");
            }
        }
    }

    #[test]
    fn of_a_file_whose_first_line_does_not_end_everything_is_blanked() {
        let long = format!("{}secret,4711\n4712,4713", "x".repeat(HEADER));
        assert_eq!(redacted(&long, 1000), format!("{}***,***\n***,***", "x".repeat(HEADER)));
    }
}
