//! The kinds that a registry knows: of inboxes, sources and filters; and the kind of spool.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Deserializer;
use serde::de::DeserializeOwned;

use super::StageRegistry;
use crate::node::RegistryError;
use crate::node::kinds::{
    FilterKind, KindError, Prepared, PreparedFilter, find, kind, prepare, settings_of,
};
use crate::pipeline::{Inbox, Source};
use crate::store::Store;

impl StageRegistry {
    /// Registers a kind of inbox: its name, and how one is made of its settings, which are any type
    /// of serde. A configuration names it: `kind = "folder"`.
    ///
    /// Settings should refuse unknown fields (`#[serde(deny_unknown_fields)]`), so that a
    /// mistyped key is told; [`units`](crate::node::units) reads sizes and times. What is made may
    /// block while it is made.
    #[must_use]
    pub fn inbox_kind<S, I, E>(
        mut self,
        name: impl Into<String>,
        make: impl Fn(S) -> Result<I, E> + Send + Sync + 'static,
    ) -> Self
    where
        S: DeserializeOwned + Send + 'static,
        I: Inbox,
        E: Display,
    {
        let make = move |settings| make(settings).map(|inbox| Box::new(inbox) as Box<dyn Inbox>);
        self.kinds.inboxes.insert(name.into(), kind(make));
        self
    }

    /// Registers a kind of source, as [`StageRegistry::inbox_kind`] does one of inboxes.
    #[must_use]
    pub fn source_kind<S, C, E>(
        mut self,
        name: impl Into<String>,
        make: impl Fn(S) -> Result<C, E> + Send + Sync + 'static,
    ) -> Self
    where
        S: DeserializeOwned + Send + 'static,
        C: Source,
        E: Display,
    {
        let make = move |settings| make(settings).map(|source| Box::new(source) as Box<dyn Source>);
        self.kinds.sources.insert(name.into(), kind(make));
        self
    }

    /// Registers a kind of filter: its name, and how one with these settings is put around a source.
    /// It changes the content before it is cut into chunks, at the sender alone; its receiver gets,
    /// and verifies, what the filter made of it. A topology names it among the stages of a route.
    ///
    /// Settings are those of [`StageRegistry::inbox_kind`]; what is made may block.
    #[must_use]
    pub fn filter_kind<S, C, E>(
        mut self,
        name: impl Into<String>,
        around: impl Fn(S, Box<dyn Source>) -> Result<C, E> + Send + Sync + 'static,
    ) -> Self
    where
        S: DeserializeOwned + Send + 'static,
        C: Source,
        E: Display,
    {
        let around = Arc::new(around);
        let read: FilterKind = Arc::new(move |settings| {
            let settings: S = settings_of(settings)?;
            let around = Arc::clone(&around);
            Ok(Box::new(move |source| match around(settings, source) {
                Ok(filtered) => Ok(Box::new(filtered) as Box<dyn Source>),
                Err(error) => Err(error.to_string()),
            }))
        });
        self.kinds.filters.insert(name.into(), read);
        self
    }

    /// The filter that these settings describe.
    pub fn filter_of<'de>(
        &self,
        kind: &str,
        settings: impl Deserializer<'de>,
    ) -> Result<PreparedFilter, KindError> {
        let read = find("filter", &self.kinds.filters, kind)?;
        let around = read(&mut <dyn erased_serde::Deserializer<'_>>::erase(settings));
        let unread = |why| KindError::Settings { what: "filter", kind: kind.into(), why };
        Ok(PreparedFilter { kind: kind.into(), around: around.map_err(unread)? })
    }

    /// The inbox that these settings describe.
    pub fn inbox_of<'de>(
        &self,
        kind: &str,
        settings: impl Deserializer<'de>,
    ) -> Result<Prepared<dyn Inbox>, KindError> {
        prepare("inbox", &self.kinds.inboxes, kind, settings)
    }

    /// The source that these settings describe.
    pub fn source_of<'de>(
        &self,
        kind: &str,
        settings: impl Deserializer<'de>,
    ) -> Result<Prepared<dyn Source>, KindError> {
        prepare("source", &self.kinds.sources, kind, settings)
    }

    /// Sets the way to open the spool in a folder, for programs that are told of it by a file. An
    /// error of the kind `ResourceBusy` means that another process has it.
    #[must_use]
    pub fn spools<S: Store>(
        mut self,
        open: impl Fn(&Path) -> io::Result<S> + Send + Sync + 'static,
    ) -> Self {
        let open = move |folder: &Path| Ok(Arc::new(open(folder)?) as Arc<dyn Store>);
        self.kinds.spools = Some(Arc::new(open));
        self
    }

    /// Opens, or makes, the spool in a folder. It blocks.
    pub fn open_spool(&self, folder: &Path) -> io::Result<Arc<dyn Store>> {
        let missing = || RegistryError::Missing { what: "way to open a spool" };
        let open = self.kinds.spools.as_ref().ok_or_else(missing).map_err(io::Error::other)?;
        open(folder)
    }

    /// The names of the kinds of inboxes that are registered.
    pub fn inbox_kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.inboxes.keys().map(String::as_str)
    }

    /// The names of the kinds of sources that are registered.
    pub fn source_kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.sources.keys().map(String::as_str)
    }

    /// The names of the kinds of filters that are registered.
    pub fn filter_kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.filters.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pipeline::{Offer, Refusal, Sink};

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Closed {
        reason: String,
        #[serde(default, with = "crate::node::units::size")]
        after: u64,
    }

    impl Inbox for Closed {
        fn open(&self, _: &Offer) -> Result<Box<dyn Sink>, Refusal> {
            Err(Refusal::new(format!("{} {}", self.reason, self.after)))
        }
    }

    fn registry() -> StageRegistry {
        StageRegistry::new().inbox_kind("closed", |settings: Closed| match settings.after {
            1 => Err("not after one byte"),
            _ => Ok(settings),
        })
    }

    #[test]
    fn an_inbox_is_made_of_settings_in_any_format() {
        let json = json!({ "reason": "holidays", "after": "1KiB" });
        let toml: toml::Table = toml::from_str("reason = 'holidays'\nafter = 1024").unwrap();
        let registry = registry();
        for made in [registry.inbox_of("closed", json), registry.inbox_of("closed", toml)] {
            let inbox = made.unwrap().make().unwrap();
            assert!(format!("{inbox:?}").contains("after: 1024"), "{inbox:?}");
        }
        assert_eq!(registry.inbox_kinds().collect::<Vec<_>>(), ["closed"]);
        assert_eq!(registry.source_kinds().count(), 0);
    }

    #[test]
    fn what_is_wrong_names_the_kind_and_the_known_ones() {
        let error = |kind, settings| {
            let made = registry().inbox_of(kind, settings).and_then(Prepared::make);
            made.unwrap_err().to_string()
        };
        for (kind, settings, said) in [
            (
                "open",
                json!({}),
                "no inbox of the kind \"open\" is registered here; known are: closed",
            ),
            ("closed", json!({}), "of the kind \"closed\" can't be read: missing field `reason`"),
            ("closed", json!({ "raeson": "" }), "unknown field `raeson`, expected `reason` or"),
            ("closed", json!({ "reason": "", "after": "x" }), "a size is a number and a unit"),
            ("closed", json!({ "reason": "", "after": 1 }), "can't be made: not after one byte"),
        ] {
            let error = error(kind, settings);
            assert!(error.contains(said), "{error}");
        }
        let error = registry().source_of("closed", json!({})).unwrap_err().to_string();
        assert!(error.contains("no source of the kind \"closed\"") && error.contains("none"));
    }
}
