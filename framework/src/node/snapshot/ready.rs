//! Readiness of a node, as its page and its doors tell it.

use super::{LinkState, Snapshot};
use crate::wire::PeerId;

impl Snapshot {
    /// Returns why the node is not ready, each reason as a text for people; nothing if it is: its
    /// thread answers, its spool takes what is stored, and the links with these peers are up. A
    /// snapshot that [`Node::snapshot_with`](crate::Node::snapshot_with) has made has these links.
    pub fn unready(&self, needed: &[PeerId]) -> Vec<String> {
        if !self.answers {
            return vec!["the node does not answer: something blocks its thread".into()];
        }
        let mut why = Vec::new();
        if let Some(failure) = self.spool.as_ref().and_then(|spool| spool.failure.as_ref()) {
            why.push(format!("the spool takes nothing more: {failure}"));
        }
        for peer in needed {
            let id = peer.to_string();
            let link = self.links.iter().find(|link| link.peer == id);
            if link.is_none_or(|link| link.state != LinkState::Up) {
                let name = link.map_or_else(|| peer.short(), |link| link.name.clone());
                why.push(format!("the link with {name} is not up"));
            }
        }
        why
    }
}
