//! One `run` of each node on a machine: a second one would start processes that can't have their
//! spools, again and again.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use estafette_topology::Topology;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::CommandError;
use crate::settings;

/// The right to run nodes of a topology, until it is dropped or the process dies.
#[derive(Debug)]
pub(super) struct Only(#[expect(dead_code, reason = "they are locked while held")] Vec<File>);

impl Only {
    /// Takes it for these nodes, or says who has that of one. Two topologies may keep what they do
    /// in one folder, if their nodes are others.
    pub(super) fn take(
        topology: &Topology,
        nodes: &[String],
        file: &Path,
    ) -> Result<Self, CommandError> {
        nodes.iter().map(|node| lock(topology, node, file)).collect::<Result<_, _>>().map(Self)
    }
}

fn lock(topology: &Topology, node: &str, file: &Path) -> Result<File, CommandError> {
    let path = topology.at(&topology.state).join(format!("run-{node}.lock"));
    let failed = |error| {
        let text = format!("{} can't be locked: {error}", settings::shown(&path));
        CommandError::io(text, "let this user write there, or say another `state` in the file")
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut lock = open.map_err(failed)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            let mut process = String::new();
            // Whoever has it may be about to write it.
            let _ = lock.take(20).read_to_string(&mut process);
            let process = match process.trim() {
                "" => String::new(),
                process => format!(" by the process {process}"),
            };
            return Err(CommandError::usage(
                format!("{node} of {} is run here already{process}", settings::shown(file)),
                "a run reloads its file when that changes; end it before another one is \
                 started, or run one node with --node",
            ));
        }
        // Where there are no locks, a second one finds spools that are taken, and says so.
        Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK | Errno::INVAL) => {}
        Err(error) => return Err(failed(error.into())),
    }
    let written = lock.set_len(0).and_then(|()| lock.rewind());
    written.and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(failed)?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_run_once_and_two_topologies_share_a_folder() {
        let place = tempfile::tempdir().unwrap();
        let topology = Topology::new(place.path());
        let take = |nodes: &[&str]| {
            let nodes: Vec<_> = nodes.iter().map(|node| (*node).to_owned()).collect();
            Only::take(&topology, &nodes, Path::new("t.toml"))
        };
        let first = take(&["lyon", "paris"]).unwrap();
        let other = take(&["brest"]).unwrap();
        let refused = take(&["caen", "paris"]).unwrap_err();
        let process = std::process::id().to_string();
        assert!(refused.message.starts_with("paris of "), "{}", refused.message);
        assert!(refused.message.contains(&process), "{}", refused.message);
        // What was refused holds nothing.
        let others = take(&["caen"]).unwrap();
        drop(first);
        assert!(take(&["paris"]).is_ok());
        drop((other, others));
    }
}
