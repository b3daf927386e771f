//! Files of secrets and keys that others than their owner can read: no node starts with them.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use estafette::Identity;
use estafette::node::{KeyFileError, StageRegistry};

use crate::fault::{Fault, quoted};
use crate::model::Topology;

/// A file that is for its owner alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrivateFile {
    /// The node that reads it.
    pub node: String,
    /// The key that names it.
    pub at: String,
    /// The file.
    pub path: PathBuf,
}

impl PrivateFile {
    /// Returns `true` if it is not there.
    pub fn is_missing(&self) -> bool {
        looked_at(&self.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Returns its fault if others than its owner can read it.
    fn fault(&self) -> Option<Fault> {
        let mode = looked_at(&self.path).ok()?.mode() & 0o777;
        let label = format!("its mode is {mode:o}");
        (mode & 0o077 != 0).then(|| exposed(&self.at, &self.path, label))
    }
}

fn looked_at(path: &Path) -> io::Result<Metadata> {
    std::fs::metadata(path)
}

fn exposed(at: &str, path: &Path, label: impl Into<String>) -> Fault {
    let path = path.display();
    let message = format!("others than its owner can read {path}");
    Fault::new("exposed", at, message).label(label).help(format!("chmod 600 {path}"))
}

impl Topology {
    /// The files of secrets, tokens and keys of doors and pages that nodes of this machine read.
    pub fn private_files(&self, registry: &StageRegistry) -> Vec<PrivateFile> {
        let mut files = Vec::new();
        for (name, node) in self.nodes.iter().filter(|(name, _)| self.is_here(name)) {
            let token = node.http.as_ref().and_then(|http| http.token_file.as_ref());
            files.extend(token.map(|token| PrivateFile {
                node: name.clone(),
                at: format!("node.{}.http.token_file", quoted(name)),
                path: self.at(token),
            }));
            for (door, spec) in self.doors_of(name) {
                let settings = spec.door.settings_at(name);
                let read = || registry.door_of(&spec.door.name, settings);
                let made = self.places().read(read).and_then(|door| door.make());
                // Of one that is at fault that is told.
                let private = made.map(|door| door.private_files()).unwrap_or_default();
                let kind = quoted(&spec.door.name);
                files.extend(private.into_iter().map(|(key, path)| PrivateFile {
                    node: name.clone(),
                    at: format!("door.{}.door.{kind}.{key}", quoted(door)),
                    path,
                }));
            }
        }
        files
    }

    /// The private files, and keys, that others than their owner can read. It looks at files, which
    /// [`check`](Self::check) does not.
    pub fn check_files(&self, registry: &StageRegistry) -> Vec<Fault> {
        let here = self.nodes.iter().filter(|(name, _)| self.is_here(name));
        let keys = here.filter_map(|(name, node)| {
            let path = self.key_of(name);
            let loaded = path.exists().then(|| Identity::load(&path))?;
            let Err(KeyFileError::Exposed { mode, .. }) = loaded else { return None };
            let at = format!("node.{}", quoted(name));
            let at = if node.key.is_some() { at + ".key" } else { at };
            Some(exposed(&at, &path, format!("the mode of its key is {mode:o}")))
        });
        let files = self.private_files(registry);
        keys.chain(files.iter().filter_map(PrivateFile::fault)).collect()
    }
}
