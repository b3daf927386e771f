//! From a topology to its graph.

use std::collections::{BTreeMap, BTreeSet};

use estafette::NodeConfig;
use estafette::node::RelayQuota;
use estafette::node::units::{size_text, time_text};
use estafette::wire::is_visible;
use toml::Value;

use super::{EdgeKind, Graph, GraphEdge, GraphNode, GraphPart, GraphRoute, PartKind};
use crate::{
    DoorSpec, EachSpec, Kind, NodeSpec, RouteSpec, Schedule, SourceSpec, Target, Then, Topology,
};

pub(super) fn graph(topology: &Topology) -> Graph {
    let mut building = Building { topology, nodes: BTreeMap::new(), ids: BTreeSet::new() };
    for name in topology.nodes.keys() {
        building.node(name);
    }
    for (name, inbox) in &topology.inboxes {
        for node in &inbox.nodes {
            building.inbox(node, name);
        }
    }
    for (name, node) in &topology.nodes {
        if node.relay.is_some() {
            building.relay(name);
        }
    }
    for (name, door) in &topology.doors {
        building.door(name, door);
    }
    let mut edges = Vec::new();
    let routes =
        topology.routes.iter().map(|(name, route)| building.route(name, route, &mut edges));
    let routes = routes.collect();
    let mut nodes: Vec<_> = building.nodes.into_values().collect();
    for node in &mut nodes {
        // Sources and routes stay in pairs: only inboxes, the relay and doors go before them.
        node.parts.sort_by_key(|part| part.kind.min(PartKind::Source));
    }
    Graph { version: Graph::VERSION, nodes, routes, edges }
}

struct Building<'a> {
    topology: &'a Topology,
    nodes: BTreeMap<&'a str, GraphNode>,
    /// The parts that are there.
    ids: BTreeSet<String>,
}

impl<'a> Building<'a> {
    /// The node of this name, which may be missing.
    fn node(&mut self, name: &'a str) -> &mut GraphNode {
        let spec = self.topology.nodes.get(name);
        self.nodes.entry(name).or_insert_with(|| {
            let known = spec.cloned().unwrap_or_default();
            GraphNode {
                id: format!("node:{}", word(name)),
                name: name.to_owned(),
                peer: known.id.map(|id| id.to_string()),
                addresses: known.dialled_at(),
                relay: known.relay.is_some(),
                missing: spec.is_none(),
                listen: known.listen,
                trust: known.trust,
                parts: Vec::new(),
                live: None,
            }
        })
    }

    /// Puts a part into a node, if it is not there yet, and returns its id.
    fn part(&mut self, node: &'a str, part: GraphPart) -> String {
        let id = part.id.clone();
        if self.ids.insert(id.clone()) {
            self.node(node).parts.push(part);
        }
        id
    }

    fn inbox(&mut self, node: &'a str, name: &str) -> String {
        let spec = self.topology.inboxes.get(name);
        let here = spec.filter(|inbox| inbox.nodes.iter().any(|other| other == node));
        self.part(
            node,
            GraphPart {
                id: format!("inbox:{}/{}", word(node), word(name)),
                kind: PartKind::Inbox,
                name: name.to_owned(),
                detail: here.map(|inbox| sink_words(&inbox.sink, node)).unwrap_or_default(),
                stages: Vec::new(),
                missing: here.is_none(),
                live: None,
            },
        )
    }

    fn relay(&mut self, node: &'a str) -> String {
        let quota = self.topology.nodes.get(node).and_then(|spec| spec.relay);
        let detail = quota.map(relay_words);
        self.part(
            node,
            GraphPart {
                id: format!("relay:{}", word(node)),
                kind: PartKind::Relay,
                name: "relay".into(),
                detail: detail.unwrap_or_default(),
                stages: Vec::new(),
                missing: quota.is_none(),
                live: None,
            },
        )
    }

    /// Puts a door into its node.
    fn door(&mut self, name: &str, door: &'a DoorSpec) {
        let to: Vec<_> = door.to.iter().map(ToString::to_string).collect();
        let words = door_words(&door.door);
        let detail = match (door.to.is_empty(), door.from.is_empty()) {
            (true, true) => words,
            (true, false) => format!("{words} of {}", door.from.join(", ")),
            (false, _) => format!("{words} to {}", to.join(", ")),
        };
        self.part(
            &door.node,
            GraphPart {
                id: format!("door:{}", word(name)),
                kind: PartKind::Door,
                name: name.to_owned(),
                detail,
                stages: Vec::new(),
                missing: false,
                live: None,
            },
        );
    }

    /// Puts a route with its source, stages and edges there.
    fn route(
        &mut self,
        name: &'a str,
        route: &'a RouteSpec,
        edges: &mut Vec<GraphEdge>,
    ) -> GraphRoute {
        let limits = self.topology.nodes.get(&route.from).map(|node: &NodeSpec| &node.limits);
        let limits = limits.cloned().unwrap_or_default();
        let codec = route.codec.clone().unwrap_or_else(|| limits.compression.to_string());
        let schedule = schedule_words(route);
        let source = self.source(name, route);
        let part = self.part(
            &route.from,
            GraphPart {
                id: format!("route:{}", word(name)),
                kind: PartKind::Route,
                name: name.to_owned(),
                detail: String::new(),
                stages: stages(route, &limits, &codec),
                missing: false,
                live: None,
            },
        );
        let via: Vec<_> =
            route.via.iter().map(|relay| (relay.as_str(), self.relay(relay))).collect();
        let targets: BTreeSet<&Target> = route.to.iter().collect();
        let to: Vec<_> = targets
            .into_iter()
            .map(|to| (to.node.as_str(), self.inbox(&to.node, &to.inbox)))
            .collect();
        let mut edge = |from: (&str, &str), to: (&str, &str), kind| {
            edges.push(GraphEdge {
                from: from.1.to_owned(),
                to: to.1.to_owned(),
                route: name.to_owned(),
                kind,
                crosses: from.0 != to.0,
                live: None,
            });
        };
        let mut end = (route.from.as_str(), part.as_str());
        edge((&route.from, &source), end, EdgeKind::Content);
        for (node, relay) in &via {
            edge(end, (node, relay), EdgeKind::Delivery);
            end = (node, relay);
        }
        for (node, inbox) in &to {
            edge(end, (node, inbox), EdgeKind::Delivery);
        }
        let expiry = time_text(route.expiry.unwrap_or(limits.expiry));
        let ids = |parts: Vec<(&str, String)>| parts.into_iter().map(|(_, id)| id).collect();
        let (via, to) = (ids(via), ids(to));
        GraphRoute { name: name.to_owned(), source, part, via, to, codec, schedule, expiry }
    }

