//! Messages that a door has taken, and that nobody goes on with once it is gone.

use estafette::node::StageRegistry;

use super::RunError;
use crate::model::{DoorSpec, Topology};

/// Messages that would be left at a door.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} {} at the door `{door}` of the node `{node}`, and nobody would go on with {}: the file \
     has no such door of this name at that node any more, or another key for it; leave it there \
     until nothing waits, beside its new name or node if it gets one, or drop what waits (of a \
     webhook: `estafette webhook list` and `drop`, with `--key` of the node), or start all of it \
     again, which leaves that where it is",
    if *count == 1 { "message waits" } else { "messages wait" },
    if *count == 1 { "it" } else { "them" }
)]
#[non_exhaustive]
pub struct LeftAtDoor {
    /// The door.
    pub door: String,
    /// Its node.
    pub node: String,
    /// The messages that wait.
    pub count: usize,
}

impl Topology {
    /// The doors of a node of which none of the same name and kind is there, beside the same key, by
    /// another topology.
    fn doors_that_go<'t>(
        &'t self,
        node: &'t str,
        new: &'t Self,
    ) -> impl Iterator<Item = &'t String> {
        let is_same_node = new.is_here(node) && self.key_of(node) == new.key_of(node);
        let stays = move |name: &String, door: &DoorSpec| {
            let same = new.doors.get(name).filter(|other| other.node == node);
            is_same_node && same.is_some_and(|other| other.door.name == door.door.name)
        };
        let doors = self.doors_of(node).filter(|_| !self.confined);
        doors.filter(move |(name, door)| !stays(name, door)).map(|(name, _)| name)
    }

    /// Returns `true` if a door of the node is none by another topology, or another one.
    pub fn has_doors_that_go(&self, node: &str, new: &Self) -> bool {
        self.doors_that_go(node, new).next().is_some()
    }

    /// Returns what is left at a door of the node, whether or not it runs, once it is what another
    /// topology says.
    ///
    /// # Errors
    /// It can't be told.
    pub async fn left_at_a_door(
        &self,
        node: &str,
        new: &Self,
        registry: &StageRegistry,
    ) -> Result<Option<LeftAtDoor>, RunError> {
        for door in self.doors_that_go(node, new) {
            let (name, key) = (door.clone(), self.key_of(node));
            let count = self.with_door(door, node, registry, move |made| made.keeps(&name, &key));
            let count = count.await?;
            if count > 0 {
                return Ok(Some(LeftAtDoor { door: door.clone(), node: node.to_owned(), count }));
            }
        }
        Ok(None)
    }
}
