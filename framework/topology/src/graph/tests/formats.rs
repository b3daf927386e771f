//! Each format says what the graph has, is read again, and is the same each time.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::read::{self, expected};
use super::some::*;
use crate::{DrawError, Graph, InboxSpec, Kind, RouteSpec, SourceSpec, Target, Topology};

fn all() -> Vec<(&'static str, Topology)> {
    vec![
        ("two nodes", two_nodes()),
        ("chain", chain()),
        ("fan-out", fan_out(20)),
        ("fan-in", fan_in(8)),
        ("cycles", cycles()),
        ("awkward", awkward()),
        ("many", many(8, 24)),
        ("empty", Topology::new("/srv")),
    ]
}

#[test]
fn mermaid_has_each_part_in_its_node_and_each_edge() {
    for (name, topology) in all() {
        let graph = Graph::of(&topology);
        assert_eq!(read::mermaid(&graph.to_mermaid()), expected(&graph), "{name}");
    }
}

#[test]
fn dot_has_each_part_in_its_node_and_each_edge() {
    for (name, topology) in all() {
        let graph = Graph::of(&topology);
        assert_eq!(read::dot(&graph.to_dot()), expected(&graph), "{name}");
    }
}

#[test]
fn svg_has_each_part_in_its_node_and_each_edge() {
    for (name, topology) in all() {
        let graph = Graph::of(&topology);
        let svg = graph.to_svg().expect("it is small");
        assert_eq!(read::svg(&svg), expected(&graph), "{name}");
    }
}

#[test]
fn json_has_its_version_and_every_field() {
    let json: Value = serde_json::from_str(&Graph::of(&chain()).to_json()).expect("JSON");
    assert_eq!(json["version"], 1);
    let names = |of: &str| -> Vec<&str> {
        json[of].as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect()
    };
    assert_eq!(names("nodes"), ["hub", "lyon", "nice", "paris"]);
    assert_eq!(names("routes"), ["mirror", "onward", "post", "report"]);
    let onward = serde_json::json!({
        "name": "onward",
        "source": "inbox:lyon/letters",
        "part": "route:onward",
        "via": [],
        "to": ["inbox:nice/archive"],
        "codec": "lz4",
        "schedule": "on arrival",
        "expiry": "1d",
    });
    assert_eq!(json["routes"][1], onward);
    let hub = serde_json::json!({
        "id": "node:hub",
        "name": "hub",
        "listen": ["127.0.0.1:7403"],
        "addresses": ["127.0.0.1:7403"],
        "trust": [],
        "relay": true,
        "missing": false,
        "parts": [{
            "id": "relay:hub",
            "kind": "relay",
            "name": "relay",
            "detail": "1000 packages, 1GiB a sender",
            "stages": [],
            "missing": false,
        }],
    });
    assert_eq!(json["nodes"][0], hub);
    let edge = serde_json::json!({
        "from": "relay:hub", "to": "inbox:lyon/letters", "route": "post", "kind": "delivery",
        "crosses": true,
    });
    let edges = json["edges"].as_array().expect("a list");
    assert!(edges.contains(&edge), "{edges:#?}");
}

#[test]
fn a_route_by_a_relay_goes_through_it_and_one_from_an_inbox_begins_there() {
    let graph = Graph::of(&chain());
    let edges: Vec<_> = graph.edges.iter().map(|edge| (&*edge.from, &*edge.to)).collect();
    for edge in [
        ("source:post", "route:post"),
        ("route:post", "relay:hub"),
        ("relay:hub", "inbox:lyon/letters"),
        ("inbox:lyon/letters", "route:onward"),
        ("route:onward", "inbox:nice/archive"),
    ] {
        assert!(edges.contains(&edge), "{edge:?} is none of {edges:#?}");
    }
    assert!(!edges.contains(&("route:post", "inbox:lyon/letters")));
    assert!(graph.nodes.iter().flat_map(|node| &node.parts).all(|part| part.id != "source:onward"));
}

#[test]
fn stages_stand_in_the_order_in_which_chunks_pass_them() {
    let graph = Graph::of(&chain());
    let lyon = graph.nodes.iter().find(|node| node.name == "lyon").expect("a node");
    let onward = lyon.parts.iter().find(|part| part.id == "route:onward").expect("a route");
    let stages = ["chunk 256KiB", "redact", "watermark", "audit-log", "lz4", "seal"];
    assert_eq!(onward.stages, stages);
    let news = Graph::of(&fan_out(20));
    let news = news.nodes[0].parts.iter().find(|part| part.id == "route:news").expect("a route");
    assert_eq!(news.stages.last().map(String::as_str), Some("seal × 20"));
}

#[test]
fn what_a_route_names_and_nobody_has_is_drawn_as_missing() {
    let nowhere = RouteSpec {
        source: SourceSpec::Inbox("none".into()),
        via: vec!["lyon".into()],
        to: vec![Target::new("oslo", "letters"), Target::new("paris", "letters")],
        ..RouteSpec::new("paris", Kind::path(""), Target::new("", ""))
    };
    let graph = Graph::of(&two_nodes().route("nowhere", nowhere));
    let missing: Vec<_> = graph
        .nodes
        .iter()
        .flat_map(|node| &node.parts)
        .filter(|part| part.missing)
        .map(|part| part.id.as_str())
        .collect();
    let expected = ["relay:lyon", "inbox:oslo/letters", "inbox:paris/none", "inbox:paris/letters"];
    assert_eq!(missing, expected);
    let oslo = graph.nodes.iter().find(|node| node.name == "oslo").expect("it is drawn");
    assert!(oslo.missing);
    let svg = graph.to_svg().expect("it is small");
    for words in ["no such node", "no such inbox here", "this node is no relay"] {
        assert!(svg.contains(words), "{words:?} is not in the picture");
    }
}

