//! `estafette list`: the nodes and routes of a topology, one line each.

use std::collections::BTreeMap;
use std::process::ExitCode;

use estafette::node::units::time_text;
use estafette_topology::{NodeSpec, Schedule, Topology, waiting_routes};

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
    let waiting = waiting(topology);
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
            waits: waiting.get(name).map(String::as_str),
        })
        .collect();
    for Route { name, from, source, to, via, schedule, waits } in &routes {
        let waits = *waits;
        output.event(&Event::TopologyRoute { name, from, source, to, via, schedule, waits });
    }
    output.result(&nodes_table(topology));
    if !routes.is_empty() {
        output.result(&format!("\n{}", routes_table(&routes)));
    }
    for (name, why) in routes.iter().filter_map(|route| Some((route.name, route.waits?))) {
        output.result(&format!("\nroute {} waits: {}", printable(name), printable(why)));
    }
    Ok(ExitCode::SUCCESS)
}

/// The routes that begin at nodes of this machine and send nothing, or not all, as it was noted when
/// they looked last.
fn waiting(topology: &Topology) -> BTreeMap<String, String> {
    let here = topology.nodes.keys().filter(|name| topology.is_here(name));
    // What can't be read is told by whoever runs it.
    here.flat_map(|name| waiting_routes(&topology.routes_of(name)).unwrap_or_default()).collect()
}

struct Route<'t> {
    name: &'t str,
    from: &'t str,
    source: String,
    to: Vec<String>,
    via: &'t [String],
    schedule: String,
    waits: Option<&'t str>,
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
