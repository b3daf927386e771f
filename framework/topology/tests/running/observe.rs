//! A node tells what it does to those that its topology names, and to nobody else.

use std::fs;
use std::path::Path;

use estafette::RemoteErrorKind;
use estafette_actors::standard;
use estafette_topology::{Observed, RunningNode, Topology};
use serde_json::Value;

use crate::harness::{here, write};

/// Brest may deliver to all inboxes of paris; lyon may see it.
const TOPOLOGY: &str = r#"
    [node.lyon]
    [node.brest]
    [node.paris]
    listen = "unix:{here}/paris.sock"
    trust = ["brest"]
    observe = ["lyon"]
    [inbox.letters]
    node = ["lyon", "paris"]
    sink = { folder = "in-{node}" }
    [route.post]
    from = "paris"
    source = { paths = "letter" }
    to = "lyon/letters"
"#;

fn load(folder: &Path, text: &str) -> Topology {
    write(folder, &here(folder, text))
}

/// Asks until the link is up.
async fn observe(node: &RunningNode, name: &str) -> Result<Observed, RemoteErrorKind> {
    loop {
        match node.taps().observe(name).await {
            Err(error) if error.kind == RemoteErrorKind::Unreachable => {}
            other => return other.map_err(|error| error.kind),
        }
    }
}

#[tokio::test]
async fn a_node_is_seen_by_whom_it_names_and_by_nobody_who_may_only_deliver() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("letter"), "Dear Lyon").unwrap();
    let topology = load(place.path(), TOPOLOGY);
    topology.make_keys().unwrap();
    let mut paris = topology.start("paris", standard()).await.unwrap();
    let lyon = topology.start("lyon", standard()).await.unwrap();
    let brest = topology.start("brest", standard()).await.unwrap();
    assert_eq!((lyon.taps().observed(), brest.taps().observed()), (vec!["paris".into()], vec![]));
    // What it does is seen, its routes, too.
    let seen = loop {
        let seen = observe(&lyon, "paris").await.unwrap();
        if seen.routes[0].delivered == 1 {
            break seen;
        }
    };
    let snapshot: Value = serde_json::from_str(&seen.snapshot).unwrap();
    assert_eq!((&snapshot["node"]["name"], &snapshot["answers"]), (&"paris".into(), &true.into()));
    assert_eq!(snapshot["totals"]["delivered_out"], 1);
    let route = &seen.routes[0];
    assert_eq!((route.route.as_str(), route.to.as_str()), ("post", "lyon/letters"));
    assert_eq!((route.bytes, route.moved), (9, 9));
    let refused = observe(&brest, "paris").await;
    assert_eq!(refused, Err(RemoteErrorKind::Other));
    // Nobody is let in where nobody is named.
    assert!(observe(&paris, "lyon").await.is_err());
    // A right that is taken back holds no longer.
    let without = load(place.path(), &TOPOLOGY.replace("observe = [\"lyon\"]", ""));
    paris.reload(&without).await.unwrap();
    assert!(observe(&lyon, "paris").await.is_err());
    for node in [lyon, brest, paris] {
        node.shutdown().await;
    }
}