#[test]
fn settings_of_kinds_of_a_program_are_not_shown() {
    let mut settings = toml::Table::new();
    settings.insert("password".into(), "hunter2".into());
    settings.insert("into".into(), "hunter2".into());
    settings.insert("paths".into(), "hunter2".into());
    let to = Target::new("lyon", "database");
    let topology = two_nodes()
        .inbox("database", InboxSpec::at("lyon", Kind::new("database", "hunter2")))
        .inbox("table", InboxSpec::at("lyon", Kind::new("table", settings.clone())))
        .route("rows", RouteSpec::new("paris", Kind::new("query", settings), to));
    let graph = Graph::of(&topology);
    let drawings =
        [graph.to_mermaid(), graph.to_dot(), graph.to_json(), graph.to_svg().expect("it is small")];
    for drawing in drawings {
        assert!(drawing.contains("database") && drawing.contains("query"));
        assert!(!drawing.contains("hunter2"), "{drawing}");
    }
}

#[test]
fn a_drawing_is_the_same_each_time_and_on_each_thread() {
    let graph = Graph::of(&many(8, 24));
    let first = graph.to_svg().expect("it is small");
    // More than the layout gives names to in all, so that these have grown in between.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let graph = Graph::of(&many(8, 24));
                    assert!(graph.to_svg().expect("it is small") == first);
                }
            });
        }
    });
}

#[test]
fn a_large_topology_is_drawn_from_further_away_and_a_larger_one_is_refused() {
    let large = Graph::of(&many(12, 600));
    let svg = large.to_svg().expect("it has few nodes");
    let drawn = read::svg(&svg);
    assert_eq!(drawn.nodes.len(), 12);
    assert!(drawn.parts.is_empty());
    assert!(svg.contains("50 routes, 1 inbox"), "{svg}");
    let larger = Graph::of(&many(Graph::NODES_DRAWN + 1, 10_000));
    let error = larger.to_svg().expect_err("too large");
    assert!(matches!(error, DrawError::TooLarge { nodes: 101, nodes_most: 100, .. }));
    assert!(error.to_string().starts_with("101 nodes and "), "{error}");
    // The other formats have no limit of ours.
    assert_eq!(larger.routes.len(), 10_000);
    assert_eq!(read::dot(&larger.to_dot()).nodes.len(), 101);
}

#[test]
fn a_picture_says_what_it_shows_to_those_who_do_not_see_it() {
    let svg = Graph::of(&chain()).to_svg().expect("it is small");
    let document = roxmltree::Document::parse(&svg).expect("XML");
    let root = document.root_element();
    assert_eq!(root.attribute("role"), Some("img"));
    let labels = root.attribute("aria-labelledby").expect("labels").split(' ');
    let texts: Vec<_> = labels
        .map(|id| document.descendants().find(|element| element.attribute("id") == Some(id)))
        .map(|element| element.and_then(|element| element.text()).expect("a label"))
        .collect();
    assert_eq!(texts[0], "Topology");
    let sentences = [
        "4 nodes, 4 routes and 3 inboxes.",
        "Route onward: from lyon/letters to nice/archive, on arrival.",
        "Route report: from nice/paths by hub to paris/archive, every 5m.",
    ];
    for sentence in sentences {
        assert!(texts[1].contains(sentence), "{sentence:?} is not in {:?}", texts[1]);
    }
    assert!(svg.contains("@media (prefers-color-scheme: dark)"));
    assert!(!svg.contains("url(") && !svg.contains("@import") && !svg.contains("href"));
}

#[test]
fn long_names_are_cut_in_the_picture_and_whole_in_its_titles() {
    let long = AWKWARD[11];
    let svg = Graph::of(&awkward()).to_svg().expect("it is small");
    let document = roxmltree::Document::parse(&svg).expect("XML");
    let texts = document.descendants().filter(|element| element.has_tag_name("text"));
    let mut cut = texts.filter_map(|text| text.text()).filter(|text| text.starts_with("a-name-of"));
    let start = cut.next().and_then(|text| text.strip_suffix('…')).expect("it is cut");
    assert!(long.starts_with(start) && start.len() > 20, "{start}");
    assert!(cut.all(|text| text.ends_with('…')));
    assert!(svg.contains(&format!("<title>node {long}")));
}

/// Graphviz reads all of it. Needs `dot`; where `ESTAFETTE_GRAPHVIZ` is set, that must be there.
#[test]
fn graphviz_draws_it() {
    let version = Command::new("dot").arg("-V").stderr(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        let is_needed = std::env::var_os("ESTAFETTE_GRAPHVIZ").is_some();
        assert!(!is_needed, "dot of graphviz is missing");
        eprintln!("LEFT OUT: needs `dot` of graphviz");
        return;
    }
    let place = tempfile::tempdir().expect("a folder");
    for (name, topology) in all() {
        let graph = Graph::of(&topology);
        let path = place.path().join("graph.dot");
        std::fs::write(&path, graph.to_dot()).expect("a file");
        let output = Command::new("dot").arg("-Tsvg").arg(&path).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        let is_well = output.status.success() && !told.contains("syntax error");
        assert!(is_well, "{name}: {told}");
        let svg = String::from_utf8(output.stdout).expect("text");
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        let document = roxmltree::Document::parse_with_options(&svg, options).expect("XML");
        let count = |class| {
            let is = |element: &roxmltree::Node<'_, '_>| element.attribute("class") == Some(class);
            document.descendants().filter(is).count()
        };
        assert_eq!(count("cluster"), graph.nodes.len(), "{name}");
        assert_eq!(count("edge"), graph.edges.len(), "{name}");
    }
}
