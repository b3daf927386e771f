//! Doors: ways in for programs that are no nodes, and ways out to them, by kinds. The seam behind
//! which their protocols, servers and clients are.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Deserializer;
use serde::de::DeserializeOwned;

use super::kinds::{Kind, KindError, Prepared, kind, prepare};
use super::{Node, StageRegistry};

/// A way in for programs that are no nodes, as HTTP or gRPC is one, or a way out to them, as a
/// webhook is; its settings are read, and nothing is opened yet.
pub trait Door: fmt::Debug + Send + Sync + 'static {
    /// The address it will listen at, so that two at one address are found before; of one that
    /// leads out, where to.
    fn address(&self) -> &str;

    /// Returns true if it leads out: it takes what other nodes deliver to its name at its node, and
    /// listens nowhere. By default doors lead in.
    fn leads_out(&self) -> bool {
        false
    }

    /// Reads the files that it needs, and opens nothing: what is wrong with them is found while the
    /// door before it still serves. It blocks. By default there are none.
    ///
    /// # Errors
    /// The reason, for a person.
    fn prepare(&self) -> Result<(), String> {
        Ok(())
    }

    /// The files that nobody but their owner may read, as they hold secrets or keys: each with the
    /// key of the settings that names it, as `tls.key`. By default there are none.
    fn private_files(&self) -> Vec<(&'static str, PathBuf)> {
        Vec::new()
    }

    /// Returns how many messages it has taken, under that name at the node whose key is in that file,
    /// that wait for it, so that nobody goes on with them once no door of its kind is open there
    /// under its name: a reload does not close it then. It blocks, and need not be open. By default
    /// there are none.
    ///
    /// # Errors
    /// The reason why that can't be told, for a person.
    fn keeps(&self, name: &str, key: &Path) -> Result<usize, String> {
        let _ = (name, key);
        Ok(0)
    }

    /// Opens it. Whoever comes in is let in by what is kept beside the node's key.
    ///
    /// # Errors
    /// The reason, for a person.
    fn open(&self, at: DoorPlace) -> BoxFuture<'static, Result<Box<dyn OpenDoor>, String>>;
}

/// A door that is open. Dropping it closes it at once.
pub trait OpenDoor: fmt::Debug + Send + Sync + 'static {
    /// The address it listens at; a port 0 has become a real one. Of one that leads out, where to,
    /// without what may be secret.
    fn address(&self) -> String;

    /// The socket it listens at, once more, so that the door that comes in its place takes over the
    /// port and whoever waits there (see [`DoorPlace::listeners`]). By default there is none, and
    /// the next door opens when this one is closed.
    fn listener(&self) -> Option<TcpListener> {
        None
    }

    /// Lets nobody in, or nothing out, any more, and closes it when what was asked is answered, or soon.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// The place of a door.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DoorPlace {
    /// Its name.
    pub name: String,
    /// The node through which others are reached.
    pub node: Node,
    /// The file of the node's key, beside which it is kept who may come in.
    pub key: PathBuf,
    /// Inboxes and actors that it leads to, as `PEER/NAME`: to no others, whatever who comes in
    /// may reach by other doors.
    pub to: Vec<String>,
    /// The sockets of the doors in whose place it comes. One that listens at its address is its
    /// own then: nobody is refused meanwhile.
    pub listeners: Vec<Arc<TcpListener>>,
}

impl DoorPlace {
    /// The door `name` of a node whose key is in the file `key`, which leads to `to`.
    pub fn new(
        name: impl Into<String>,
        node: &Node,
        key: impl Into<PathBuf>,
        to: impl IntoIterator<Item = String>,
    ) -> Self {
        let to = to.into_iter().collect();
        Self { name: name.into(), node: node.clone(), key: key.into(), to, listeners: Vec::new() }
    }
}

impl StageRegistry {
    /// Registers a kind of door, as [`StageRegistry::inbox_kind`] does one of inboxes. A topology
    /// names it: `[door.web]`.
    #[must_use]
    pub fn door_kind<S, D, E>(
        mut self,
        name: impl Into<String>,
        make: impl Fn(S) -> Result<D, E> + Send + Sync + 'static,
    ) -> Self
    where
        S: DeserializeOwned + Send + 'static,
        D: Door,
        E: Display,
    {
        let make = move |settings| make(settings).map(|door| Box::new(door) as Box<dyn Door>);
        let kind: Kind<dyn Door> = kind(make);
        self.kinds.doors.insert(name.into(), Arc::new(kind));
        self
    }

    /// The door that these settings describe.
    pub fn door_of<'de>(
        &self,
        kind: &str,
        settings: impl Deserializer<'de>,
    ) -> Result<Prepared<dyn Door>, KindError> {
        let kinds = self.kinds.doors.iter().filter_map(|(name, kind)| {
            let kind = kind.downcast_ref::<Kind<dyn Door>>()?;
            Some((name.clone(), Arc::clone(kind)))
        });
        prepare("door", &kinds.collect::<BTreeMap<_, _>>(), kind, settings)
    }

    /// The names of the kinds of doors that are registered.
    pub fn door_kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.doors.keys().map(String::as_str)
    }
}
