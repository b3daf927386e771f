//! One `send` at a time to each receiver, where no node runs with the key: two nodes with one key
//! would take the link from each other.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use estafette::PeerId;
use estafette::node::Trust;
use estafette::node::blocking;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use crate::arguments::Global;
use crate::destination::{self, Given};
use crate::error::CommandError;
use crate::settings;

/// The turn of this process, until it is dropped or the process dies.
#[derive(Debug)]
pub(crate) struct Turn {
    path: PathBuf,
    _held: File,
}

/// The peer that is sent to, and the file that is locked meanwhile.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) peer: PeerId,
    path: PathBuf,
}

impl Place {
    /// `None` where nobody is meant: what is wrong with that is said when it is sent.
    pub(crate) fn new(global: &Global, given: &Given) -> Result<Option<Self>, CommandError> {
        // Makes the folder that it lies in, too.
        settings::identity(global)?;
        let Ok(peer) = destination::peer(&Trust::load(settings::store(global)?)?, given) else {
            return Ok(None);
        };
        let mut path = settings::key_path(global)?.into_os_string();
        path.push(format!(".sending-{:.16}", peer.to_string()));
        Ok(Some(Self { peer, path: path.into() }))
    }

    /// `None` while another process has it.
    pub(crate) fn take(&self) -> Result<Option<Turn>, CommandError> {
        self.try_take().map_err(|error| {
            let text = format!("{} can't be locked: {error}", settings::shown(&self.path));
            CommandError::io(text, "let this user write there, or name another key with --key")
        })
    }

    fn try_take(&self) -> io::Result<Option<Turn>> {
        loop {
            let held = open(&self.path)?;
            match flock(&held, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => return Ok(None),
                // Where there are no locks, two may get into each other's way, and say so.
                Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK | Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
            // Who had it may have removed it since.
            if is_at(&held, &self.path) {
                return Ok(Some(Turn { path: self.path.clone(), _held: held }));
            }
        }
    }

    /// Waits until whoever has it has ended; may be dropped while it waits.
    pub(crate) async fn wait(&self) -> Result<(), CommandError> {
        let path = self.path.clone();
        let waited = blocking(move || {
            flock(open(&path)?, FlockOperation::LockExclusive).map_err(io::Error::from)
        });
        // What is wrong with the file is said when it is taken.
        waited.await.map(drop).map_err(|error| {
            CommandError::io(
                format!("the end of another command can't be waited for: {error}"),
                "try it again when that has ended",
            )
        })
    }

    /// The place of nobody, for tests.
    #[cfg(test)]
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { peer: PeerId::from_bytes([1; 32]), path }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // While it is locked, so that nobody has it meanwhile. One that stays is in nobody's way.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?.into())
}

fn is_at(held: &File, path: &Path) -> bool {
    let inode = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
    matches!((rustix::fs::fstat(held), rustix::fs::stat(path)), (Ok(held), Ok(there)) if inode(held) == inode(there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_has_it_and_the_next_when_that_one_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::at(folder.path().join("turn"));
        let turn = place.take().unwrap().unwrap();
        assert!(place.take().unwrap().is_none());
        let (waited, ()) = tokio::join!(place.wait(), async { drop(turn) });
        waited.unwrap();
        assert!(place.take().unwrap().is_some());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing is left");
    }
}