    /// The part that a route begins at.
    fn source(&mut self, name: &str, route: &'a RouteSpec) -> String {
        let (kind, detail) = match &route.source {
            SourceSpec::Inbox(inbox) => return self.inbox(&route.from, inbox),
            SourceSpec::Kind(kind) => (kind.name.clone(), source_words(kind)),
            SourceSpec::Each(EachSpec { folder, then }) => {
                let then = match then {
                    Then::Keep => "kept",
                    Then::Remove => "removed when delivered",
                };
                ("each".to_owned(), format!("{}, {then}", folder.display()))
            }
        };
        self.part(
            &route.from,
            GraphPart {
                id: format!("source:{}", word(name)),
                kind: PartKind::Source,
                name: kind,
                detail,
                stages: Vec::new(),
                missing: false,
                live: None,
            },
        )
    }
}

/// A name within an id: letters, digits, and `%` with two digits for each byte of what else it has,
/// so that no two names become one, and no format has to escape an id.
fn word(name: &str) -> String {
    let mut word = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' => word.push(c),
            _ if c.is_alphanumeric() && is_visible(c) => word.push(c),
            _ => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    word.push_str(&format!("%{byte:02X}"));
                }
            }
        }
    }
    word
}

/// The quota of a relay.
pub(crate) fn relay_words(quota: RelayQuota) -> String {
    format!("{} packages, {} a sender", quota.packages, size_text(quota.bytes))
}

/// The steps of each chunk.
fn stages(route: &RouteSpec, limits: &NodeConfig, codec: &str) -> Vec<String> {
    let size = size_text(route.chunk_size.unwrap_or(limits.chunk_size).into());
    // What has settings is a filter, before the chunker; they may be secrets.
    let names = |filters| {
        let stages = route.stages.iter().filter(move |stage| stage.settings.is_some() == filters);
        stages.map(|stage| stage.name.clone())
    };
    let mut stages: Vec<_> = names(true).collect();
    stages.push(format!("chunk {size}"));
    stages.extend(names(false));
    if codec != "off" {
        stages.push(codec.to_owned());
    }
    stages.push(match route.to.len() {
        0 | 1 => "seal".into(),
        receivers => format!("seal × {receivers}"),
    });
    stages
}

fn schedule_words(route: &RouteSpec) -> String {
    match (&route.source, route.schedule) {
        (SourceSpec::Inbox(_), _) => "on arrival".into(),
        (SourceSpec::Each(_), _) => "as they come".into(),
        (_, Schedule::Once) => "once".into(),
        (_, Schedule::Change) => "on change".into(),
        (_, Schedule::Every(time)) => format!("every {}", time_text(time)),
    }
}

/// A kind of sink, and where to, if it is a standard one.
fn sink_words(kind: &Kind, node: &str) -> String {
    let into = (kind.name == "folder").then(|| path(&kind.settings, "into")).flatten();
    into.map_or_else(
        || kind.name.clone(),
        |into| format!("{} {}", kind.name, into.replace("{node}", node)),
    )
}

/// A kind of door, and where it listens or leads out to, if it is a standard one. The path of a URL
/// may be a secret, and so may what is after `?` or before `@`.
fn door_words(kind: &Kind) -> String {
    if kind.name == "webhook" {
        let url = path(&kind.settings, "url").unwrap_or_default();
        let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
        let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        return format!("webhook {scheme}://{host}");
    }
    let listen = matches!(kind.name.as_str(), "http" | "grpc");
    let listen = listen.then(|| path(&kind.settings, "listen")).flatten();
    listen.map_or_else(|| kind.name.clone(), |listen| format!("{} {listen}", kind.name))
}

/// The path of a source, if it is of a standard kind.
fn source_words(kind: &Kind) -> String {
    let words = match kind.name.as_str() {
        "paths" => path(&kind.settings, "paths"),
        "text" => kind.settings.get("name").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    words.unwrap_or_default()
}

/// A path in settings: these themselves, or what they have under `key`.
fn path(settings: &Value, key: &str) -> Option<String> {
    match settings {
        Value::String(path) => Some(path.clone()),
        Value::Array(paths) => {
            let first = paths.first()?.as_str()?;
            Some(match paths.len() {
                1 => first.to_owned(),
                all => format!("{first}, and {} more", all - 1),
            })
        }
        Value::Table(table) => path(table.get(key)?, key),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    #[test]
    fn what_may_be_secret_of_a_url_is_not_drawn() {
        for url in [
            "https://example.org:1/secret?secret#secret",
            "https://example.org:1?secret",
            "https://me:secret@example.org:1/",
        ] {
            let settings = toml::from_str(&format!("url = \"{url}\"")).unwrap();
            let kind = Kind { name: "webhook".into(), settings };
            assert_eq!(door_words(&kind), "webhook https://example.org:1");
        }
    }
}
