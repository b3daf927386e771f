//! `estafette plan`: what a reload would do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use estafette_topology::{Document, Topology};

use crate::arguments::{Global, TopologyFile};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::units::printable;

/// The file with the topology that a node runs, in its folder.
const APPLIED: &str = "applied.toml";

/// Notes what a node runs from now on. What can't be noted is logged: only `plan` looks at it.
pub(super) fn note(topology: &Topology, name: &str, file: &Path) {
    let noted = std::fs::read(file).and_then(|text| {
        let folder = topology.folder_of(name);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(APPLIED), text)
    });
    if let Err(error) = noted {
        tracing::warn!(%error, node = name, "what the node runs could not be noted");
    }
}

pub(crate) fn run(
    global: &Global,
    options: &TopologyFile,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let document = match super::open(&options.file, global, output) {
        Ok(document) => document,
        Err(faulty) => return faulty.end(),
    };
    let new = document.topology();
    let (mut changed, mut ran) = (0, false);
    for name in new.nodes.keys() {
        let applied = new.folder_of(name).join(APPLIED);
        let Some(old) = applied_there(&applied, &options.file) else {
            tell(name, "starts: it was never run here", output);
            continue;
        };
        ran = true;
        if let Some(change) = old.topology().changes(new).remove(name) {
            changed += 1;
            tell(name, &change.to_string(), output);
        }
    }
    if ran && changed == 0 {
        output.result("nothing changes");
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads what a node ran last, as if it stood in the file that is planned.
fn applied_there(applied: &Path, file: &PathBuf) -> Option<Document> {
    Some(Document::parse(file, std::fs::read_to_string(applied).ok()?))
}

fn tell(name: &str, change: &str, output: &Output) {
    output.event(&Event::Planned { name, change });
    output.result(&format!("{}: {}", printable(name), printable(change)));
}
