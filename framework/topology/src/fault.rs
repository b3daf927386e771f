//! Faults of a topology, each at its place in the file, drawn as rustc draws its own.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::iter;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

/// The most faults that are drawn; all are counted.
const DRAWN: usize = 50;
/// The most faults that say what may have been meant, or what there is.
pub(crate) const HINTED: usize = 200;
/// Columns of a drawing: code keeps its own width.
const COLUMNS: usize = 120;

/// A fault of a topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Fault {
    /// A short name of its kind, such as `unknown-node`. It stays the same from version to version.
    pub code: &'static str,
    /// The fault, for a person.
    pub message: String,
    /// The place: the key, such as `route.letters.to`.
    pub at: String,
    /// A few words that stand at the place.
    pub label: String,
    /// Other places that belong to it, each with a few words.
    pub related: Vec<(String, String)>,
    /// The likely fix.
    pub help: Option<String>,
    /// The bytes of the file that are wrong. `None`: the topology has no file, or the fault is of
    /// what is not there.
    pub span: Option<Range<usize>>,
    /// A key that has to do with it: of what is not there, or was meant by another name.
    #[serde(skip)]
    pub(crate) about: Option<String>,
}

impl Fault {
    pub(crate) fn new(
        code: &'static str,
        at: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            at: at.into(),
            label: String::new(),
            related: Vec::new(),
            help: None,
            span: None,
            about: None,
        }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn related(mut self, at: impl Into<String>, label: impl Into<String>) -> Self {
        self.related.push((at.into(), label.into()));
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn about(mut self, at: impl Into<String>) -> Self {
        self.about = Some(at.into());
        self
    }

    /// Names what may have been meant, or what there is, where no more than [`HINTED`] faults were
    /// found `before`: each looks at all names.
    pub(crate) fn nearest<'k>(
        mut self,
        before: usize,
        given: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Self {
        if before >= HINTED {
            return self;
        }
        let known: Vec<_> = known.into_iter().collect();
        if let Some(nearest) = nearest(given, known.iter().copied()) {
            self.help = Some(format!("did you mean `{nearest}`?"));
        } else if !known.is_empty() && self.help.is_none() {
            let shown = known.iter().take(12).copied().collect::<Vec<_>>().join(", ");
            let more = known.len().saturating_sub(12);
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            self.help = Some(format!("known are: {shown}{more}"));
        }
        self
    }
}

/// The known one that is most like a name, if one is near.
pub(crate) fn nearest<'k>(given: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let given = given.replace('-', "_");
    let length = given.chars().count();
    let mut best = None;
    for name in known {
        let long = name.chars().count();
        let most = (long.max(length) / 3).max(1);
        if long.abs_diff(length) > most {
            continue;
        }
        let far = strsim::damerau_levenshtein(&given, &name.replace('-', "_"));
        if far <= most && far < length && best.is_none_or(|(least, _)| far < least) {
            best = Some((far, name));
        }
    }
    best.map(|(_, name)| name)
}

/// A name as a part of a key, as TOML writes it: in quotes, if it has other characters than ASCII
/// letters, digits, `_` and `-`.
pub(crate) fn quoted(name: &str) -> Cow<'_, str> {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(is_bare) {
        return name.into();
    }
    let mut quoted = String::from("\"");
    for c in name.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted.into()
}

/// A key, and all that it is in, the whole file last.
fn around(at: &str) -> impl Iterator<Item = &str> {
    iter::successors(Some(at), |at| {
        (!at.is_empty()).then(|| &at[..at.rfind(['.', '[']).unwrap_or_default()])
    })
}

/// The places that could not be read: what else is found there, or of what is there, may but follow
/// from it.
pub(crate) struct Unread<'f> {
    places: BTreeSet<&'f str>,
    around: BTreeSet<&'f str>,
}

impl<'f> Unread<'f> {
    pub(crate) fn of(faults: &'f [Fault]) -> Self {
        let mut unread = Self { places: BTreeSet::new(), around: BTreeSet::new() };
        for fault in faults {
            for at in [Some(&fault.at), fault.about.as_ref()].into_iter().flatten() {
                unread.places.insert(at);
                unread.around.extend(around(at));
            }
        }
        unread
    }

    /// Returns `true` if a fault may be but a consequence.
    pub(crate) fn explains(&self, fault: &Fault) -> bool {
        let is_in = |at: &str| around(at).any(|at| self.places.contains(at));
        let mut concerned = fault.related.iter().map(|(at, _)| at).chain(&fault.about);
        is_in(&fault.at) || concerned.any(|at| is_in(at) || self.around.contains(at.as_str()))
    }
}

