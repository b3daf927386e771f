//! A node that is changed while it runs: the new parts are made beside the old ones, then they take
//! their places.

use std::collections::BTreeMap;
use std::sync::Arc;

use estafette::node::TrustError;
use estafette::pipeline::Inbox;
use estafette::remote::DirectoryError;

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
    /// Trust can't be changed: what stands before it in the order of names is.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A name is taken by something of the host.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl RunningNode {
    /// Makes the node what another topology says of it, and returns what was changed: what did not
    /// change is not touched, and deliveries under way go on. Everything new is made first; where
    /// that fails, nothing is changed.
    pub async fn reload(&mut self, new: &Topology) -> Result<Reload, ReloadError> {
        let (name, old) = (self.name.clone(), self.topology.view(&self.name));
        let (Some(old), Some(view)) = (old, new.view(&name)) else {
            return Err(ReloadError::Gone(name));
        };
        let changes = match old.change(&view) {
            None => {
                self.topology = new.clone();
                return Ok(Reload::default());
            }
            Some(NodeChange::Reloads(reload)) => reload,
            Some(NodeChange::Restarts { keys }) => {
                return Err(ReloadError::Restart { name, keys });
            }
            Some(NodeChange::Starts | NodeChange::Ends) => return Err(ReloadError::Gone(name)),
        };
        let (topology, own) = (new.clone(), name.clone());
        let (_, ids) = on_a_thread(move || topology.identities(&own)).await??;
        let mut made = Vec::new();
        for (inbox, change) in &changes.inboxes {
            if *change != Change::Removed {
                made.push((inbox, *change, new.make_inbox(&name, inbox, &self.registry).await?));
            }
        }
        let routes =
            new.routes_from(&name, &ids, &self.node, &self.registry, &self.memory, &self.events);
        // From here on nothing but trust can fail.
        let directory = self.node.directory();
        for (inbox, change, made) in made {
            let made = Arc::<dyn Inbox>::from(made);
            if change == Change::Added || !directory.replace(inbox, Arc::clone(&made)) {
                directory.receive(inbox, made)?;
            }
        }
        // Who is let in finds what it is let in for.
        let trust = self.node.trust();
        for (id, peer) in new.peers_of(&name, &ids) {
            if changes.peers.contains_key(&peer.name) {
                trust.add(id, peer)?;
            }
        }
        let untouched = routes.iter().map(|route| route.name.to_string());
        let untouched = untouched.filter(|route| !changes.routes.contains_key(route)).collect();
        let connect = new.connected(&name, &ids);
        self.running.switch(Plan { routes: routes.clone(), untouched, connect }).await;
        self.routes = routes;
        for (inbox, _) in removed(&changes.inboxes) {
            directory.unregister(inbox);
        }
        // What it was called by the earlier topology.
        for (peer, _) in removed(&changes.peers) {
            if let Some((id, _)) = trust.named(peer) {
                trust.revoke(id)?;
            }
        }
        self.topology = new.clone();
        Ok(changes)
    }
}

fn removed(changes: &BTreeMap<String, Change>) -> impl Iterator<Item = (&String, &Change)> {
    changes.iter().filter(|(_, change)| **change == Change::Removed)
}
