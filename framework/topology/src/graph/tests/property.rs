//! Whatever a topology has, each drawing has all of it.

use std::time::Duration;

use estafette::node::RelayQuota;
use proptest::prelude::*;

use super::read::{self, expected};
use super::{places, some::AWKWARD};
use crate::{
    EachSpec, Graph, InboxSpec, Kind, NodeSpec, RouteSpec, Schedule, SourceSpec, StageSpec, Target,
    Then, Topology,
};

/// Names from a small set, so that they meet, and any others.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-e]",
        2 => proptest::sample::select(&AWKWARD).prop_map(str::to_owned),
        1 => any::<String>().prop_map(|text| text.chars().take(16).collect()),
    ]
}

fn names(most: usize) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(name(), 0..most)
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        name().prop_map(Kind::folder),
        name().prop_map(Kind::path),
        (name(), name()).prop_map(|(name, settings)| Kind::new(name, settings)),
    ]
}

fn node() -> impl Strategy<Value = NodeSpec> {
    (names(4), any::<bool>()).prop_map(|(listen, is_relay)| NodeSpec {
        listen,
        relay: is_relay.then(RelayQuota::default),
        ..NodeSpec::default()
    })
}

fn inbox() -> impl Strategy<Value = InboxSpec> {
    (names(4), kind()).prop_map(|(nodes, sink)| InboxSpec { nodes, sink })
}

fn source() -> impl Strategy<Value = SourceSpec> {
    prop_oneof![
        kind().prop_map(SourceSpec::Kind),
        name().prop_map(SourceSpec::Inbox),
        name().prop_map(|folder| {
            SourceSpec::Each(EachSpec { folder: folder.into(), then: Then::Remove })
        }),
    ]
}

fn route() -> impl Strategy<Value = RouteSpec> {
    let targets = proptest::collection::vec((name(), name()), 0..5);
    let via = proptest::collection::vec(name(), 0..3);
    let schedule = prop_oneof![
        Just(Schedule::Once),
        Just(Schedule::Change),
        Just(Schedule::Every(Duration::from_secs(90))),
    ];
    (name(), source(), targets, via, names(4), schedule).prop_map(
        |(from, source, to, via, stages, schedule)| RouteSpec {
            source,
            to: to.into_iter().map(|(node, inbox)| Target::new(node, inbox)).collect(),
            via,
            stages: stages.into_iter().map(StageSpec::from).collect(),
            schedule,
            ..RouteSpec::new(from, Kind::path(""), Target::new("", ""))
        },
    )
}

fn topology() -> impl Strategy<Value = Topology> {
    let nodes = proptest::collection::btree_map(name(), node(), 0..7);
    let inboxes = proptest::collection::btree_map(name(), inbox(), 0..6);
    let routes = proptest::collection::btree_map(name(), route(), 0..9);
    (nodes, inboxes, routes).prop_map(|(nodes, inboxes, routes)| Topology {
        nodes,
        inboxes,
        routes,
        ..Topology::new("/srv")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_node_inbox_route_and_edge_is_in_each_format(topology in topology()) {
        let graph = Graph::of(&topology);
        let all = expected(&graph);
        for name in topology.nodes.keys() {
            prop_assert!(graph.nodes.iter().any(|node| node.name == *name && !node.missing));
        }
        prop_assert!(graph.routes.iter().map(|route| &route.name).eq(topology.routes.keys()));
        prop_assert_eq!(&read::mermaid(&graph.to_mermaid()), &all);
        prop_assert_eq!(&read::dot(&graph.to_dot()), &all);
        let json: serde_json::Value = serde_json::from_str(&graph.to_json()).expect("JSON");
        prop_assert_eq!(json["routes"].as_array().map(Vec::len), Some(topology.routes.len()));
        let svg = graph.to_svg().expect("it is small");
        prop_assert_eq!(&read::svg(&svg), &all);
        prop_assert_eq!(svg, Graph::of(&topology.clone()).to_svg().expect("it is small"));
    }

    #[test]
    fn nothing_lies_on_something_else(topology in topology()) {
        let (places, ends) = places::places(&topology);
        places::check(&places, &ends);
    }
}
