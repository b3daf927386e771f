//! Writes drawings to a folder, to be looked at: `ESTAFETTE_PICTURES=DIR cargo test -p
//! estafette-topology pictures`.

use std::path::Path;

use super::some::*;
use crate::{Graph, Topology};

#[test]
fn pictures_for_whoever_wants_to_look() {
    let Some(folder) = std::env::var_os("ESTAFETTE_PICTURES") else { return };
    let all = [
        ("two-nodes", two_nodes()),
        ("chain", chain()),
        ("fan-out-3", fan_out(3)),
        ("fan-out-20", fan_out(20)),
        ("fan-in", fan_in(8)),
        ("cycles", cycles()),
        ("awkward", awkward()),
        ("many", many(10, 45)),
        ("overview", many(12, 150)),
        ("empty", Topology::new("/srv")),
    ];
    for (name, topology) in all {
        let graph = Graph::of(&topology);
        let write = |ending: &str, text: String| {
            let path = Path::new(&folder).join(format!("{name}.{ending}"));
            std::fs::write(path, text).expect("a folder");
        };
        write("svg", graph.to_svg().expect("not too large"));
        write("dot", graph.to_dot());
        write("mmd", graph.to_mermaid());
        write("json", graph.to_json());
    }
}
