//! Faults of the text itself: what is no TOML, and what is said twice.

use std::ops::Range;

use toml::de::{DeTable, Error};

use crate::fault::{Fault, Places, quoted};

/// The parser's words for a key that is there already.
const TWICE: &str = "duplicate key";

/// Returns `true` if this leaves the rest as it is: the first of two keys counts.
pub(super) fn is_twice(error: &Error) -> bool {
    error.message() == TWICE
}

/// Returns what is no TOML: the first error of each line, as those behind it follow from it.
pub(super) fn faults(text: &str, errors: &[Error]) -> Vec<Fault> {
    let mut last = None;
    let mut faults = Vec::new();
    for error in errors.iter().filter(|error| !is_twice(error)) {
        let line = error.span().and_then(|span| line_of(text, span.start));
        if line.is_none() || line != last {
            faults.push(of(error));
        }
        last = line;
    }
    faults
}

pub(super) fn of(error: &Error) -> Fault {
    let message = error.message();
    let fault = Fault::new("syntax", "", "this is no TOML");
    let fault = Fault { span: error.span(), ..fault }.label(message);
    if message.contains("escape") || message.contains("unicode") {
        fault.help("write \\\\ for each \\, or put the text in single quotes: 'C:\\out'")
    } else if message.contains("must be quoted") {
        fault.help("put the text in quotes")
    } else {
        fault
    }
}

/// Returns what is said twice, without what is in a table that is there twice.
pub(super) fn twice(text: &str, errors: &[Error], places: &mut Places) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut behind = 0;
    for span in errors.iter().filter(|error| is_twice(error)).filter_map(Error::span) {
        if span.start < behind {
            continue;
        }
        let start = line_of(text, span.start).unwrap_or_default();
        if text[start..].starts_with('[') {
            let rest = &text[span.start..];
            behind = rest.find("\n[").map_or(text.len(), |next| span.start + next);
        }
        faults.push(said_twice(text, start, span, places));
    }
    faults
}

fn said_twice(text: &str, line: usize, span: Range<usize>, places: &mut Places) -> Fault {
    let key = text.get(span.clone()).unwrap_or_default();
    let at = key_at(text, line, span.end);
    if let Some(at) = &at
        && let Some(first) = first_header(text, line, span.end)
    {
        // The parser keeps the place of the last one.
        places.note(at, first + span.start - line..first + span.end - line);
    }
    let name = at.clone().unwrap_or_else(|| key.to_owned());
    let at = at.filter(|at| places.of_value(at).is_some_and(|first| first.start < span.start));
    let fault = Fault::new("twice", name.as_str(), format!("there are two `{name}`"));
    let fault = Fault { span: Some(span), ..fault }.label("the second one");
    let fault = fault.help("choose another name, or leave one of them out");
    match at {
        Some(at) => fault.related(at, "the first one"),
        None => fault,
    }
}

/// The whole key that ends at `end`, in the line that begins at `line`; `None` within a table on
/// one line.
fn key_at(text: &str, line: usize, end: usize) -> Option<String> {
    let key = text.get(line..end)?.trim();
    if let Some(table) = key.strip_prefix('[') {
        return parts(table);
    }
    let header = match text[..line].rfind("\n[") {
        Some(before) => before + 1,
        None if text.starts_with('[') => 0,
        None => return parts(key),
    };
    let header = text[header..].lines().next()?.split(']').next()?.strip_prefix('[')?;
    Some(format!("{}.{}", parts(header)?, parts(key)?))
}

/// A key as faults name it, from one as TOML has it.
fn parts(key: &str) -> Option<String> {
    let text = format!("{key} = 0");
    let table = DeTable::parse(&text).ok()?;
    let (mut at, mut table) = (String::new(), table.get_ref());
    loop {
        let (name, value) = table.iter().next()?;
        let dot = if at.is_empty() { "" } else { "." };
        at = format!("{at}{dot}{}", quoted(name.get_ref()));
        match value.get_ref().as_table() {
            Some(inner) => table = inner,
            None => return Some(at),
        }
    }
}

/// Returns the start of the first line that has the same header as this one, if it is one.
fn first_header(text: &str, line: usize, end: usize) -> Option<usize> {
    let header = text.get(line..end).filter(|header| header.starts_with('['))?;
    let header = format!("\n{header}]");
    match text.starts_with(&header[1..]) {
        true => Some(0),
        false => text[..line].find(&header).map(|before| before + 1),
    }
}

/// The byte at which the line of this byte begins.
fn line_of(text: &str, at: usize) -> Option<usize> {
    Some(text.get(..at)?.rfind('\n').map_or(0, |end| end + 1))
}
