//! The doors of a node that runs.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use estafette::Node;
use estafette::node::{Door, DoorPlace, OpenDoor, StageRegistry};
use futures_util::future::join_all;

use super::rehearse::port;
use super::{RunError, on_a_thread};
use crate::change::Change;
use crate::model::Topology;

/// The time in which another node that reloads, too, lets go of the address of a door.
const LETS_GO: Duration = Duration::from_secs(30);
/// The wait between two tries to take it.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// The node that has them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) node: &'a Node,
    pub(super) registry: &'a StageRegistry,
}

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
        let place = Place { name: node, node: running, registry };
        for (name, _) in topology.doors_of(node) {
            let made = topology.make_door(name, node, registry).await?;
            let open = topology.open_door(name, place, &*made, Vec::new()).await?;
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

    /// Opens those that are new or others, and closes those in whose places they are, and those that
    /// are gone. One at the address of one that goes takes over its socket. Where one can't be opened, all are as they were.
    pub(super) async fn switch(
        &mut self,
        (old, new): (&Topology, &Topology),
        place: Place<'_>,
        made: BTreeMap<String, Box<dyn Door>>,
        changes: &BTreeMap<String, Change>,
    ) -> Result<(), RunError> {
        let (going, moving) = (self.going(changes), old.doors_that_move(place, new).await);
        let (mut opened, mut left, mut failed) = (BTreeMap::new(), Vec::new(), None);
        for (name, door) in made {
            // A name has one that leads out.
            if door.leads_out() && self.0.contains_key(&name) {
                left.push((name, door));
                continue;
            }
            match new.open_door(&name, place, &*door, going.clone()).await {
                Ok(open) => drop(opened.insert(name, open)),
                Err(_)
                    if self.is_held(door.address(), changes)
                        || is_among(&moving, door.address()) =>
                {
                    left.push((name, door));
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        // Or the ports of those that close would stay open.
        drop(going);
        if let Some(error) = failed {
            join_all(opened.into_values().map(|open| open.close())).await;
            return Err(error);
        }
        let gone: Vec<_> = changes.keys().filter(|name| self.0.contains_key(*name)).collect();
        join_all(gone.iter().filter_map(|name| self.0.remove(*name)).map(|open| open.close()))
            .await;
        for (name, door) in left {
            match new.open_once_free(&name, place, &*door, &moving).await {
                Ok(open) => drop(opened.insert(name, open)),
                Err(error) => {
                    join_all(opened.into_values().map(|open| open.close())).await;
                    self.open_again(old, place, &gone).await;
                    return Err(error);
                }
            }
        }
        self.0.extend(opened);
        Ok(())
    }

    /// Returns the sockets of the doors that go.
    fn going(&self, changes: &BTreeMap<String, Change>) -> Vec<Arc<TcpListener>> {
        let going = changes.keys().filter_map(|name| self.0.get(name));
        going.filter_map(|open| open.listener()).map(Arc::new).collect()
    }

    /// Returns `true` if a door that goes may have this address, or one of the same port.
    fn is_held(&self, address: &str, changes: &BTreeMap<String, Change>) -> bool {
        let mut going = changes.keys().filter_map(|name| self.0.get(name));
        going.any(|open| port(&open.address()) == port(address))
    }

    /// Opens doors that were closed for others, which could not be opened.
    async fn open_again(&mut self, old: &Topology, place: Place<'_>, doors: &[&String]) {
        for &door in doors {
            let open = async {
                let made = old.make_door(door, place.name, place.registry).await?;
                old.open_door(door, place, &*made, Vec::new()).await
            };
            match open.await {
                Ok(open) => drop(self.0.insert(door.clone(), open)),
                Err(error) => tracing::error!(%error, door, "a door could not be opened again"),
            }
        }
    }

    pub(super) async fn close(self) {
        join_all(self.0.into_values().map(|open| open.close())).await;
    }

    pub(super) fn addresses(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, open)| (name.clone(), open.address())).collect()
    }
}

/// Returns `true` if one of these has the port of an address; any free port is nobody's.
fn is_among(moving: &[String], address: &str) -> bool {
    port(address) != "0" && moving.iter().any(|moves| port(moves) == port(address))
}

impl Topology {
    pub(super) async fn make_door(
        &self,
        name: &str,
        node: &str,
        registry: &StageRegistry,
    ) -> Result<Box<dyn Door>, RunError> {
        self.with_door(name, node, registry, |door| door.prepare().map(|()| door)).await
    }

    /// Does what blocks with a door that is made of its settings, before its files are read.
    pub(super) async fn with_door<T: Send + 'static>(
        &self,
        name: &str,
        node: &str,
        registry: &StageRegistry,
        what: impl FnOnce(Box<dyn Door>) -> Result<T, String> + Send + 'static,
    ) -> Result<T, RunError> {
        let door = self.doors.get(name).map(|spec| &spec.door);
        let (kind, settings) = match door {
            Some(door) => (door.name.clone(), door.settings_at(node)),
            None => (String::new(), toml::Value::Boolean(false)),
        };
        let (registry, places) = (registry.clone(), self.places());
        let made = on_a_thread(move || {
            let door = places.read(|| registry.door_of(&kind, settings));
            let door = door.and_then(|door| door.make()).map_err(|error| error.to_string())?;
            what(door)
        });
        let made: Result<T, String> = made.await?;
        made.map_err(|why| RunError::Door { door: name.to_owned(), why })
    }

    /// Looks whether the files that the doors of a node need can be used, and opens nothing.
    pub async fn look_at_doors(
        &self,
        node: &str,
        registry: &StageRegistry,
    ) -> Result<(), RunError> {
        for (door, _) in self.doors_of(node) {
            self.make_door(door, node, registry).await?;
        }
        Ok(())
    }

    /// The addresses of doors of other nodes that are no more there, or others, by another topology:
    /// whoever takes one waits for its node, which reloads, too.
    async fn doors_that_move(&self, place: Place<'_>, new: &Self) -> Vec<String> {
        let mut moving = Vec::new();
        let of_others = self.doors.iter().filter(|(_, door)| door.node != place.name);
        for (name, door) in of_others.filter(|(name, door)| new.doors.get(*name) != Some(door)) {
            let address = |made: Box<dyn Door>| Ok(made.address().to_owned());
            let address = self.with_door(name, &door.node, place.registry, address).await;
            moving.extend(address);
        }
        moving
    }

    /// Opens a door; where its address goes from one node to another, as soon as that one has let it
    /// go.
    async fn open_once_free(
        &self,
        name: &str,
        place: Place<'_>,
        door: &dyn Door,
        moving: &[String],
    ) -> Result<Box<dyn OpenDoor>, RunError> {
        let began = Instant::now();
        loop {
            match self.open_door(name, place, door, Vec::new()).await {
                Err(_) if is_among(moving, door.address()) && began.elapsed() < LETS_GO => {
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                opened => return opened,
            }
        }
    }

    async fn open_door(
        &self,
        name: &str,
        Place { name: node, node: running, .. }: Place<'_>,
        made: &dyn Door,
        listeners: Vec<Arc<TcpListener>>,
    ) -> Result<Box<dyn OpenDoor>, RunError> {
        let to = self.doors.get(name).into_iter().flat_map(|door| &door.to);
        let to = to.map(ToString::to_string);
        let mut at = DoorPlace::new(name, running, self.key_of(node), to);
        at.listeners = listeners;
        made.open(at).await.map_err(|why| RunError::Door { door: name.to_owned(), why })
    }
}
