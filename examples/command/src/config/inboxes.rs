//! `[[inbox]]`: inboxes by name, of the kinds that the program knows.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use estafette::node::{KindError, StageRegistry};
use estafette::pipeline::Inbox;
use estafette::remote::Directory;
use estafette_actors::sink::NullSink;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::faults::Faults;
use crate::arguments::InboxTable;
use crate::error::CommandError;
use crate::settings;
use crate::units::printable;

/// The kind whose folder is looked at as that of `--into` is.
const FOLDER: &str = "folder";

/// All of them; their faults are said.
pub(super) fn read(
    value: Spanned<DeValue<'_>>,
    registry: &StageRegistry,
    faults: &mut Faults<'_>,
) -> Vec<InboxTable> {
    let span = value.span();
    let DeValue::Array(tables) = value.into_inner() else {
        faults.add(span.start, "inbox", "is a list of tables: [[inbox]]");
        return Vec::new();
    };
    // Tells which names there can be, and which are taken.
    let names = Directory::default();
    tables
        .into_iter()
        .filter_map(|table| {
            let span = table.span();
            match table.into_inner() {
                DeValue::Table(table) => one(Spanned::new(span, table), &names, registry, faults),
                _ => {
                    faults.add(span.start, "inbox", "is a table: [[inbox]]");
                    None
                }
            }
        })
        .collect()
}

fn one(
    table: Spanned<DeTable<'_>>,
    names: &Directory,
    registry: &StageRegistry,
    faults: &mut Faults<'_>,
) -> Option<InboxTable> {
    let start = table.span().start;
    let mut settings = table.into_inner();
    let mut text = |key: &str| match settings.remove_entry(key).map(|(_, value)| value) {
        Some(value) => match value.get_ref().as_str() {
            Some(text) => Some((value.span().start, text.to_owned())),
            None => {
                faults.add(value.span().start, &format!("inbox.{key}"), "is a text");
                None
            }
        },
        None => {
            faults.add(start, &format!("inbox.{key}"), "is missing");
            None
        }
    };
    let (name, kind) = (text("name"), text("kind"));
    let ((name_at, name), (kind_at, kind)) = name.zip(kind)?;
    let taken = names.receive(&name, std::sync::Arc::new(NullSink::new()));
    if let Err(error) = taken {
        faults.add(name_at, "inbox.name", error);
    }
    if !registry.inbox_kinds().any(|known| known == kind) {
        let error = registry.inbox_of(&kind, toml::Table::new()).err()?;
        faults.unknown_kind(kind_at, &kind, &error.to_string(), registry.inbox_kinds());
        return None;
    }
    if check(&settings, start, &name, &kind, registry, faults) > 0 {
        return None;
    }
    let place = faults.place(start);
    let settings = Deserializer::from(Spanned::new(start..start, settings));
    // What was read once is read again.
    let settings = toml::Table::deserialize(settings).ok()?;
    Some(InboxTable { name, kind, settings, place })
}

/// Has each setting read by itself, then all of them together; how many faults there are.
fn check(
    settings: &DeTable<'_>,
    start: usize,
    name: &str,
    kind: &str,
    registry: &StageRegistry,
    faults: &mut Faults<'_>,
) -> usize {
    let read = |settings: DeTable<'_>| {
        let settings = Deserializer::from(Spanned::new(start..start, settings));
        match registry.inbox_of(kind, settings) {
            Err(KindError::Settings { why, .. }) => {
                Err(why.lines().next().unwrap_or("").to_owned())
            }
            _ => Ok(()),
        }
    };
    let before = faults.count();
    let mut told = BTreeSet::new();
    for (key, value) in settings {
        // Alone it lacks what the others say.
        let one = DeTable::from_iter([(key.clone(), value.clone())]);
        if let Err(why) = read(one)
            && !why.starts_with("missing field")
        {
            faults.of_inbox(key.span().start, name, kind, key.get_ref(), &why);
            told.insert(why);
        }
    }
    if let Err(why) = read(settings.clone())
        && !told.contains(&why)
        && told.is_empty()
    {
        faults.of_inbox(start, name, kind, "", &why);
    }
    faults.count() - before
}

impl InboxTable {
    /// The folder that its deliveries go to, if it is one.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        let into = self.settings.get("into").filter(|_| self.kind == FOLDER)?;
        into.as_str().map(|into| Path::new(into).to_owned())
    }

    /// Says where its deliveries go, for a person.
    pub(crate) fn goes_to(&self) -> String {
        let name = printable(&self.name);
        match self.folder() {
            Some(folder) => format!("deliveries to {name} go to {}", settings::shown(&folder)),
            None => format!("its kind {:?} says what becomes of deliveries to {name}", self.kind),
        }
    }

    /// The inbox; a folder is made and opened.
    pub(crate) fn make(&self, registry: &StageRegistry) -> Result<Box<dyn Inbox>, CommandError> {
        let made = registry.inbox_of(&self.kind, self.settings.clone());
        let made = made.map_err(|error| self.fault(error))?;
        made.make().map_err(|error| self.unmade(error))
    }

    /// The words for its folder in a fault of another one: by its name and its place.
    pub(crate) fn named(&self) -> String {
        format!("that of inbox `{}` ({})", printable(&self.name), self.place)
    }

    /// An error of this inbox.
    pub(crate) fn fault(&self, error: impl Display) -> CommandError {
        let hint = "change it in the configuration; framework/docs/config.md has the kinds";
        self.said_of(CommandError::usage(error, hint))
    }

    /// An inbox that can't be made where it is to be.
    pub(crate) fn unmade(&self, error: impl Display) -> CommandError {
        let hint = "name a folder you may write to with `into`; only the last part of its path is \
                    made for you";
        let hint = if self.kind == FOLDER { hint } else { "put right what is named" };
        self.said_of(CommandError::io(error, hint))
    }

    /// An error, said of this inbox.
    pub(crate) fn said_of(&self, error: CommandError) -> CommandError {
        let message =
            format!("{}: inbox `{}`: {}", self.place, printable(&self.name), error.message);
        CommandError { message, ..error }
    }
}
