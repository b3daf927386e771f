//! The text of a topology as the process that starts nodes has accepted it: they read that one, and
//! not the file, which may be another one by then.

use std::fs;
use std::path::{Path, PathBuf};

use estafette_topology::{Document, Topology};

use crate::error::CommandError;
use crate::settings;

/// The file with that text, beside the folders of the nodes: those of one that is gone, and a disk of
/// one, may go meanwhile.
#[derive(Debug, Default)]
pub(super) struct Accepted(Option<PathBuf>);

impl Accepted {
    /// That of a process which starts these nodes.
    pub(super) fn of(topology: &Topology, here: &[String]) -> Self {
        let state = topology.at(&topology.state);
        // Two topologies may have one state, if their nodes are others.
        Self(here.first().map(|node| state.join(format!("run-{node}.accepted.toml"))))
    }

    pub(super) fn file(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    /// Has all nodes read this text from now on.
    pub(super) fn write(&self, text: &str) -> Result<(), CommandError> {
        let Some(file) = &self.0 else { return Ok(()) };
        let new = file.with_extension("new");
        // A node may be reading the one before it.
        fs::write(&new, text).and_then(|()| fs::rename(&new, file)).map_err(|error| {
            let text = format!("{} can't be written: {error}", settings::shown(file));
            CommandError::io(text, "let this user write there, and free some room")
        })
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        // What stays is written anew by the next run.
        let _ = self.0.as_ref().map(fs::remove_file);
    }
}

/// Reads the text of a topology that stands in another file than its own: paths begin at its own.
pub(super) fn read(text: &Path, file: &Path) -> Result<Document, CommandError> {
    let read = fs::read_to_string(text).map_err(|error| {
        CommandError::io(format!("{} can't be read: {error}", settings::shown(text)), "")
    })?;
    Ok(Document::parse(file, read))
}
