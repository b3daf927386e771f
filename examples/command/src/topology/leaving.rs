//! Nodes that end for a reload, and leave what they keep for others, or what waits at a door of
//! theirs, to nobody: looked at once more when they have ended.

use std::sync::Arc;

use estafette_topology::NodeChange;

use super::child::{Children, Next, Said};
use super::tried::{Part, leaves_nothing};
use crate::error::CommandError;

impl Children<'_> {
    /// Asks a relay that has ended for a reload whether it keeps something after all, and its doors
    /// that go: it was asked while it ran, and something may have come in until its end. Returns
    /// `true` if it is asked.
    pub(super) fn looks_once_more(&mut self, name: &str, code: Option<i32>) -> bool {
        let part = self.part_that_leaves(name).filter(|_| !self.is_stopping());
        let (Some(part), Some(node)) = (part, self.nodes.get_mut(name)) else { return false };
        let Some(process) = &mut node.process else { return false };
        process.has_ended = true;
        let (applied, said) = (Arc::clone(&node.applied), self.said.clone());
        let (new, registry) = (Arc::clone(&self.topology), self.global.program.registry.clone());
        let name = name.to_owned();
        tokio::spawn(async move {
            let kept = leaves_nothing(&part, &applied, &new, &registry).await.err();
            // Whoever listens may be gone.
            let _ = said.send((name, Said::Left(code, kept))).await;
        });
        true
    }

    /// Its change, if nobody opens its spool with the same key when its process has ended, or a door
    /// that it has.
    fn part_that_leaves(&self, name: &str) -> Option<Part> {
        let node = self.nodes.get(name)?;
        let change = match node.next {
            Next::Restart => None,
            Next::Now => node.applied.change_of(name, &self.topology),
            Next::Nothing => Some(NodeChange::Ends),
        };
        let part = Part { name: name.to_owned(), change: change?, applied: None };
        let leaves =
            part.leaves_its_spool() || node.applied.has_doors_that_go(name, &self.topology);
        leaves.then_some(part)
    }

    /// It was asked: it has ended, or goes on with what it keeps.
    pub(super) fn left(&mut self, name: &str, code: Option<i32>, kept: Option<CommandError>) {
        let goes_on = !self.is_stopping() && self.part_that_leaves(name).is_some();
        match (self.nodes.get_mut(name), kept.filter(|_| goes_on)) {
            (Some(node), Some(kept)) => {
                (node.process, node.code, node.is_killed) = (None, code, code.is_none());
                node.before.get_or_insert_with(|| Arc::clone(&node.applied));
                node.fault = Some(kept.message);
                self.go_back(name);
                // Its addresses stay its own: who waits for one hears so.
                self.start_those_who_waited();
            }
            _ => self.ended(name, code),
        }
    }
}
