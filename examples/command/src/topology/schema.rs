//! `estafette schema`: the JSON schema of topologies for this program.

use std::process::ExitCode;

use estafette_topology::Topology;

use crate::about;
use crate::arguments::Global;
use crate::error::CommandError;
use crate::output::Output;

/// On several lines for people and files, on one for whoever asked for JSON by the line.
pub(crate) fn run(global: &Global, output: &Output) -> Result<ExitCode, CommandError> {
    let schema = Topology::schema(&global.program.registry);
    let text = if output.json { schema.to_string() } else { format!("{schema:#}") };
    about::print(format!("{text}\n").as_bytes())
}
