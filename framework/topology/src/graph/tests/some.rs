//! Topologies to draw.

use std::time::Duration;

use estafette::node::RelayQuota;

use crate::{
    EachSpec, InboxSpec, Kind, NodeSpec, RouteSpec, Schedule, SourceSpec, Target, Then, Topology,
};

/// Names of which each would break some format, if it went there as it is.
pub(super) const AWKWARD: [&str; 12] = [
    "<b>&amp;\"quoted\"'</title>",
    "end",
    "1. first",
    "a\\",
    "`_x_`#35;;%%--> {y} [z] (w) |v|",
    "line\nbreak\ttab\u{0}\u{7f}",
    "\u{202e}turned\u{2066}\u{3164}",
    "البريد السريع",
    "東京の配達所東京の配達所",
    "a/b%2Fc",
    " ",
    "a-name-of-sixty-four-characters-that-goes-on-and-on-until-the-en",
];

pub(super) fn node(port: u16) -> NodeSpec {
    NodeSpec::listening(format!("127.0.0.1:{port}"))
}

pub(super) fn relay(port: u16) -> NodeSpec {
    NodeSpec { relay: Some(RelayQuota::default()), ..node(port) }
}

pub(super) fn two_nodes() -> Topology {
    let to = Target::new("lyon", "letters");
    Topology::new("/srv")
        .node("paris", node(7401))
        .node("lyon", node(7402))
        .inbox("letters", InboxSpec::at("lyon", Kind::folder("in/{node}")))
        .route("post", RouteSpec::new("paris", Kind::path("out/a.txt"), to))
}

/// A relay, what goes on from an inbox, and what comes back.
pub(super) fn chain() -> Topology {
    let nodes = vec!["nice".into(), "paris".into()];
    let archive = InboxSpec { nodes, sink: Kind::folder("/srv/archive") };
    let mut topology = two_nodes()
        .node("hub", relay(7403))
        .node("nice", node(7404))
        .inbox("archive", archive)
        .route(
            "onward",
            RouteSpec {
                source: SourceSpec::Inbox("letters".into()),
                stages: vec!["redact".into(), "watermark".into(), "audit-log".into()],
                codec: Some("lz4".into()),
                ..RouteSpec::new("lyon", Kind::path(""), Target::new("nice", "archive"))
            },
        )
        .route(
            "report",
            RouteSpec {
                schedule: Schedule::Every(Duration::from_secs(300)),
                via: vec!["hub".into()],
                ..RouteSpec::new("nice", Kind::path("report.csv"), Target::new("paris", "archive"))
            },
        )
        .route(
            "mirror",
            RouteSpec {
                source: SourceSpec::Each(EachSpec {
                    folder: "outgoing".into(),
                    then: Then::Remove,
                }),
                ..RouteSpec::new("paris", Kind::path(""), Target::new("lyon", "letters"))
            },
        );
    topology.routes.get_mut("post").expect("a route").via = vec!["hub".into()];
    topology
}

pub(super) fn fan_out(to: u16) -> Topology {
    let names: Vec<String> = (0..to).map(|at| format!("town-{at:02}")).collect();
    let nodes = names
        .iter()
        .zip(7100..)
        .fold(Topology::new("/srv"), |topology, (name, port)| topology.node(name, node(port)));
    let news = InboxSpec { nodes: names.clone(), sink: Kind::folder("in/{node}") };
    let route = RouteSpec::new("paris", Kind::path("news/"), Target::new("", ""));
    let to = names.iter().map(|name| Target::new(name, "news")).collect();
    nodes
        .node("paris", node(7000))
        .inbox("news", news)
        .route("news", RouteSpec { to, schedule: Schedule::Change, ..route })
}

