//! A large graph from further away: nodes without their parts, and the routes between two nodes as
//! one edge.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{DrawError, Graph, GraphNode, PartKind};
use super::counts::{count, count_of_inboxes, counts};
use super::scene::{Arrow, Card, Scene, Words};

pub(super) fn scene(graph: &Graph) -> Result<Scene, DrawError> {
    let owners: BTreeMap<&str, usize> = graph
        .nodes
        .iter()
        .enumerate()
        .flat_map(|(at, node)| node.parts.iter().map(move |part| (part.id.as_str(), at)))
        .collect();
    let mut between: BTreeMap<(usize, usize), BTreeSet<&str>> = BTreeMap::new();
    for edge in graph.edges.iter().filter(|edge| edge.kind == super::super::EdgeKind::Delivery) {
        let ends = owners.get(edge.from.as_str()).zip(owners.get(edge.to.as_str()));
        if let Some((&from, &to)) = ends {
            between.entry((from, to)).or_default().insert(&edge.route);
        }
    }
    let (nodes, edges) = (graph.nodes.len(), between.len());
    let (nodes_most, edges_most) = (Graph::NODES_DRAWN, Graph::EDGES_DRAWN);
    if nodes > nodes_most || edges > edges_most {
        return Err(DrawError::TooLarge { nodes, nodes_most, edges, edges_most });
    }
    let arrow = |((from, to), routes): ((usize, usize), BTreeSet<&str>)| {
        let route = routes.first().filter(|_| routes.len() == 1).map(|route| (*route).to_owned());
        let words = route.clone().unwrap_or_else(|| format!("{} routes", routes.len()));
        let (start, end) = (&graph.nodes[from].name, &graph.nodes[to].name);
        let about = format!("{words}, from {start} to {end}");
        let (words, crosses) = (Some(Arrow::words(&words)), from != to);
        Arrow { from, to, route, words, about, crosses, state: "" }
    };
    let about = format!("{} Nodes are shown without their parts.", counts(graph));
    let cards = graph.nodes.iter().map(card).collect();
    let arrows = between.into_iter().map(arrow).collect();
    Ok(Scene { about, is_live: graph.is_live(), cards, arrows, ..Scene::default() })
}

fn card(node: &GraphNode) -> Card {
    let of = |kind| node.parts.iter().filter(|part| part.kind == kind).count();
    let mut details = vec![Words::new(&format!(
        "{}, {}",
        count(of(PartKind::Route), "route"),
        count_of_inboxes(of(PartKind::Inbox))
    ))];
    if node.missing {
        details.insert(0, Words::fault("no such node"));
    }
    let class = if node.relay { "relay" } else { "node" };
    let about = vec![format!("node {}", node.name)];
    details.extend(super::parts::words(node.live.as_ref()));
    let state = super::parts::state_of(node.live.as_ref());
    Card {
        about,
        is_missing: node.missing,
        state,
        ..Card::new(&node.id, class, &node.name, details)
    }
}
