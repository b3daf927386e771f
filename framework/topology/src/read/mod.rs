//! Reading a topology from TOML: every fault of it at once, each with its place.

mod fields;
mod parts;
mod syntax;
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use estafette::node::StageRegistry;
use serde::Deserialize;
use toml::de::{DeTable, DeValue, Deserializer};
use toml::{Spanned, Value};

use self::fields::Fields;
pub(crate) use self::parts::of_setting;
use crate::fault::{Fault, Places, Report, Unread, quoted};
use crate::model::{DoorSpec, InboxSpec, RouteSpec, Topology};

/// The longest file that is read, in bytes.
pub const LONGEST: u64 = 16 << 20;

/// A topology that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file can't be read.
    #[error("the topology {} can't be read: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// It has faults; displayed, they are drawn.
    #[error("{0}")]
    Faults(Box<Report>),
}

/// A file with a topology, its text and its places: faults are told by their lines.
#[derive(Clone, Debug)]
pub struct Document {
    path: PathBuf,
    text: String,
    places: Places,
    /// Those of reading.
    faults: Vec<Fault>,
    topology: Topology,
    broken: Broken,
}

/// The parts that could be read in part: the rest of each is checked all the same.
#[derive(Clone, Debug, Default)]
struct Broken {
    inboxes: BTreeMap<String, InboxSpec>,
    routes: BTreeMap<String, RouteSpec>,
    doors: BTreeMap<String, DoorSpec>,
}

impl Topology {
    /// The topology of a file. Fails with all faults of it, where a program with these stages and
    /// kinds can't run it.
    pub fn load(path: impl AsRef<Path>, registry: &StageRegistry) -> Result<Self, LoadError> {
        let document = Document::open(path)?;
        let report = document.check(registry);
        if report.is_empty() {
            Ok(document.topology)
        } else {
            Err(LoadError::Faults(Box::new(report)))
        }
    }
}

impl Document {
    /// Reads a file. What is wrong with its text, [`Document::check`] tells.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let failed = |error| LoadError::Io { path: path.to_owned(), error };
        let mut text = Vec::new();
        // A pipe may have nobody at its other end, and can't be read again when it changes.
        let kind = std::fs::metadata(path).map_err(failed)?.file_type();
        if !kind.is_file() && !kind.is_dir() {
            let error = "it is no regular file, which could be read again; write it to one";
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, error)));
        }
        let file = File::open(path).map_err(failed)?;
        file.take(LONGEST + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > LONGEST {
            let error = format!("it is longer than {} MiB", LONGEST >> 20);
            return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, error)));
        }
        let text = String::from_utf8(text).map_err(|error| {
            let place = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..place].iter().filter(|byte| **byte == b'\n').count() + 1;
            let error = format!("it is no text in UTF-8, from line {line} on; save it as that");
            failed(io::Error::new(io::ErrorKind::InvalidData, error))
        })?;
        Ok(Self::parse(path, text))
    }

    /// The topology of a text, as if it stood in the file `path`.
    pub fn parse(path: impl AsRef<Path>, text: impl Into<String>) -> Self {
        let (path, text) = (path.as_ref().to_owned(), text.into());
        let (mut places, mut faults) = (Places::default(), Vec::new());
        let (table, errors) = DeTable::parse_recoverable(&text);
        faults.extend(syntax::faults(&text, &errors));
        let mut topology = Topology::new(base_of(&path));
        // Of `a.toml` it is `a`, of `a.txt` all of it: they are two topologies.
        let is_toml = path.extension().is_some_and(|end| end == "toml");
        if let Some(name) = if is_toml { path.file_stem() } else { path.file_name() } {
            let former = path.file_stem().filter(|_| !is_toml);
            let former = former.map(|stem| topology.state.join(stem));
            topology.state = topology.state.join(name);
            // Earlier builds called it by the stem: its keys and what waits there go on, unless
            // that is the folder of the file beside it.
            let is_folder = |state: &Path| topology.at(state).is_dir();
            if let Some(former) = former
                && is_folder(&former)
                && !is_folder(&topology.state)
                && !path.with_extension("toml").exists()
            {
                topology.state = former;
            }
        }
        let mut broken = Broken::default();
        // What is no TOML has no keys that could be looked at.
        if faults.is_empty() {
            note(&mut places, "", table.get_ref());
            faults.extend(syntax::twice(&text, &errors, &mut places));
            match Value::deserialize(Deserializer::from(table)) {
                Ok(value) => parts::read(value, &mut topology, &mut broken, &mut faults),
                Err(error) => faults.push(syntax::of(&error)),
            }
        }
        Self { path, text, places, faults, topology, broken }
    }

    /// The text of the file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The topology, as far as it could be read.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// All that is wrong with it, for a program with these stages and kinds.
    pub fn check(&self, registry: &StageRegistry) -> Report {
        self.report(self.checked(registry))
    }

    fn checked(&self, registry: &StageRegistry) -> Vec<Fault> {
        let mut faults = self.faults.clone();
        let Broken { inboxes, routes, doors } = &self.broken;
        let checked = if inboxes.is_empty() && routes.is_empty() && doors.is_empty() {
            self.topology.check(registry)
        } else {
            let mut topology = self.topology.clone();
            topology.inboxes.extend(inboxes.clone());
            topology.routes.extend(routes.clone());
            topology.doors.extend(doors.clone());
            topology.check(registry)
        };
        let unread = Unread::of(&self.faults);
        faults.extend(checked.into_iter().filter(|fault| !unread.explains(fault)));
        faults
    }

    /// The same, and the files of secrets and keys that others than their owner can read: a look at
    /// files, which [`check`](Self::check) does not take.
    pub fn check_with_files(&self, registry: &StageRegistry) -> Report {
        let mut faults = self.checked(registry);
        faults.extend(self.topology.check_files(registry));
        self.report(faults)
    }

    fn report(&self, faults: Vec<Fault>) -> Report {
        let file = self.path.display().to_string();
        Report::new(file, self.text.clone(), self.places.clone(), faults)
    }
}

/// The folder of a file.
fn base_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Notes where each key of a table stands: a table by its name, a value by itself.
fn note(places: &mut Places, at: &str, table: &DeTable<'_>) {
    for (key, value) in table {
        let name = quoted(key.get_ref());
        let at = if at.is_empty() { name.into_owned() } else { format!("{at}.{name}") };
        places.note_key(&at, key.span());
        places.note(&at, if value.get_ref().is_table() { key.span() } else { value.span() });
        note_inner(places, &at, value);
    }
}

fn note_inner(places: &mut Places, at: &str, value: &Spanned<DeValue<'_>>) {
    match value.get_ref() {
        DeValue::Table(table) => note(places, at, table),
        DeValue::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                let at = format!("{at}[{index}]");
                places.note(&at, value.span());
                note_inner(places, &at, value);
            }
        }
        _ => {}
    }
}
