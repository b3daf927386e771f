//! A node that is changed while it runs: the new parts are made beside the old ones, then they take
//! their places.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use estafette::PeerId;
use estafette::node::{OutboxEntry, OutboxError, OutboxState, RelayWays, TrustError, TrustedPeer};
use estafette::pipeline::Inbox;
use estafette::remote::DirectoryError;

use super::doors::Place;
use super::left::LeftAtDoor;
use super::route::Route;
use super::running::Plan;
use super::{RunError, RunningNode, on_a_thread};
use crate::change::{Change, NodeChange, Reload};
use crate::model::Topology;

/// A reload that did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The node is not in the topology any more.
    #[error("the topology has no node `{0}` any more: stop it")]
    Gone(String),
    /// These keys take effect at a start only.
    #[error("{} of the node `{name}` take effect when it is started again", keys.join(", "))]
    Restart {
        /// The node.
        name: String,
        /// The keys.
        keys: Vec<&'static str>,
    },
    /// A new part can't be made: nothing is changed.
    #[error("{0}; nothing is changed")]
    Make(#[from] RunError),
    /// The node keeps what a neighbour that is left out gave it for others, or what is for it.
    #[error(
        "{count} {} that the node keeps as a relay would be lost with `{neighbour}`, or it would \
         not hear how they ended, as the file names it no more: let it run empty first, with \
         `{neighbour}` in the file and no route by this node, or cancel them in the outbox; or \
         start the node again, which lets go of them; nothing is changed",
        if *count == 1 { "delivery" } else { "deliveries" }
    )]
    Keeps {
        /// The neighbour.
        neighbour: String,
        /// The deliveries.
        count: usize,
    },
    /// A neighbour that is left out keeps, as a relay, deliveries of this node.
    #[error(
        "{count} {} of this node that `{neighbour}` keeps as a relay would be lost, or their end \
         not heard of, as the file names it no more: leave `{neighbour}` in the file, and take it \
         out of `via`, until they have arrived; or start the node again, which lets go of them; \
         nothing is changed",
        if *count == 1 { "delivery" } else { "deliveries" }
    )]
    KeptThere {
        /// The neighbour.
        neighbour: String,
        /// The deliveries.
        count: usize,
    },
    /// The node's deliveries for others can't be listed, so nobody can be left out.
    #[error("what the node keeps as a relay can't be told: {0}; nothing is changed")]
    Outbox(OutboxError),
    /// A door that is gone, or another one, has taken messages that nobody else goes on with.
    #[error("{0}; nothing is changed")]
    LeftAtDoor(LeftAtDoor),
    /// Something of a neighbour that is left out, or for it, came while all else was changed: it is
    /// trusted until a reload that finds nothing more of it.
    #[error(
        "the node has just taken something of `{neighbour}`, or for it, which the file names no \
         more: it is still trusted; load the file again later; all else is changed"
    )]
    Stays {
        /// The neighbour.
        neighbour: String,
    },
    /// Trust can't be changed: what stands before it in the order of names is.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A name is taken by something of the host: nothing is changed.
    #[error("{0}; nothing is changed")]
    Directory(#[from] DirectoryError),
}

/// An inbox that is new, or another one than before.
type Made<'a> = (&'a String, Change, Box<dyn Inbox>);

/// Deliveries that would be lost with a neighbour.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    /// Kept by this node, as a relay.
    here: usize,
    /// Of this node, kept by the neighbour.
    there: usize,
}

