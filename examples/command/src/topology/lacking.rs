//! Nodes that can't start before somebody mends a file: a secret that is missing, a key that others
//! can read. They wait for that, and are not started again and again.

use std::sync::Arc;
use std::time::Duration;

use estafette::node::StageRegistry;
use estafette_topology::Topology;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::child::{Children, Next, Said};
use super::tried::page_of;
use crate::error::CommandError;
use crate::page;

/// The wait between two looks at these files.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

impl Children<'_> {
    /// Looks whether a node that has ended before it was up lacks a file that a start needs.
    pub(super) async fn look_at_files(&mut self, name: &str, code: Option<i32>) {
        let registry = self.global.program.registry.clone();
        let Some(node) = self.nodes.get_mut(name) else { return };
        let could_not_start = code.is_some_and(|code| code != 0) && !node.is_up;
        if could_not_start && node.next == Next::Restart && node.before.is_none() {
            let applied = Arc::clone(&node.applied);
            node.lacks = has_files(&applied, name, &registry).await.is_err();
        }
    }

    /// Starts a node as soon as its files can be used.
    pub(super) fn wait_for_files(&mut self, name: &str) {
        let registry = self.global.program.registry.clone();
        self.waits += 1;
        let (number, said) = (self.waits, self.said.clone());
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.wait = Some(number);
        let (applied, name) = (Arc::clone(&node.applied), name.to_owned());
        let mut looks = JoinSet::new();
        looks.spawn(async move {
            while has_files(&applied, &name, &registry).await.is_err() {
                sleep(LOOK_AGAIN).await;
            }
            // Whoever listens may be gone.
            let _ = said.send((name, Said::Again(number))).await;
        });
        // It ends with the wait.
        node.looks = Some(looks);
    }
}

/// Fails where a file of a door, or of the page's token, can't be used.
async fn has_files(
    topology: &Topology,
    name: &str,
    registry: &StageRegistry,
) -> Result<(), CommandError> {
    page::look_at_token(page_of(topology, name).as_ref())?;
    Ok(topology.look_at_doors(name, registry).await?)
}
