//! Everything that is wrong with a topology, at once.

mod cycles;
mod doors;
mod inboxes;
mod nodes;
mod private;
mod relays;
mod routes;
mod settings;
mod stages;
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use estafette::node::StageRegistry;
use estafette::remote::Directory;

pub use self::private::PrivateFile;
use crate::fault::Fault;
use crate::model::Topology;

/// A topology that is checked, and the faults that were found.
struct Checking<'t> {
    topology: &'t Topology,
    registry: &'t StageRegistry,
    /// Each inbox of each node.
    homes: BTreeSet<(&'t str, &'t str)>,
    faults: Vec<Fault>,
}

impl Topology {
    /// All that is wrong with it, for a program with these stages and kinds. Nothing is opened,
    /// made or dialled.
    pub fn check(&self, registry: &StageRegistry) -> Vec<Fault> {
        let homes = self.inboxes.iter().flat_map(|(name, inbox)| {
            inbox.nodes.iter().map(move |node| (name.as_str(), node.as_str()))
        });
        let homes = homes.collect();
        let mut checking = Checking { topology: self, registry, homes, faults: Vec::new() };
        checking.path("state", &self.state);
        checking.nodes();
        checking.inboxes();
        checking.routes();
        checking.doors();
        checking.cycles();
        checking.tests();
        checking.faults
    }

    /// The names of the nodes.
    fn node_names(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }
}

impl Checking<'_> {
    /// A node that is named somewhere: whether there is one.
    fn knows(&mut self, at: &str, name: &str) -> bool {
        let known = self.topology.nodes.contains_key(name);
        if !known {
            let fault = Fault::new("unknown-node", at, format!("there is no node `{name}`"));
            let fault = fault.label("not a node of this topology");
            let before = self.faults.len();
            self.faults.push(fault.nearest(before, name, self.topology.node_names()));
        }
        known
    }

    /// Returns `true` if a node has an inbox.
    fn has(&self, node: &str, inbox: &str) -> bool {
        self.homes.contains(&(inbox, node))
    }

    /// A path of the topology's own.
    fn path(&mut self, at: &str, path: &Path) {
        let why = if path.as_os_str().is_empty() {
            "it is empty: name a path"
        } else if path.as_os_str().as_encoded_bytes().contains(&0) {
            "no path has the character 0"
        } else {
            return;
        };
        let message = format!("`{at}` can't be a path");
        self.faults.push(Fault::new("wrong-value", at, message).label(why));
    }

    /// The name of a node or a route.
    fn name(&mut self, at: &str, name: &str) {
        if let Err(error) = estafette::node::check_node_name(name) {
            self.faults.push(bad_name(at, name, &error.to_string()));
        }
    }
}

fn bad_name(at: &str, name: &str, why: &str) -> Fault {
    Fault::new("bad-name", at, format!("nothing can be called {name:?}")).label(why)
}

/// Tells whether an inbox may be called so.
fn inbox_name(name: &str) -> Result<(), String> {
    let named = Directory::default().receive(name, std::sync::Arc::new(settings::Nowhere));
    named.map_err(|error| error.to_string())
}

/// The names that occur twice, each once.
fn doubles<'n>(names: impl IntoIterator<Item = &'n str>) -> BTreeSet<&'n str> {
    let mut seen = BTreeSet::new();
    let twice = names.into_iter().filter(|name| !seen.insert(*name));
    // What could not be read has no name.
    twice.filter(|name| !matches!(*name, "" | "/")).collect()
}
