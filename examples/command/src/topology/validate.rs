//! `estafette validate`: all that is wrong with a topology, each fault at its place.

use std::process::ExitCode;

use crate::arguments::{Global, TopologyFile};
use crate::error::CommandError;
use crate::event::{Event, MissingFile};
use crate::output::Output;
use crate::{settings, units};

pub(crate) fn run(
    global: &Global,
    options: &TopologyFile,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let (document, _) = super::read(&options.file, global)?;
    let report = document.check_with_files(&global.program.registry);
    if !report.is_empty() {
        return Ok(super::tell(&report, output));
    }
    let topology = document.topology();
    output.event(&Event::Checked { file: Some(options.file.display().to_string()) });
    output.result(&format!(
        "{}: nothing is wrong with its {}, {} and {}",
        settings::shown(&options.file),
        units::count(topology.nodes.len() as u64, "node"),
        inboxes(topology.inboxes.len() as u64),
        units::count(topology.routes.len() as u64, "route"),
    ));
    super::predicted::tell(&topology.predictions(&global.program.registry), output);
    for file in topology.private_files(&global.program.registry) {
        if file.is_missing() {
            let path = file.path.display().to_string();
            output.event(&Event::MissingFile(MissingFile { path, at: &file.at, node: &file.node }));
            output.remark(&format!(
                "{} is not there yet, which {} names: {} can't start without it",
                settings::shown(&file.path),
                units::printable(&file.at),
                units::printable(&file.node),
            ));
        }
    }
    let away: Vec<_> = topology.nodes.keys().filter(|name| !topology.is_here(name)).collect();
    if !away.is_empty() {
        let away = away.into_iter().map(|name| units::printable(name)).collect::<Vec<_>>();
        output.remark(&format!(
            "not of this machine, as their keys are not here: {}",
            away.join(", ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn inboxes(count: u64) -> String {
    if count == 1 { "1 inbox".into() } else { format!("{count} inboxes") }
}
