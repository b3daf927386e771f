//! Kinds of inboxes and sources: by name, and made of settings that a file may hold; and the kind
//! of spool.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Deserializer;
use serde::de::DeserializeOwned;

use crate::pipeline::{Inbox, Source};
use crate::store::Store;

/// The kinds that a registry knows.
#[derive(Clone, Default)]
pub(super) struct Kinds {
    pub(super) inboxes: BTreeMap<String, Kind<dyn Inbox>>,
    pub(super) sources: BTreeMap<String, Kind<dyn Source>>,
    pub(super) filters: BTreeMap<String, FilterKind>,
    /// Those of doors, a [`Kind`] each. A door is given its node, which has this registry: only the
    /// module of doors knows their type.
    pub(super) doors: BTreeMap<String, Arc<dyn Any + Send + Sync>>,
    pub(super) spools: Option<Spools>,
}

/// Opens the spool in a folder.
pub(super) type Spools = Arc<dyn Fn(&Path) -> io::Result<Arc<dyn Store>> + Send + Sync>;

/// Reads settings of any format, and tells what is made of them.
pub(super) type Kind<T> =
    Arc<dyn Fn(&mut dyn erased_serde::Deserializer<'_>) -> Result<Make<T>, String> + Send + Sync>;

pub(super) type Make<T> = Box<dyn FnOnce() -> Result<Box<T>, String> + Send>;

/// The same of what is put around a source.
pub(super) type FilterKind =
    Arc<dyn Fn(&mut dyn erased_serde::Deserializer<'_>) -> Result<Around, String> + Send + Sync>;

pub(super) type Around = Box<dyn FnOnce(Box<dyn Source>) -> Result<Box<dyn Source>, String> + Send>;

/// An inbox or a source whose settings are read: nothing is made yet, and nothing opened.
pub struct Prepared<T: ?Sized> {
    what: &'static str,
    kind: String,
    make: Make<T>,
}

/// A filter whose settings are read: it is put around a source.
pub struct PreparedFilter {
    pub(super) kind: String,
    pub(super) around: Around,
}

/// An error of making an inbox, a source or a filter of a kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KindError {
    /// Nothing has registered that kind.
    #[error("no {what} of the kind {kind:?} is registered here; known are: {known}")]
    Unknown {
        /// An inbox, a source, a filter or a door.
        what: &'static str,
        /// The kind asked for.
        kind: String,
        /// The kinds there are.
        known: String,
    },
    /// The settings are not those of the kind.
    #[error("the settings of this {what} of the kind {kind:?} can't be read: {why}")]
    Settings {
        /// An inbox, a source or a filter.
        what: &'static str,
        /// The kind.
        kind: String,
        /// The error of reading the settings.
        why: String,
    },
    /// The settings can be read, but nothing can be made of them.
    #[error("this {what} of the kind {kind:?} can't be made: {why}")]
    Make {
        /// An inbox, a source or a filter.
        what: &'static str,
        /// The kind.
        kind: String,
        /// The reason that its factory gave.
        why: String,
    },
}

pub(super) fn kind<S, T, E>(
    make: impl Fn(S) -> Result<Box<T>, E> + Send + Sync + 'static,
) -> Kind<T>
where
    S: DeserializeOwned + Send + 'static,
    T: ?Sized + 'static,
    E: Display,
{
    let make = Arc::new(make);
    Arc::new(move |settings| {
        let settings: S = settings_of(settings)?;
        let make = Arc::clone(&make);
        Ok(Box::new(move || make(settings).map_err(|error| error.to_string())))
    })
}

pub(super) fn settings_of<S: DeserializeOwned>(
    settings: &mut dyn erased_serde::Deserializer<'_>,
) -> Result<S, String> {
    erased_serde::deserialize(settings).map_err(|error| error.to_string())
}

pub(super) fn find<'k, K>(
    what: &'static str,
    kinds: &'k BTreeMap<String, K>,
    kind: &str,
) -> Result<&'k K, KindError> {
    kinds.get(kind).ok_or_else(|| {
        let known: Vec<_> = kinds.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        KindError::Unknown { what, kind: kind.into(), known }
    })
}

pub(super) fn prepare<'de, T: ?Sized>(
    what: &'static str,
    kinds: &BTreeMap<String, Kind<T>>,
    kind: &str,
    settings: impl Deserializer<'de>,
) -> Result<Prepared<T>, KindError> {
    let read = find(what, kinds, kind)?;
    let make = read(&mut <dyn erased_serde::Deserializer<'_>>::erase(settings));
    let make = make.map_err(|why| KindError::Settings { what, kind: kind.into(), why })?;
    Ok(Prepared { what, kind: kind.into(), make })
}

impl<T: ?Sized> Prepared<T> {
    /// Makes it. May block.
    pub fn make(self) -> Result<Box<T>, KindError> {
        let Self { what, kind, make } = self;
        make().map_err(|why| KindError::Make { what, kind, why })
    }
}

impl PreparedFilter {
    /// Puts it around a source. May block.
    pub fn around(self, source: Box<dyn Source>) -> Result<Box<dyn Source>, KindError> {
        let Self { kind, around } = self;
        around(source).map_err(|why| KindError::Make { what: "filter", kind, why })
    }
}

impl fmt::Debug for PreparedFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedFilter").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<T: ?Sized> fmt::Debug for Prepared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("what", &self.what).field("kind", &self.kind).finish()
    }
}
