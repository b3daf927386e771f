//! Looking whether a topology has changed: editors save by rename, and network file systems tell
//! nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use estafette_topology::Document;

use crate::arguments::Global;
use crate::output::Output;
use crate::settings;

/// The interval of looks.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// The facts that tell one version of a file from another.
type Version = Option<(u64, u64, u64, i64, i64)>;

/// A file, and the version that is in effect.
pub(super) struct Watch {
    file: PathBuf,
    known: Version,
    /// Seen once: a file that is being written changes again.
    seen: Version,
    /// Set if somebody else tells of faults.
    is_silent: bool,
    /// Set if it was at fault at the last look.
    is_faulty: bool,
}

impl Watch {
    /// From before the file is read for the first time.
    pub(super) fn new(file: &Path, is_silent: bool) -> Self {
        let known = version(file);
        Self { file: file.to_owned(), known, seen: known, is_silent, is_faulty: false }
    }

    /// The topology, if it is another one since the last look, and has no faults: those are told.
    pub(super) fn changed(&mut self, global: &Global, output: &Output) -> Option<Document> {
        let now = version(&self.file);
        if now == self.known || now.is_none() {
            self.seen = now;
            return None;
        }
        if std::mem::replace(&mut self.seen, now) != now {
            return None;
        }
        self.look(global, output)
    }

    /// The topology as it is now, if it has no faults: those are told.
    pub(super) fn look(&mut self, global: &Global, output: &Output) -> Option<Document> {
        let now = version(&self.file);
        (self.known, self.seen) = (now, now);
        let read = super::read(&self.file, global);
        self.is_faulty = !read.as_ref().is_ok_and(|(_, report)| report.is_empty());
        match read {
            Ok((document, _)) if !self.is_faulty => Some(document),
            _ if self.is_silent => None,
            Ok((_, report)) => {
                super::tell(&report, output);
                let file = settings::shown(&self.file);
                output
                    .remark(&format!("{file} was changed, and is at fault: all goes on as before"));
                None
            }
            Err(error) => {
                output.error(&error);
                None
            }
        }
    }

    /// Returns `true` if the file is another one than at the last look.
    pub(super) fn is_unseen(&self) -> bool {
        version(&self.file) != self.known
    }

    /// Returns `true` if the file was at fault at the last look.
    pub(super) fn is_faulty(&self) -> bool {
        self.is_faulty
    }
}

fn version(file: &Path) -> Version {
    let metadata = fs::metadata(file).ok()?;
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    Some((metadata.dev(), metadata.ino(), metadata.len(), modified.0, modified.1))
}
