//! The doors of a node that runs.

use std::collections::BTreeMap;

use estafette::Node;
use estafette::node::{Door, DoorPlace, OpenDoor, StageRegistry};
use futures_util::future::join_all;

use super::{RunError, on_a_thread};
use crate::change::Change;
use crate::model::Topology;

/// Doors that are open. Dropping them closes them at once.
#[derive(Debug, Default)]
pub(super) struct Doors(BTreeMap<String, Box<dyn OpenDoor>>);

impl Doors {
    /// Opens all doors of a node.
    pub(super) async fn open(
        topology: &Topology,
        node: &str,
        running: &Node,
        registry: &StageRegistry,
    ) -> Result<Self, RunError> {
        let mut doors = Self::default();
        if topology.confined {
            // A trial has no addresses that others come to.
            return Ok(doors);
        }
        for (name, _) in topology.doors_of(node) {
            let made = topology.make_door(name, node, registry).await?;
            let open = topology.open_door(name, node, running, &*made).await?;
            doors.0.insert(name.clone(), open);
        }
        Ok(doors)
    }

    /// Those that are new, or others, made.
    pub(super) async fn made(
        &self,
        new: &Topology,
        node: &str,
        changes: &BTreeMap<String, Change>,
        registry: &StageRegistry,
    ) -> Result<BTreeMap<String, Box<dyn Door>>, RunError> {
        let mut made = BTreeMap::new();
        for (name, _) in changes.iter().filter(|(_, change)| **change != Change::Removed) {
            made.insert(name.clone(), new.make_door(name, node, registry).await?);
        }
        Ok(made)
    }

    /// Closes those that are gone or others, and opens those that are new; which ones could not be.
    pub(super) async fn switch(
        &mut self,
        new: &Topology,
        node: &str,
        running: &Node,
        made: BTreeMap<String, Box<dyn Door>>,
        changes: &BTreeMap<String, Change>,
    ) -> Vec<(String, RunError)> {
        // Their addresses may be those of others from now on.
        join_all(changes.keys().filter_map(|name| self.0.remove(name)).map(|open| open.close()))
            .await;
        let mut failed = Vec::new();
        for (name, door) in made {
            match new.open_door(&name, node, running, &*door).await {
                Ok(open) => drop(self.0.insert(name, open)),
                Err(error) => failed.push((name, error)),
            }
        }
        failed
    }

    pub(super) async fn close(self) {
        join_all(self.0.into_values().map(|open| open.close())).await;
    }

    pub(super) fn addresses(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, open)| (name.clone(), open.address())).collect()
    }
}

impl Topology {
    async fn make_door(
        &self,
        name: &str,
        node: &str,
        registry: &StageRegistry,
    ) -> Result<Box<dyn Door>, RunError> {
        let door = self.doors.get(name).map(|spec| &spec.door);
        let (kind, settings) = match door {
            Some(door) => (door.name.clone(), door.settings_at(node)),
            None => (String::new(), toml::Value::Boolean(false)),
        };
        let (registry, places) = (registry.clone(), self.places());
        let made = on_a_thread(move || {
            let door = places.read(|| registry.door_of(&kind, settings));
            let door = door.and_then(|door| door.make()).map_err(|error| error.to_string())?;
            door.prepare().map(|()| door)
        });
        let made: Result<Box<dyn Door>, String> = made.await?;
        made.map_err(|why| RunError::Door { door: name.to_owned(), why })
    }

    async fn open_door(
        &self,
        name: &str,
        node: &str,
        running: &Node,
        made: &dyn Door,
    ) -> Result<Box<dyn OpenDoor>, RunError> {
        let to = self.doors.get(name).into_iter().flat_map(|door| &door.to);
        let to = to.map(ToString::to_string);
        let opened = made.open(DoorPlace::new(name, running, self.key_of(node), to));
        opened.await.map_err(|why| RunError::Door { door: name.to_owned(), why })
    }
}
