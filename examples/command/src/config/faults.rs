//! The faults of a configuration file, each with its line and its key.

use std::fmt::Display;
use std::path::Path;

use crate::error::CommandError;
use crate::settings;
use crate::units::printable;

/// The most faults that are told.
const TOLD: usize = 32;

pub(super) struct Faults<'a> {
    path: &'a Path,
    text: &'a str,
    /// With the place in the text.
    found: Vec<(usize, String)>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, found: Vec::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// A fault of this key, which stands there.
    pub(super) fn add(&mut self, at: usize, key: &str, why: impl Display) {
        self.found.push((at, format!("`{}`: {why}", printable(key))));
    }

    pub(super) fn syntax(&mut self, error: &toml::de::Error) {
        let at = error.span().map_or(0, |span| span.start);
        self.found.push((at, printable(error.message())));
    }

    /// A key that is none of the known ones.
    pub(super) fn unknown<'k>(
        &mut self,
        at: usize,
        key: &str,
        known: impl Iterator<Item = &'k str>,
    ) {
        self.add(at, key, format!("there is no such key{}", nearest(key, known)));
    }

    /// A value that could not be read, in serde's words.
    pub(super) fn of_value(&mut self, at: usize, key: &str, message: &str) {
        let Some((unknown, known)) = unknown_in(message) else {
            return self.add(at, key, printable(message));
        };
        let last = key.rsplit('.').next().unwrap_or(key);
        let inner = if unknown == last { key.to_owned() } else { format!("{key}.{unknown}") };
        self.add(
            at,
            &inner,
            format!("there is no such key{}", nearest(unknown, known.into_iter())),
        );
    }

    /// A kind of inbox that the program does not have.
    pub(super) fn unknown_kind<'k>(
        &mut self,
        at: usize,
        kind: &str,
        why: &str,
        known: impl Iterator<Item = &'k str>,
    ) {
        self.add(at, "inbox.kind", format!("{why}{}", nearest(kind, known)));
    }

    /// A setting of an inbox, or all of them, in serde's words.
    pub(super) fn of_inbox(&mut self, at: usize, name: &str, kind: &str, key: &str, why: &str) {
        let of = format!("of inbox `{}`, of the kind {kind:?}", printable(name));
        let why = match unknown_in(why) {
            Some((unknown, known)) if unknown == key => {
                format!("there is no such key{}", nearest(unknown, known.into_iter()))
            }
            _ => printable(why),
        };
        let key = if key.is_empty() { "inbox".to_owned() } else { format!("inbox.{key}") };
        self.add(at, &key, format!("{why} ({of})"));
    }

    /// File and line of a place.
    pub(super) fn place(&self, at: usize) -> String {
        let line = 1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        format!("{}:{line}", settings::shown(self.path))
    }

    /// An error, if there are any.
    pub(super) fn said(&mut self) -> Result<(), CommandError> {
        self.found.sort();
        let found = self.found.iter().map(|(at, fault)| format!("{}: {fault}", self.place(*at)));
        said(self.path, found.collect())
    }
}

/// An error of all these, if there are any.
pub(super) fn said(path: &Path, faults: Vec<String>) -> Result<(), CommandError> {
    let (path, count) = (settings::shown(path), faults.len());
    let told = &faults[..count.min(TOLD)];
    let message = match (told, count - told.len()) {
        ([], _) => return Ok(()),
        ([one], _) => one.clone(),
        (_, 0) => format!("{path} has {count} faults:\n{}", told.join("\n")),
        (_, more) => format!("{path} has faults:\n{}\nand {more} more", told.join("\n")),
    };
    Err(CommandError::usage(message, "framework/docs/config.md has all keys and what they take"))
}

/// Reads what serde says of a field that a type does not have: the field, and those it has.
fn unknown_in(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field `")?.split('`').step_by(2);
    let unknown = quoted.next()?;
    Some((unknown, quoted.collect()))
}

/// The known one that is most like a key.
fn nearest<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> String {
    let key = key.replace('-', "_");
    let far = |name: &str| strsim::damerau_levenshtein(&key, name);
    let nearest = known.min_by_key(|name| far(name)).filter(|name| far(name) <= 1 + name.len() / 3);
    nearest.map_or_else(String::new, |name| format!("; the nearest is `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_named_if_one_is_near() {
        let nearest = |key| nearest(key, ["listen", "log_format", "into"].into_iter());
        assert_eq!(nearest("lisen"), "; the nearest is `listen`");
        assert_eq!(nearest("log-format"), "; the nearest is `log_format`");
        assert_eq!(nearest("colour"), "");
        assert_eq!(
            unknown_in("unknown field `a`, expected one of `b`, `c`"),
            Some(("a", vec!["b", "c"]))
        );
        assert_eq!(unknown_in("unknown field `a`, there are no fields"), Some(("a", vec![])));
        assert_eq!(unknown_in("invalid type"), None);
    }
}
