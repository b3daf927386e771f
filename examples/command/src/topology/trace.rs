//! `estafette trace`: all that a delivery would pass that is not sent.

use std::process::ExitCode;

use estafette_topology::{Step, Topology};

use crate::arguments::{Global, TraceOptions};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::units::printable;

/// It ends with this where the delivery would not arrive everywhere.
const FAILS: u8 = 1;

pub(crate) fn run(
    global: &Global,
    options: &TraceOptions,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let document = match super::open(&options.topology.file, global, output) {
        Ok(document) => document,
        Err(faulty) => return faulty.end(),
    };
    let topology = document.topology();
    known(topology, &options.node)?;
    let steps = topology.trace(&global.program.registry, &options.node, &options.name);
    if steps.is_empty() {
        return Err(CommandError::usage(
            format!("no route sends a delivery {:?} from {:?}", options.name, options.node),
            "name a delivery as its route does: `estafette list` shows the sources",
        ));
    }
    let mut last = None;
    for step in &steps {
        output.event(&Event::Traced(step));
        if last != Some((step.depth, &step.route)) {
            let indent = "  ".repeat(step.depth);
            output.result(&format!("{indent}route {}", printable(&step.route)));
            last = Some((step.depth, &step.route));
        }
        output.result(&line(step));
    }
    let fails = steps.iter().any(|step| step.fails.is_some());
    Ok(if fails { ExitCode::from(FAILS) } else { ExitCode::SUCCESS })
}

fn line(step: &Step) -> String {
    let indent = "  ".repeat(step.depth + 1);
    let does = format!("{indent}{}: {}", printable(&step.node), printable(&step.does));
    match &step.fails {
        Some(why) => format!("{does}\n{indent}  ends here: {}", printable(why)),
        None => does,
    }
}

fn known(topology: &Topology, node: &str) -> Result<(), CommandError> {
    if topology.nodes.contains_key(node) {
        return Ok(());
    }
    let known = topology.nodes.keys().take(20).cloned().collect::<Vec<_>>().join(", ");
    Err(CommandError::usage(
        format!("the topology has no node {node:?}"),
        format!("name one of them: {known}"),
    ))
}
