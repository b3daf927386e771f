//! `estafette plan`: what a reload would do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use estafette_topology::{Document, NodeChange, Topology};

use super::tried::{Part, keeps};
use crate::arguments::{Global, TopologyFile};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::units::{self, printable};

/// The file with the topology that a node runs, in its folder.
const APPLIED: &str = "applied.toml";

/// The file with what a node runs.
pub(super) fn applied_file(topology: &Topology, name: &str) -> PathBuf {
    topology.folder_of(name).join(APPLIED)
}

/// Notes what a node runs from now on. What can't be noted is logged.
pub(super) fn note(document: &Document, name: &str) {
    let topology = document.topology();
    let file = applied_file(topology, name);
    let new = file.with_extension("new");
    // A node may be started with it: so it is whole.
    let noted = std::fs::create_dir_all(topology.folder_of(name))
        .and_then(|()| std::fs::write(&new, document.text()))
        .and_then(|()| std::fs::rename(&new, file));
    if let Err(error) = noted {
        tracing::warn!(%error, node = name, "what the node runs could not be noted");
    }
}

pub(crate) async fn run(
    global: &Global,
    options: &TopologyFile,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let document = match super::open(&options.file, global, output) {
        Ok(document) => document,
        Err(faulty) => return faulty.end(),
    };
    let new = document.topology();
    let (mut changed, mut ran, mut gone) = (0, false, BTreeSet::new());
    for name in new.nodes.keys() {
        let Some(old) = applied(new, name, &options.file) else {
            tell(name, "starts: it was never run here", 0, output);
            continue;
        };
        ran = true;
        let mut changes = old.topology().changes(new);
        if let Some(change) = changes.remove(name) {
            changed += 1;
            let part = Part { name: name.clone(), change, applied: None };
            tell_of(part, (old.topology(), new), global, output).await;
        }
        gone.extend(changes.into_keys().filter(|other| !new.nodes.contains_key(other)));
    }
    for name in gone {
        let Some(old) = applied(new, &name, &options.file) else { continue };
        changed += 1;
        let part = Part { name, change: NodeChange::Ends, applied: None };
        tell_of(part, (old.topology(), new), global, output).await;
    }
    if ran && changed == 0 {
        output.result("nothing changes");
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads what a node ran last, as if it stood in `file`.
pub(super) fn applied(topology: &Topology, name: &str, file: &Path) -> Option<Document> {
    let text = std::fs::read_to_string(applied_file(topology, name)).ok()?;
    Some(Document::parse(file, text))
}

/// Tells of a change of a node that runs another topology, and of what it keeps for others, or would
/// leave at a door.
async fn tell_of(part: Part, (old, new): (&Topology, &Topology), global: &Global, output: &Output) {
    let (name, ends) = (&part.name, part.change == NodeChange::Ends);
    let keeps = keeps(old, name, &global.program.registry).await.unwrap_or_else(|error| {
        let error = error.message;
        tracing::warn!(error, node = name, "what it keeps for others can't be told");
        0
    });
    let mut words = part.change.to_string();
    let kept = units::count(keeps, "delivery");
    if keeps > 0 && part.leaves_its_spool() {
        words += &format!("; refused while it keeps {kept} for others");
    } else if keeps > 0 {
        words += &format!("; what it keeps for others ({kept}) stays there");
    } else if ends {
        words += ": what it has stored stays in its spool";
    }
    match old.left_at_a_door(name, new, &global.program.registry).await {
        Ok(Some(left)) => {
            let waiting = units::count(left.count as u64, "message");
            words += &format!("; refused while its door `{}` has {waiting} waiting", left.door);
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, node = name, "what waits at its doors can't be told"),
    }
    tell(name, &words, keeps, output);
}

fn tell(name: &str, change: &str, keeps: u64, output: &Output) {
    output.event(&Event::Planned { name, change, keeps });
    output.result(&format!("{}: {}", printable(name), printable(change)));
}
