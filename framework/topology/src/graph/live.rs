//! The state of nodes and routes of a drawing at this moment.

use serde::Serialize;

use super::{EdgeKind, Graph};

/// The state of a node, a part or an edge at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Live {
    /// The grade of how it works.
    pub state: LiveState,
    /// A few words about it: `12.3 MB/s`.
    pub words: String,
}

/// A grade of how something works; the worse, the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveState {
    /// Nothing has happened.
    Idle,
    /// It works.
    Good,
    /// It does not at this moment, or can't be told.
    Warn,
    /// It does not.
    Bad,
}

impl LiveState {
    /// Its class in pictures.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Idle => " idle",
            Self::Good => " good",
            Self::Warn => " warn",
            Self::Bad => " bad",
        }
    }
}

impl Live {
    /// A state, and words about it.
    pub fn new(state: LiveState, words: impl Into<String>) -> Self {
        Self { state, words: words.into() }
    }
}

impl Graph {
    /// Shows how a node is, by its name.
    pub fn show_node(&mut self, name: &str, live: Live) {
        if let Some(node) = self.nodes.iter_mut().find(|node| node.name == name) {
            node.live = Some(live);
        }
    }

    /// Shows how a route is, by its name.
    pub fn show_route(&mut self, name: &str, live: Live) {
        let Some(route) = self.routes.iter().find(|route| route.name == name) else { return };
        let parts = self.nodes.iter_mut().flat_map(|node| &mut node.parts);
        if let Some(part) = parts.into_iter().find(|part| part.id == route.part) {
            part.live = Some(live);
        }
    }

    /// Shows what goes by a route, by its name, to a target, by its node and inbox: on the edge that
    /// leaves the route, which may lead to a relay.
    pub fn show_way(&mut self, name: &str, (node, inbox): (&str, &str), live: &Live) {
        let Some(route) = self.routes.iter().find(|route| route.name == name) else { return };
        let of = self.nodes.iter().find(|other| other.name == node);
        let part = of.and_then(|of| {
            of.parts.iter().find(|part| part.name == inbox && route.to.contains(&part.id))
        });
        let ends = [route.via.first(), part.map(|part| &part.id)];
        let Some(end) = ends.into_iter().flatten().next() else { return };
        let edge = self
            .edges
            .iter_mut()
            .find(|edge| edge.route == name && edge.kind == EdgeKind::Delivery && edge.to == *end);
        if let Some(edge) = edge {
            edge.live = Some(live.clone());
        }
    }

    /// Returns `true` if somebody has looked.
    pub(super) fn is_live(&self) -> bool {
        self.nodes.iter().any(|node| node.live.is_some())
    }
}