impl RunningNode {
    /// Makes the node what another topology says of it, and returns what was changed: what did not
    /// change is not touched, and deliveries under way go on. Everything new is made first; where
    /// that fails, nothing is changed.
    pub async fn reload(&mut self, new: &Topology) -> Result<Reload, ReloadError> {
        let (name, mut changes) = (self.name.clone(), self.changes_to(new)?);
        let (topology, own) = (new.clone(), name.clone());
        let (_, ids) = on_a_thread(move || topology.identities(&own)).await??;
        let peers = new.peers_of(&name, &ids);
        // Who stayed at an earlier reload, or has another key in the same file, is no change of it.
        if changes.is_empty() && self.outdated(&peers).is_empty() {
            self.topology = new.clone();
            self.taps.looks.set(new, &name);
            return Ok(changes);
        }
        let mut made = Vec::new();
        for (inbox, change) in &changes.inboxes {
            if *change != Change::Removed {
                made.push((inbox, *change, new.make_inbox(&name, inbox, &self.registry).await?));
            }
        }
        let mut routes =
            new.routes_from(&name, &ids, &self.node, &self.registry, &self.memory, &self.events);
        let doors = self.doors.made(new, &name, &changes.doors, &self.registry).await?;
        let ways = new.relay_ways(&name, &ids);
        let named = peers.iter().map(|(_, peer)| peer.name.clone()).collect();
        self.keep_nothing_of(&self.outdated(&peers), &named, &ways).await?;
        let left = self.topology.left_at_a_door(&name, new, &self.registry).await?;
        left.map_or(Ok(()), |left| Err(ReloadError::LeftAtDoor(left)))?;
        self.names_are_free(&changes.inboxes)?;
        let place = Place { name: &name, node: &self.node, registry: &self.registry };
        self.doors.switch((&self.topology, new), place, doors, &changes.doors).await?;
        // From here on nothing but trust can fail.
        self.receive_into(made)?;
        // Nobody sees more than either topology lets be seen while both are at work.
        self.taps.narrow(&routes);
        // Who is let in finds what it is let in for.
        let outdated = self.outdated(&peers);
        self.let_in(peers, &changes.peers)?;
        self.node.relay().set_ways(ways.clone());
        for route in routes.iter().filter(|route| self.sends_otherwise(route)) {
            changes.routes.entry(route.name.to_string()).or_insert(Change::Changed);
        }
        let untouched = self.untouched(&mut routes, &changes);
        let connect = new.connected(&name, &ids);
        self.running.switch(Plan { routes: routes.clone(), untouched, connect }).await;
        self.taps.set_routes(routes.clone());
        self.routes = routes;
        for (inbox, _) in removed(&changes.inboxes) {
            self.node.directory().unregister(inbox);
        }
        // Those who are out, and the former ids of those who have others now.
        let stays = self.let_out(outdated, &named, &ways).await?;
        self.topology = new.clone();
        self.taps.looks.set(new, &name);
        self.taps.answer().await.map_err(RunError::from)?;
        stays.map_or(Ok(changes), Err)
    }

    /// Returns what changes of this node; nothing, if it is the same.
    fn changes_to(&self, new: &Topology) -> Result<Reload, ReloadError> {
        let name = self.name.clone();
        let (Some(old), Some(view)) = (self.topology.view(&name), new.view(&name)) else {
            return Err(ReloadError::Gone(name));
        };
        match old.change(&view) {
            Some(NodeChange::Reloads(reload)) => Ok(reload),
            Some(NodeChange::Restarts { keys }) => Err(ReloadError::Restart { name, keys }),
            Some(NodeChange::Starts | NodeChange::Ends) => Err(ReloadError::Gone(name)),
            None => Ok(Reload::default()),
        }
    }

    /// Refuses to let those out of whom, or for whom, something is kept.
    async fn keep_nothing_of(
        &self,
        outdated: &[PeerId],
        named: &BTreeSet<String>,
        ways: &RelayWays,
    ) -> Result<(), ReloadError> {
        for &id in outdated {
            let neighbour = self.trusted_as(id);
            let lost = self.lost_with(id, ways).await.map_err(ReloadError::Outbox)?;
            match lost {
                Lost { here: 0, there: 0 } => {}
                // Whoever has the former key is let in no longer, whatever is lost.
                Lost { here, there } if named.contains(&neighbour) => {
                    tracing::warn!(
                        neighbour,
                        kept_here = here,
                        kept_there = there,
                        "deliveries are lost with a replaced key"
                    );
                }
                Lost { there, .. } if there > 0 => {
                    return Err(ReloadError::KeptThere { neighbour, count: there });
                }
                Lost { here, .. } => return Err(ReloadError::Keeps { neighbour, count: here }),
            }
        }
        Ok(())
    }

    /// Refuses inboxes whose names something of the host has.
    fn names_are_free(&self, changes: &BTreeMap<String, Change>) -> Result<(), DirectoryError> {
        let directory = self.node.directory();
        let names = directory.names();
        let is_taken = |(name, change): &(&String, &Change)| match change {
            Change::Removed => false,
            Change::Added => names.contains(*name),
            Change::Changed => names.contains(*name) && directory.inbox(name).is_none(),
        };
        match changes.iter().find(is_taken) {
            Some((name, _)) => Err(DirectoryError::Taken { name: name.clone() }),
            None => Ok(()),
        }
    }

    fn receive_into(&self, made: Vec<Made<'_>>) -> Result<(), ReloadError> {
        let directory = self.node.directory();
        for (inbox, change, made) in made {
            let made = Arc::<dyn Inbox>::from(made);
            if change == Change::Added || !directory.replace(inbox, Arc::clone(&made)) {
                directory.receive(inbox, made)?;
            }
        }
        Ok(())
    }

