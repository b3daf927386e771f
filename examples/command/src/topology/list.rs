//! `estafette list`: the nodes and routes of a topology, one line each.

use std::process::ExitCode;

use estafette::node::units::time_text;
use estafette_topology::{NodeSpec, Schedule, Topology};

use crate::arguments::{Global, TopologyFile};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::table::table;
use crate::units::printable;

pub(crate) fn run(
    global: &Global,
    options: &TopologyFile,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let document = match super::open(&options.file, global, output) {
        Ok(document) => document,
        Err(faulty) => return faulty.end(),
    };
    let topology = document.topology();
    for (name, node) in &topology.nodes {
        output.event(&Event::TopologyNode {
            name,
            peer: node.id.map(|id| id.to_string()),
            here: topology.is_here(name),
            listen: &node.listen,
            relay: node.relay.is_some(),
        });
    }
    let routes: Vec<_> = topology
        .routes
        .iter()
        .map(|(name, route)| Route {
            name,
            from: &route.from,
            source: route.source.label(),
            to: route.to.iter().map(ToString::to_string).collect(),
            via: &route.via,
            schedule: schedule(route.schedule),
        })
        .collect();
    for Route { name, from, source, to, via, schedule } in &routes {
        output.event(&Event::TopologyRoute { name, from, source, to, via, schedule });
    }
    output.result(&nodes_table(topology));
    if !routes.is_empty() {
        output.result(&format!("\n{}", routes_table(&routes)));
    }
    Ok(ExitCode::SUCCESS)
}

struct Route<'t> {
    name: &'t str,
    from: &'t str,
    source: String,
    to: Vec<String>,
    via: &'t [String],
    schedule: String,
}

fn schedule(schedule: Schedule) -> String {
    match schedule {
        Schedule::Once => "once".into(),
        Schedule::Change => "change".into(),
        Schedule::Every(every) => format!("every {}", time_text(every)),
    }
}

fn nodes_table(topology: &Topology) -> String {
    let row = |(name, node): (&String, &NodeSpec)| {
        let listen = if node.listen.is_empty() { "-".into() } else { node.listen.join(", ") };
        let kind = if node.relay.is_some() { "relay" } else { "-" };
        let place = if topology.is_here(name) { "this machine" } else { "elsewhere" };
        ([printable(name), printable(&listen), kind.into(), place.into()], None)
    };
    let rows: Vec<_> = topology.nodes.iter().map(row).collect();
    table(["node", "listens", "kind", "place"], &[], &rows)
}

fn routes_table(routes: &[Route<'_>]) -> String {
    let row = |route: &Route<'_>| {
        let via = match route.via {
            [] => "-".into(),
            via => printable(&via.join(", ")),
        };
        let [name, from, source] = [route.name, route.from, &route.source].map(printable);
        let to = printable(&route.to.join(", "));
        ([name, from, source, to, via, route.schedule.clone()], None)
    };
    let rows: Vec<_> = routes.iter().map(row).collect();
    table(["route", "from", "source", "to", "via", "sent"], &[], &rows)
}
