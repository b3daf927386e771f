//! Topologies in folders of their own, and what their nodes are waited for.

use std::path::Path;
use std::time::Duration;

use estafette::TransferNews;
use estafette::node::{Direction, NodeEvent, TransferEvent};
use estafette_actors::standard;
use estafette_topology::{RunningNode, Topology};

/// Nothing here takes longer unless it hangs.
pub(crate) const HANGS: Duration = Duration::from_secs(180);

/// Reads a topology from a file that it writes first.
pub(crate) fn write(folder: &Path, text: &str) -> Topology {
    let file = folder.join("topology.toml");
    std::fs::write(&file, text).unwrap();
    Topology::load(file, &standard()).unwrap_or_else(|error| panic!("{error}"))
}

/// Starts one node of a topology.
pub(crate) async fn start(topology: &Topology, name: &str) -> RunningNode {
    topology.start(name, standard()).await.unwrap()
}

/// Waits until a node has taken so many deliveries since it was started.
pub(crate) async fn takes(node: &RunningNode, count: usize) {
    let mut events = node.node().events_since_start().unwrap_or_else(|| node.node().events());
    let taken = async {
        let mut taken = 0;
        while taken < count {
            let event = events.next().await.expect("the node runs");
            if let NodeEvent::Transfer(TransferEvent {
                direction: Direction::Incoming,
                news: TransferNews::Delivered { .. },
                ..
            }) = event
            {
                taken += 1;
            }
        }
    };
    tokio::time::timeout(HANGS, taken).await.expect("what the route says arrives");
}

/// The text of a file.
pub(crate) fn read(folder: &Path, path: &str) -> String {
    std::fs::read_to_string(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Lyon sends a letter to paris.
pub(crate) const TWO_NODES: &str = r#"
    state = "state"

    [node.lyon]

    [node.paris]
    listen = "unix:{here}/paris.sock"

    [inbox.letters]
    node = "paris"
    sink = { folder = "in" }

    [route.post]
    from = "lyon"
    source = { paths = "letter" }
    to = "paris/letters"
"#;

/// A topology whose sockets are in a folder.
pub(crate) fn here(folder: &Path, text: &str) -> String {
    text.replace("{here}", folder.to_str().unwrap())
}