    /// Trusts these no longer. Returns who stays all the same, since something has come of or for
    /// it meanwhile.
    async fn let_out(
        &mut self,
        outdated: Vec<PeerId>,
        named: &BTreeSet<String>,
        ways: &RelayWays,
    ) -> Result<Option<ReloadError>, ReloadError> {
        let mut stays = None;
        for id in outdated {
            let neighbour = self.trusted_as(id);
            // The next reload finds it here still.
            let is_lost =
                self.lost_with(id, ways).await.map_or(true, |lost| lost.here + lost.there > 0);
            if !named.contains(&neighbour) && is_lost {
                tracing::warn!(neighbour, "a neighbour stays until the next reload");
                stays.get_or_insert(ReloadError::Stays { neighbour });
                continue;
            }
            self.node.trust().revoke(id)?;
            self.peers.remove(&id);
        }
        Ok(stays)
    }

    /// Those that are trusted for the file, and are not among these.
    fn outdated(&self, peers: &[(PeerId, TrustedPeer)]) -> Vec<PeerId> {
        let kept: BTreeSet<_> = peers.iter().map(|(id, _)| *id).collect();
        // A host may have added others, under whatever names.
        let all = self.node.trust().list().into_iter().map(|(id, _)| id);
        all.filter(|id| self.peers.contains(id) && !kept.contains(id)).collect()
    }

    /// The name that it is trusted by.
    fn trusted_as(&self, id: PeerId) -> String {
        self.node.trust().peer(&id).map_or_else(|| id.to_string(), |peer| peer.name)
    }

    /// Returns how many deliveries would be lost without this neighbour, or their end not told.
    async fn lost_with(&self, id: PeerId, ways: &RelayWays) -> Result<Lost, OutboxError> {
        let kept = match self.node.outbox().list().await {
            // A node without an outbox keeps nothing.
            Err(OutboxError::None) => return Ok(Lost::default()),
            kept => kept?,
        };
        let is_lost = |entry: &OutboxEntry| {
            let is_for_it = entry.peer == id && !ways.next.contains_key(&id);
            match entry.relayed_for {
                Some(from) if from == id => entry.is_open() || entry.is_unheard(),
                Some(_) => is_for_it && entry.is_open(),
                None => false,
            }
        };
        let is_there = |entry: &OutboxEntry| {
            let is_relayed = matches!(entry.state, OutboxState::Relayed { .. });
            entry.relayed_for.is_none() && entry.via == Some(id) && is_relayed
        };
        Ok(Lost {
            here: kept.iter().filter(|(_, entry)| is_lost(entry)).count(),
            there: kept.iter().filter(|(_, entry)| is_there(entry)).count(),
        })
    }

    /// Trusts these peers, as far as they are new or have changed.
    fn let_in(
        &mut self,
        peers: Vec<(PeerId, TrustedPeer)>,
        changed: &BTreeMap<String, Change>,
    ) -> Result<(), ReloadError> {
        let trust = self.node.trust();
        for (id, peer) in peers {
            if changed.contains_key(&peer.name) || trust.peer(&id).is_none() {
                trust.add(id, peer)?;
            }
            self.peers.insert(id);
        }
        Ok(())
    }

    /// Returns `true` if it goes another way than until now, whatever the file says: a key may be
    /// another one in the same file.
    fn sends_otherwise(&self, route: &Route) -> bool {
        self.before(route).is_some_and(|before| !before.sends_as(route))
    }

    /// The route of this name, as it runs until now.
    fn before(&self, route: &Route) -> Option<&Route> {
        // They are in the order of their names, and there may be many.
        let found = self.routes.binary_search_by(|before| before.name.cmp(&route.name));
        found.ok().and_then(|at| self.routes.get(at))
    }

    /// The names of those that go on as they run: what is known of them is what their tasks know.
    fn untouched(&self, routes: &mut [Route], changes: &Reload) -> BTreeSet<String> {
        let mut untouched = BTreeSet::new();
        for route in routes.iter_mut() {
            if !changes.routes.contains_key(&*route.name) {
                if let Some(before) = self.before(route) {
                    route.mirror = Arc::clone(&before.mirror);
                }
                untouched.insert(route.name.to_string());
            }
        }
        untouched
    }
}

impl Route {
    /// Returns `true` if what it sends goes the same way as what the other one does.
    fn sends_as(&self, other: &Self) -> bool {
        self.targets == other.targets
            && self.goes_on == other.goes_on
            && self.via == other.via
            && self.recorders == other.recorders
    }
}

fn removed(changes: &BTreeMap<String, Change>) -> impl Iterator<Item = (&String, &Change)> {
    changes.iter().filter(|(_, change)| **change == Change::Removed)
}
