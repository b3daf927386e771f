//! The numbers of what a graph has, in words.

use super::super::{Graph, PartKind};

/// The numbers of nodes, routes and inboxes, in a sentence.
pub(super) fn counts(graph: &Graph) -> String {
    let parts = graph.nodes.iter().flat_map(|node| &node.parts);
    let inboxes = parts.filter(|part| part.kind == PartKind::Inbox).count();
    format!(
        "{}, {} and {}.",
        count(graph.nodes.len(), "node"),
        count(graph.routes.len(), "route"),
        count_of_inboxes(inboxes)
    )
}

pub(super) fn count(of: usize, what: &str) -> String {
    format!("{of} {what}{}", if of == 1 { "" } else { "s" })
}

pub(super) fn count_of_inboxes(of: usize) -> String {
    format!("{of} {}", if of == 1 { "inbox" } else { "inboxes" })
}
