//! Doors: ways in for programs that are no nodes, by kinds. The seam behind which their protocols
//! and servers are.

use std::fmt;
use std::path::PathBuf;

use futures_util::future::BoxFuture;

use super::Node;

/// A way in for programs that are no nodes, as HTTP or gRPC is one; its settings are read, and
/// nothing is opened yet.
pub trait Door: fmt::Debug + Send + Sync + 'static {
    /// The address it will listen at, so that two at one address are found before.
    fn address(&self) -> &str;

    /// Opens it. Whoever comes in is let in by what is kept beside the node's key.
    ///
    /// # Errors
    /// The reason, for a person.
    fn open(&self, at: DoorPlace) -> BoxFuture<'static, Result<Box<dyn OpenDoor>, String>>;
}

/// A door that is open. Dropping it closes it at once.
pub trait OpenDoor: fmt::Debug + Send + Sync + 'static {
    /// The address it listens at; a port 0 has become a real one.
    fn address(&self) -> String;

    /// Lets nobody in any more, and closes it when what was asked is answered, or soon.
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
        Self { name: name.into(), node: node.clone(), key: key.into(), to }
    }
}
