//! One `run` of a topology on a machine: a second one would start processes that can't have their
//! spools, again and again.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use estafette_topology::Topology;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::CommandError;
use crate::settings;

/// The right to run all nodes of a topology, until it is dropped or the process dies.
#[derive(Debug)]
pub(super) struct Only(#[expect(dead_code, reason = "it is locked while it is held")] File);

impl Only {
    /// Takes it, or says who has it.
    pub(super) fn take(topology: &Topology, file: &Path) -> Result<Self, CommandError> {
        let path = topology.at(&topology.state).join("run.lock");
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
                    format!("the nodes of {} are run here already{process}", settings::shown(file)),
                    "it reloads the file when that changes; end it before another one is started, \
                     or run one node with --node",
                ));
            }
            // Where there are no locks, a second one finds spools that are taken, and says so.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK | Errno::INVAL) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let written = lock.set_len(0).and_then(|()| lock.rewind());
        written.and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(failed)?;
        Ok(Self(lock))
    }
}
