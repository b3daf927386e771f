//! A check that the files of an open spool are still the ones in its folder.
//!
//! Invariant: nobody is told that something was kept in a file that has no name any more: it ends
//! with the process.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::failure::Failure;
use super::layout::Folder;

/// The files that tell: the lock, and the database.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    files: Vec<(PathBuf, Which)>,
}

/// The identity of a file, whatever it is called.
#[cfg(unix)]
type Which = (u64, u64);
#[cfg(not(unix))]
type Which = ();

impl Place {
    /// Of a spool that was just opened.
    pub(super) fn of(folder: &Folder) -> io::Result<Self> {
        let files = [folder.path.join("lock"), folder.database()].into_iter().map(|path| {
            let which = which(&fs::metadata(&path)?);
            Ok((path, which))
        });
        Ok(Self { folder: folder.path.clone(), files: files.collect::<io::Result<_>>()? })
    }

    /// The reason why the spool is lost, if it is.
    pub(super) fn lost(&self) -> Option<Failure> {
        let what = self.files.iter().find_map(|(path, opened)| match fs::metadata(path) {
            Ok(now) if which(&now) == *opened => None,
            Ok(_) => Some(format!("another file is in the place of {}", path.display())),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound
                        | ErrorKind::NotADirectory
                        | ErrorKind::StaleNetworkFileHandle
                ) =>
            {
                Some(format!("{} is gone", path.display()))
            }
            // It can't be seen now, and that passes.
            Err(_) => None,
        })?;
        let folder = self.folder.display();
        let text = format!(
            "the spool {folder} was removed, moved or unmounted while it was in use: {what}. \
             Nothing more will be written to it: put it back if it was moved or unmounted, then \
             start again; what was removed is lost, and has to be sent again"
        );
        Some(Failure::new(ErrorKind::NotFound, text))
    }
}

#[cfg(unix)]
fn which(metadata: &fs::Metadata) -> Which {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn which(_: &fs::Metadata) -> Which {}
