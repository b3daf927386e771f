//! The drawing of a topology: which boxes there are, what is in them, and what goes from one to
//! another; written as Mermaid, DOT, SVG and JSON.
//!
//! All of it is pure, and the same topology gives the same bytes each time. Anything can be drawn,
//! what is faulty, too: what a route names and nobody has is there, and marked as missing.

mod build;
mod dot;
mod layout;
mod live;
mod mermaid;
mod svg;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use self::build::relay_words;
pub use self::live::{Live, LiveState};

use std::collections::BTreeMap;

use serde::Serialize;
use thiserror::Error;

use crate::Topology;

/// A topology as boxes and edges.
///
/// A box is a node; in it are its parts, between these the edges. As JSON, `version` says what the
/// other fields mean: fields may be added to a version, none changes or goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Graph {
    /// The version of this form: [`Graph::VERSION`].
    pub version: u32,
    /// The nodes, by name.
    pub nodes: Vec<GraphNode>,
    /// The routes, by name.
    pub routes: Vec<GraphRoute>,
    /// The edges, in the order of their routes.
    pub edges: Vec<GraphEdge>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GraphNode {
    /// A word for it that no other part or node of the graph has.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its id as a peer, if the topology says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The addresses it listens at.
    pub listen: Vec<String>,
    /// The addresses by which others dial it.
    pub addresses: Vec<String>,
    /// Nodes that may deliver to all of its inboxes.
    pub trust: Vec<String>,
    /// Set if it keeps packages for others.
    pub relay: bool,
    /// Set if a route names it, and the topology has no such node.
    pub missing: bool,
    /// Its inboxes by name, itself as a relay, its doors, then sources and routes.
    pub parts: Vec<GraphPart>,
    /// Its state, where somebody has looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// A part of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GraphPart {
    /// A word for it that no other part or node of the graph has.
    pub id: String,
    /// The sort of part.
    pub kind: PartKind,
    /// The name of the inbox, door or route, the kind of source; `relay`.
    pub name: String,
    /// A few words about it: the kind of sink and where to, the path of a source. Settings of a
    /// program's own kinds are not in it, as they may be secrets.
    pub detail: String,
    /// The steps that each chunk passes, of a route.
    pub stages: Vec<String>,
    /// Set if a route names it, and the node does not have it.
    pub missing: bool,
    /// Its state, where somebody has looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// A sort of part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PartKind {
    /// An inbox, and what becomes of what arrives in it.
    Inbox,
    /// The packages that a relay keeps for others.
    Relay,
    /// A way in for programs that are no nodes.
    Door,
    /// The content of a route's deliveries.
    Source,
    /// The stages of a route, at the node that sends.
    Route,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GraphRoute {
    /// Its name.
    pub name: String,
    /// The id of the part that is its source: an inbox, where what arrives goes on.
    pub source: String,
    /// The id of the part with its stages.
    pub part: String,
    /// The ids of the relays that its deliveries go by.
    pub via: Vec<String>,
    /// The ids of the inboxes that its deliveries go to.
    pub to: Vec<String>,
    /// The codec of chunks.
    pub codec: String,
    /// The times at which its source is sent: `once`, `on change`, `every 5m`; `on arrival`, if
    /// that is an inbox.
    pub schedule: String,
    /// The time for which its deliveries are worth delivering, such as `1d`.
    pub expiry: String,
}

/// An edge, from one part to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GraphEdge {
    /// The id of the part it begins at.
    pub from: String,
    /// The id of the part it ends at.
    pub to: String,
    /// The route it belongs to.
    pub route: String,
    /// The sort of edge, by what goes along it.
    pub kind: EdgeKind,
    /// Set if it leads from one node to another; else it stays within one.
    pub crosses: bool,
    /// Its state, where somebody has looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// A sort of edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EdgeKind {
    /// Content on its way to the stages of its route.
    Content,
    /// A sealed delivery, on its way to its receiver.
    Delivery,
}

/// A drawing that was not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DrawError {
    /// There is too much to find a place for all of it.
    #[error(
        "{nodes} nodes and {edges} pairs of nodes with routes between them are too many for a \
         drawing, which has at most {nodes_most} and {edges_most}"
    )]
    TooLarge {
        /// Nodes of the topology.
        nodes: usize,
        /// Nodes that a drawing may have.
        nodes_most: usize,
        /// Pairs of nodes with routes between them.
        edges: usize,
        /// Such pairs that a drawing may have.
        edges_most: usize,
    },
}

impl Graph {
    /// The version of the JSON.
    pub const VERSION: u32 = 1;

    /// The most parts in a picture. With more, nodes are drawn without their parts, and the routes
    /// between two nodes as one edge.
    pub const PARTS_DRAWN: usize = 120;

    /// The most nodes of a picture without parts.
    pub const NODES_DRAWN: usize = 100;

    /// The most edges of a picture.
    pub const EDGES_DRAWN: usize = 240;

    /// The style of pictures, which is in each of them: for pages that have one within and allow no
    /// styles but in files of their own.
    pub const STYLE: &str = svg::STYLE;

    /// The graph of a topology.
    pub fn of(topology: &Topology) -> Self {
        build::graph(topology)
    }

    /// Returns it as a flow chart for Mermaid, which code hosts and wikis draw.
    ///
    /// They have limits of their own: 500 edges and 50,000 characters, if not set otherwise.
    pub fn to_mermaid(&self) -> String {
        mermaid::write(self)
    }

    /// Returns it in DOT, the language of Graphviz.
    pub fn to_dot(&self) -> String {
        dot::write(self)
    }

    /// Returns it as JSON.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("text and numbers have a form");
        text.push('\n');
        text
    }

    /// Returns it as a picture, for light and dark pages.
    ///
    /// Elements say whose they are, for pages that show more: `data-id` of nodes and parts,
    /// `data-from`, `data-to` and `data-route` of edges.
    ///
    /// Beyond [`Graph::PARTS_DRAWN`] or [`Graph::EDGES_DRAWN`] it shows nodes without their parts.
    /// Finding the places takes from milliseconds to some seconds: not for a thread that has other
    /// things to do.
    ///
    /// # Errors
    /// [`DrawError::TooLarge`], if there are too many nodes for that, too.
    pub fn to_svg(&self) -> Result<String, DrawError> {
        svg::draw(self)
    }

    /// The words of each edge, a line each: of content its schedule, of a delivery its route and
    /// codec.
    fn words(&self) -> impl Iterator<Item = (&GraphEdge, Vec<&str>)> {
        let routes: BTreeMap<_, _> =
            self.routes.iter().map(|route| (route.name.as_str(), route)).collect();
        self.edges.iter().map(move |edge| {
            let route = routes.get(edge.route.as_str());
            let words = route.map(|route| match edge.kind {
                EdgeKind::Content => vec![route.schedule.as_str()],
                EdgeKind::Delivery => vec![route.name.as_str(), route.codec.as_str()],
            });
            let live = edge.live.as_ref().map(|live| live.words.as_str());
            let live = live.filter(|words| !words.is_empty());
            (edge, words.into_iter().flatten().chain(live).collect())
        })
    }
}