pub(super) fn fan_in(from: u16) -> Topology {
    let collector = Topology::new("/srv")
        .node("collector", node(7000))
        .inbox("measures", InboxSpec::at("collector", Kind::new("sqlite", "secret")));
    (0..from).fold(collector, |topology, at| {
        let name = format!("sensor-{at:02}");
        let to = Target::new("collector", "measures");
        let route = RouteSpec::new(&name, Kind::path("measures.csv"), to);
        topology.node(name, node(7100 + at)).route(format!("measures-{at:02}"), route)
    })
}

/// Nodes in a ring, two that send to each other, and one that sends to itself.
pub(super) fn cycles() -> Topology {
    let nodes = ["a", "b", "c", "d"].into_iter().fold(Topology::new("/srv"), |topology, name| {
        let inbox = InboxSpec::at(name, Kind::folder(format!("in/{name}")));
        topology.node(name, node(7400)).inbox(format!("in-{name}"), inbox)
    });
    let pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "a"), ("d", "a"), ("a", "d")];
    pairs.into_iter().fold(nodes, |topology, (from, to)| {
        let mut route = RouteSpec::new(from, Kind::path("x"), Target::new(to, format!("in-{to}")));
        if from != "d" {
            route.source = SourceSpec::Inbox(format!("in-{from}"));
        }
        topology.route(format!("{from}-{to}"), route)
    })
}

/// A node, an inbox and a route of each awkward name, each to the next, by the one after that.
pub(super) fn awkward() -> Topology {
    let next = |at: usize| AWKWARD[(at + 1) % AWKWARD.len()];
    let mut topology = Topology::new("/srv");
    for (at, name) in AWKWARD.into_iter().enumerate() {
        let route = RouteSpec::new(name, Kind::path(name), Target::new(next(at), next(at)));
        let via = (at % 3 == 0).then(|| next(at + 1).to_owned()).into_iter().collect();
        topology = topology
            .node(name, NodeSpec { listen: vec![name.into()], ..NodeSpec::default() })
            .inbox(name, InboxSpec::at(name, Kind::folder(name)))
            .route(name, RouteSpec { via, stages: vec![name.into()], ..route });
    }
    topology
}

/// As many nodes, and routes between them.
pub(super) fn many(nodes: usize, routes: usize) -> Topology {
    let named = (0..nodes).fold(Topology::new("/srv"), |topology, at| {
        let inbox = InboxSpec::at(format!("n{at}"), Kind::folder("in"));
        topology.node(format!("n{at}"), node(7400)).inbox(format!("in{at}"), inbox)
    });
    (0..routes).fold(named, |topology, at| {
        let (from, to) = (at % nodes, (at * at / nodes + 3 * at) % nodes);
        let to = Target::new(format!("n{to}"), format!("in{to}"));
        topology.route(format!("r{at}"), RouteSpec::new(format!("n{from}"), Kind::path("x"), to))
    })
}

/// Many relays between few nodes: `dagre` gives several boxes of a layer one place in its order.
pub(super) fn entangled() -> Topology {
    let [long, right, slash] = [AWKWARD[11], AWKWARD[6], AWKWARD[9]];
    let route = |from: &str, source: SourceSpec, to: &[(&str, &str)], via: &[&str]| RouteSpec {
        source,
        to: to.iter().map(|&(node, inbox)| Target::new(node, inbox)).collect(),
        via: via.iter().map(|&via| via.into()).collect(),
        ..RouteSpec::new(from, Kind::path(""), Target::new("", ""))
    };
    let folder = || SourceSpec::Kind(Kind::folder("a"));
    let each = || SourceSpec::Each(EachSpec { folder: "a".into(), then: Then::Remove });
    Topology::new("/srv")
        .route(AWKWARD[0], route(long, folder(), &[("a", "a"), ("a", "a"), ("d", "a")], &[right]))
        .route("a", route("b", each(), &[(long, "a"), ("a", "d")], &["d", "e"]))
        .route("b", route("c", each(), &[], &["d", slash]))
        .route("c", route("a", folder(), &[("b", "a"), ("c", "a")], &[slash]))
        .route("d", route("a", folder(), &[(right, "a")], &["b"]))
}
