//! The whole of a graph: nodes as frames around their parts.

use std::collections::BTreeMap;

use super::super::{EdgeKind, Graph, GraphNode, GraphPart, GraphRoute, Live, LiveState, PartKind};
use super::scene::{Arrow, Card, Head, Scene, Words};

/// Deliveries of one route that begin at one part, and have its name beside them; with more, the
/// name at where they begin is enough.
const NAMED: usize = 4;

/// Addresses of a node that are shown.
const ADDRESSES: usize = 2;

pub(super) fn scene(graph: &Graph) -> Scene {
    let mut scene = Scene { about: about(graph), is_live: graph.is_live(), ..Scene::default() };
    let mut places = BTreeMap::new();
    for (frame, node) in graph.nodes.iter().enumerate() {
        scene.heads.push(head(node));
        for part in &node.parts {
            places.insert(part.id.as_str(), scene.cards.len());
            scene.cards.push(Card { frame: Some(frame), ..card(part) });
        }
        if node.parts.is_empty() {
            scene.cards.push(Card { frame: Some(frame), ..Card::empty() });
        }
    }
    scene.arrows = arrows(graph, &places);
    scene
}

fn head(node: &GraphNode) -> Head {
    let mut details: Vec<Words> = Vec::new();
    if node.missing {
        details.push(Words::fault("no such node"));
    }
    let addresses = if node.listen.is_empty() { &node.addresses } else { &node.listen };
    details.extend(addresses.iter().take(ADDRESSES).map(|address| Words::new(address)));
    if addresses.len() > ADDRESSES {
        details.push(Words::new(&format!("and {} more", addresses.len() - ADDRESSES)));
    }
    details.extend(words(node.live.as_ref()));
    Head {
        about: node_about(node),
        is_missing: node.missing,
        state: state_of(node.live.as_ref()),
        ..Head::new(&node.id, &node.name, details)
    }
}

fn node_about(node: &GraphNode) -> Vec<String> {
    let mut about = vec![format!("node {}", node.name)];
    let mut say = |what: &str, words: &str| {
        if !words.is_empty() {
            about.push(format!("{what} {words}"));
        }
    };
    say("id", node.peer.as_deref().unwrap_or_default());
    say("listens at", &node.listen.join(", "));
    say("is dialled at", &node.addresses.join(", "));
    say("trusts", &node.trust.join(", "));
    about
}

fn card(part: &GraphPart) -> Card {
    let (class, sort) = match part.kind {
        PartKind::Inbox => ("inbox", "inbox"),
        PartKind::Relay => ("relay", "relay"),
        PartKind::Door => ("door", "door"),
        PartKind::Source => ("source", "source"),
        PartKind::Route => ("route", "route"),
    };
    let mut details = Vec::new();
    let mut about = vec![format!("{sort} {}", part.name)];
    if part.missing {
        let words = match part.kind {
            PartKind::Relay => "this node is no relay",
            _ => "no such inbox here",
        };
        details.push(Words::fault(words));
        about.push(words.into());
    }
    if !part.detail.is_empty() {
        details.push(Words::new(&part.detail));
        about.push(part.detail.clone());
    }
    details.extend(words(part.live.as_ref()));
    if !part.stages.is_empty() {
        about.push(part.stages.join(" → "));
    }
    let card = Card::new(&part.id, class, &part.name, details).with_chips(&part.stages);
    Card { about, is_missing: part.missing, state: state_of(part.live.as_ref()), ..card }
}

fn arrows(graph: &Graph, places: &BTreeMap<&str, usize>) -> Vec<Arrow> {
    let mut begin: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for edge in &graph.edges {
        *begin.entry((&edge.route, &edge.from)).or_default() += 1;
    }
    let arrow = |(edge, words): (&super::super::GraphEdge, Vec<&str>)| {
        let is_named = begin.get(&(edge.route.as_str(), edge.from.as_str())) <= Some(&NAMED);
        let about = match edge.kind {
            EdgeKind::Content => format!("content of route {}, {}", edge.route, words.join(", ")),
            EdgeKind::Delivery => format!("deliveries of route {}", words.join(", ")),
        };
        // The name and how it goes; the codec is told when one points at it.
        let said = match (words.first(), &edge.live) {
            (Some(name), Some(live)) if !live.words.is_empty() => {
                Some(format!("{name} · {}", live.words))
            }
            (name, _) => name.map(|name| (*name).to_owned()),
        };
        Some(Arrow {
            from: *places.get(edge.from.as_str())?,
            to: *places.get(edge.to.as_str())?,
            route: Some(edge.route.clone()),
            words: said.filter(|_| is_named).map(|words| Arrow::words(&words)),
            state: state_of(edge.live.as_ref()),
            about,
            crosses: edge.crosses,
        })
    };
    graph.words().filter_map(arrow).collect()
}

/// The class of how something is.
pub(super) fn state_of(live: Option<&Live>) -> &'static str {
    live.map_or("", |live| live.state.class())
}

/// The words about how something is.
pub(super) fn words(live: Option<&Live>) -> Option<Words> {
    let live = live.filter(|live| !live.words.is_empty())?;
    let words = Words::new(&live.words);
    Some(Words { is_fault: live.state == LiveState::Bad, ..words })
}

/// Routes that are told to those who do not see them.
const TOLD: usize = 50;

fn about(graph: &Graph) -> String {
    let mut about = super::counts::counts(graph);
    let names: BTreeMap<&str, (&GraphNode, &GraphPart)> = graph
        .nodes
        .iter()
        .flat_map(|node| node.parts.iter().map(move |part| (part.id.as_str(), (node, part))))
        .collect();
    let name = |id: &String| {
        names.get(id.as_str()).map_or_else(String::new, |(node, part)| match part.kind {
            PartKind::Relay => node.name.clone(),
            _ => format!("{}/{}", node.name, part.name),
        })
    };
    let list = |ids: &[String]| ids.iter().map(name).collect::<Vec<_>>().join(", ");
    let told = |route: &GraphRoute| {
        let via = match route.via.as_slice() {
            [] => String::new(),
            via => format!(" by {}", list(via)),
        };
        format!(
            " Route {}: from {}{via} to {}, {}.",
            route.name,
            name(&route.source),
            list(&route.to),
            route.schedule
        )
    };
    about.extend(graph.routes.iter().take(TOLD).map(told));
    if graph.routes.len() > TOLD {
        about.push_str(&format!(" And {} more routes.", graph.routes.len() - TOLD));
    }
    about
}
