//! Faults of a topology, each at its place in the file, drawn as rustc draws its own.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

/// The most faults that are drawn; all are counted.
const DRAWN: usize = 50;
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
    /// A table that there would have to be.
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

    /// Whether it may be but a consequence of another one, which reading found.
    pub(crate) fn follows(&self, unread: &Fault) -> bool {
        let table = |at: &str| at.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        let broken = table(&unread.at);
        let mut concerned = self.related.iter().map(|(at, _)| at).chain(&self.about);
        let rest = self.at.strip_prefix(unread.at.as_str());
        let is_in = rest.is_some_and(|rest| {
            rest.is_empty() || unread.at.is_empty() || rest.starts_with(['.', '['])
        });
        is_in || concerned.any(|at| table(at) == broken)
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

    pub(crate) fn nearest<'k>(
        mut self,
        given: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Self {
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
fn nearest<'k>(given: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let given = given.replace('-', "_");
    let far = |name: &str| strsim::damerau_levenshtein(&given, &name.replace('-', "_"));
    known.min_by_key(|name| far(name)).filter(|name| far(name) <= 1 + name.chars().count() / 3)
}

/// The places of keys in the text of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(BTreeMap<String, Range<usize>>);

impl Places {
    pub(crate) fn note(&mut self, at: impl Into<String>, span: Range<usize>) {
        self.0.insert(at.into(), span);
    }

    /// The place of a key, or of the nearest table around it.
    fn of(&self, mut at: &str) -> Option<Range<usize>> {
        loop {
            if let Some(span) = self.0.get(at) {
                return Some(span.clone());
            }
            at = &at[..at.rfind(['.', '['])?];
        }
    }
}

/// The faults of a topology, with the text that they are of.
#[derive(Clone, Debug)]
pub struct Report {
    file: String,
    text: String,
    places: Places,
    faults: Vec<Fault>,
}

impl Report {
    pub(crate) fn new(file: String, text: String, places: Places, faults: Vec<Fault>) -> Self {
        let mut report = Self { file, text, places, faults };
        for fault in &mut report.faults {
            if fault.span.is_none() {
                fault.span = report.places.of(&fault.at);
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
        let before = self.text.get(..fault.span.as_ref()?.start)?;
        let line = before.rfind('\n').map_or(before, |end| &before[end + 1..]);
        Some((before.matches('\n').count() + 1, line.chars().count() + 1))
    }

    /// The first faults, 50 at most, drawn as rustc draws its own; `colored` for a terminal.
    pub fn draw(&self, colored: bool) -> String {
        let renderer = if colored { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(COLUMNS);
        let mut drawn = String::new();
        for fault in self.faults.iter().take(DRAWN) {
            drawn.push_str(&renderer.render(&self.groups(fault)));
            drawn.push_str("\n\n");
        }
        let (all, more) = (self.faults.len(), self.faults.len().saturating_sub(DRAWN));
        let faults = if all == 1 { "1 fault".to_owned() } else { format!("{all} faults") };
        let more = if more > 0 { format!(", {more} of them not shown") } else { String::new() };
        drawn.push_str(&format!("{} has {faults}{more}", printable(&self.file)));
        drawn
    }

    fn groups<'a>(&'a self, fault: &'a Fault) -> Vec<Group<'a>> {
        let title = Level::ERROR.primary_title(printable(&fault.message)).id(fault.code);
        let mut group = match &fault.span {
            Some(span) => {
                let snippet = Snippet::source(self.text.as_str()).path(self.file.as_str());
                let primary =
                    AnnotationKind::Primary.span(span.clone()).label(printable(&fault.label));
                let related = fault.related.iter().filter_map(|(at, label)| {
                    let span = self.places.of(at)?;
                    Some(AnnotationKind::Context.span(span).label(printable(label)))
                });
                title.element(snippet.annotation(primary).annotations(related))
            }
            None => {
                let place = format!("at `{}`: {}", printable(&fault.at), printable(&fault.label));
                title.element(Level::NOTE.message(place))
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

/// The same text, without what would move a terminal's cursor.
fn printable(text: &str) -> String {
    text.split('\n')
        .map(|line| estafette::wire::printable(line).to_string())
        .collect::<Vec<_>>()
        .join("\n")
}