/// The places of keys in the text of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    keys: BTreeMap<String, Range<usize>>,
    values: BTreeMap<String, Range<usize>>,
}

impl Places {
    pub(crate) fn note_key(&mut self, at: &str, span: Range<usize>) {
        self.keys.insert(at.to_owned(), span);
    }

    pub(crate) fn note(&mut self, at: impl Into<String>, span: Range<usize>) {
        self.values.insert(at.into(), span);
    }

    /// The place of what is said of a key, of a table that of its name.
    pub(crate) fn of_value(&self, at: &str) -> Option<&Range<usize>> {
        self.values.get(at)
    }

    /// The place of a key, or of the nearest table around it.
    fn of(&self, at: &str) -> Option<Range<usize>> {
        around(at).find_map(|at| self.values.get(at)).cloned()
    }

    fn of_fault(&self, fault: &Fault) -> Option<Range<usize>> {
        // What is not known is the key itself, whatever is said of it.
        let is_key = matches!(fault.code, "unknown-key" | "unknown-kind");
        is_key.then(|| self.keys.get(&fault.at).cloned()).flatten().or_else(|| self.of(&fault.at))
    }
}

/// The faults of a topology, with the text that they are of.
#[derive(Clone, Debug)]
pub struct Report {
    file: String,
    text: String,
    /// The byte at which each line begins.
    lines: Vec<usize>,
    places: Places,
    faults: Vec<Fault>,
}

impl Report {
    pub(crate) fn new(file: String, text: String, places: Places, faults: Vec<Fault>) -> Self {
        let ends = text.match_indices('\n').map(|(end, _)| end + 1);
        let lines = iter::once(0).chain(ends).collect();
        let mut report = Self { file, text, lines, places, faults };
        for fault in &mut report.faults {
            if fault.span.is_none() {
                fault.span = report.places.of_fault(fault);
            }
        }
        report.faults.sort_by_key(|fault| fault.span.as_ref().map_or(0, |span| span.start));
        report
    }

    /// The faults, in the order of their places.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// The file, as its name was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line and the column of a fault, each from 1, if it has a place in the file. Columns are
    /// characters.
    pub fn position(&self, fault: &Fault) -> Option<(usize, usize)> {
        let start = fault.span.as_ref()?.start;
        let line = self.lines.partition_point(|begin| *begin <= start);
        let before = self.text.get(*self.lines.get(line.checked_sub(1)?)?..start)?;
        Some((line, before.chars().count() + 1))
    }

    /// The first faults, 50 at most, drawn as rustc draws its own; `colored` for a terminal.
    pub fn draw(&self, colored: bool) -> String {
        let renderer = if colored { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(COLUMNS);
        let mut drawn = String::new();
        let file = printable(&self.file);
        for fault in self.faults.iter().take(DRAWN) {
            drawn.push_str(&renderer.render(&self.groups(fault, &file)));
            drawn.push_str("\n\n");
        }
        let (all, more) = (self.faults.len(), self.faults.len().saturating_sub(DRAWN));
        let faults = if all == 1 { "1 fault".to_owned() } else { format!("{all} faults") };
        let more = if more > 0 { format!(", {more} of them not shown") } else { String::new() };
        drawn.push_str(&format!("{file} has {faults}{more}"));
        drawn
    }

    fn groups<'a>(&'a self, fault: &'a Fault, file: &'a str) -> Vec<Group<'a>> {
        let title = Level::ERROR.primary_title(printable(&fault.message)).id(fault.code);
        let mut group = match &fault.span {
            Some(span) => {
                let snippet = Snippet::source(self.text.as_str()).path(file);
                let primary =
                    AnnotationKind::Primary.span(span.clone()).label(printable(&fault.label));
                let related = fault.related.iter().filter_map(|(at, label)| {
                    let span = self.places.of(at)?;
                    Some(AnnotationKind::Context.span(span).label(printable(label)))
                });
                title.element(snippet.annotation(primary).annotations(related))
            }
            None => {
                let place = match fault.at.as_str() {
                    "" => format!("in {file}"),
                    at => format!("at `{}`", printable(at)),
                };
                let label = if fault.label.is_empty() { "" } else { ": " };
                title.element(Level::NOTE.message(place + label + &printable(&fault.label)))
            }
        };
        if let Some(help) = &fault.help {
            group = group.element(Level::HELP.message(printable(help)));
        }
        vec![group]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.draw(false))
    }
}

impl std::error::Error for Report {}

/// The same text, on one line and without what would move a terminal's cursor.
fn printable(text: &str) -> String {
    estafette::wire::printable(text).to_string()
}
