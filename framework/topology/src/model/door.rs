//! Doors of nodes, by which programs that are no nodes come in, or are reached.

use super::{Kind, Target, Topology};

/// A door.
#[derive(Clone, Debug, PartialEq)]
pub struct DoorSpec {
    /// The node that has it.
    pub node: String,
    /// Its kind and its settings, in which `{node}` stands for the name of the node.
    pub door: Kind,
    /// Inboxes and actors of other nodes that are reached through it, by who has a token for them.
    pub to: Vec<Target>,
    /// Of one that leads out: the nodes that may deliver to its name at its node.
    pub from: Vec<String>,
}

impl Topology {
    /// Adds a door.
    #[must_use]
    pub fn door(mut self, name: impl Into<String>, door: DoorSpec) -> Self {
        self.doors.insert(name.into(), door);
        self
    }

    /// The doors of a node.
    pub(crate) fn doors_of<'t>(
        &'t self,
        node: &'t str,
    ) -> impl Iterator<Item = (&'t String, &'t DoorSpec)> {
        self.doors.iter().filter(move |(_, door)| door.node == node)
    }
}
