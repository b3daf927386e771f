//! The folder an inbox writes to, and the temporaries in it.
//!
//! Invariant: everything happens relative to one open directory handle, with names of a single component. A temporary is locked as long as the
//! process that made it lives, so a leftover is known by its lock being free.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use estafette::delivery::TransferId;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// All temporaries begin like this; no delivery may.
pub(super) const PREFIX: &[u8] = b".estafette-";

/// What a temporary is for: the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Temporary {
    /// A file that is being written.
    Part,
    /// A folder in which a tree is staged.
    Tree,
}

impl Temporary {
    fn suffix(self) -> &'static str {
        match self {
            Self::Part => ".part",
            Self::Tree => ".tree",
        }
    }
}

/// An open folder and the path it was opened by, which serves messages only.
#[derive(Debug)]
pub(super) struct Home {
    dir: Dir,
    path: PathBuf,
}

impl Home {
    /// Opens the folder at `path`, and makes it if only the last part of the path is missing.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        match std::fs::create_dir(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Opened for reading: the handle that cap-std would open can't be synced.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = Dir::from_std_file(File::from(rustix::fs::open(path, flags, Mode::empty())?));
        Ok(Self { dir, path: path.to_path_buf() })
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Where `name` is, for a person.
    pub(super) fn place(&self, name: &[u8]) -> String {
        use std::os::unix::ffi::OsStrExt;
        crate::tree::printable(self.path.join(std::ffi::OsStr::from_bytes(name)).as_os_str().as_bytes())
    }

    /// Bytes that may still be written to this file system.
    pub(super) fn available(&self) -> std::io::Result<u64> {
        let figures = rustix::fs::fstatvfs(&self.dir)?;
        Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
    }

    /// What kind of thing `name` is, without following a link; `None` when nothing is there.
    pub(super) fn kind_of(&self, name: &[u8]) -> std::io::Result<Option<FileType>> {
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a new temporary file and locks it.
    pub(super) fn create_part(&self, transfer: TransferId, mode: Mode) -> std::io::Result<(String, File)> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = |name: &str| rustix::fs::openat(&self.dir, name, flags, mode);
        self.create(transfer, Temporary::Part, make).map(|(name, file)| (name, file.into()))
    }

    /// Makes a new temporary folder, open to nobody else, and locks it.
    pub(super) fn create_tree(&self, transfer: TransferId) -> std::io::Result<(String, File)> {
        let make = |name: &str| create_folder(&self.dir, name.as_bytes());
        self.create(transfer, Temporary::Tree, make).map(|(name, folder)| (name, folder.into()))
    }

    fn create(
        &self,
        transfer: TransferId,
        kind: Temporary,
        make: impl Fn(&str) -> Result<OwnedFd, Errno>,
    ) -> std::io::Result<(String, OwnedFd)> {
        for _ in 0..ATTEMPTS {
            let name = temporary_name(transfer, kind)?;
            let made = match make(&name) {
                Err(Errno::EXIST) => continue,
                made => made?,
            };
            // Somebody who cleans up may have found it before it was locked, and has removed it or is about to.
            let locked = rustix::fs::flock(&made, FlockOperation::NonBlockingLockExclusive);
            if locked != Err(Errno::WOULDBLOCK) && self.is_at(&made, &name) {
                return Ok((name, made));
            }
        }
        Err(std::io::Error::other("the temporaries of this folder are removed by another process as soon as they are made"))
    }

    fn is_at(&self, made: &OwnedFd, name: &str) -> bool {
        let there = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW);
        matches!((rustix::fs::fstat(made), there), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    /// Removes a temporary; one that is not there any more is no error.
    pub(super) fn remove(&self, name: &str) -> std::io::Result<()> {
        let removed = match self.kind_of(name.as_bytes())? {
            None => return Ok(()),
            Some(FileType::Directory) => self.dir.remove_dir_all(name).or_else(|error| match error.kind() {
                // Folders of the tree may have got permissions that keep even their owner from emptying them.
                std::io::ErrorKind::PermissionDenied => {
                    permit(&self.dir, name.as_bytes())?;
                    self.dir.remove_dir_all(name)
                }
                _ => Err(error),
            }),
            Some(_) => self.dir.remove_file(name),
        };
        removed.or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
    }

    /// Removes what crashed processes left behind: temporaries of the exact form we make whose lock is free.
    pub(super) fn remove_stale(&self) -> std::io::Result<()> {
        for entry in self.dir.entries()? {
            let name = entry?.file_name();
            let Some(name) = name.to_str().filter(|name| is_temporary(name)) else { continue };
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let Ok(open) = rustix::fs::openat(&self.dir, name, flags, Mode::empty()) else { continue };
            if rustix::fs::flock(&open, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            match self.remove(name) {
                Ok(()) => tracing::info!(place = %self.place(name.as_bytes()), "removed what an earlier run left behind"),
                Err(error) => {
                    tracing::warn!(place = %self.place(name.as_bytes()), %error, "could not remove what an earlier run left behind")
                }
            }
        }
        Ok(())
    }

    /// Makes renames and removals in this folder durable.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        Ok(rustix::fs::fsync(&self.dir)?)
    }
}

/// Makes a folder `name` beneath `parent` and opens it, without following anything.
pub(super) fn create_folder(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(&parent, name, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&parent, name, flags, Mode::empty())
}

/// Gives the owner of the folder `name` beneath `parent`, and of all folders in it, every permission.
fn permit(parent: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    rustix::fs::chmodat(&parent, name, Mode::RWXU, AtFlags::empty())?;
    let folder = rustix::fs::openat(&parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    for entry in rustix::fs::Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                permit(&folder, name)?;
            }
        }
    }
    Ok(())
}

/// Tries to find a name of its own for a temporary; names are random, so the second is needed only when somebody cleans up right then.
const ATTEMPTS: usize = 16;

fn temporary_name(transfer: TransferId, kind: Temporary) -> std::io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    Ok(format!(".estafette-{transfer}-{:016x}{}", u64::from_le_bytes(random), kind.suffix()))
}

fn is_temporary(name: &str) -> bool {
    let middle = name.strip_prefix(".estafette-").and_then(|rest| rest.strip_suffix(".part").or(rest.strip_suffix(".tree")));
    let hexadecimal = |part: &str| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    middle.and_then(|middle| middle.split_once('-')).is_some_and(|(transfer, random)| hexadecimal(transfer) && hexadecimal(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_form_we_make_are_temporaries() {
        let transfer = TransferId::from_bytes([0xab; 24]);
        assert!(is_temporary(&temporary_name(transfer, Temporary::Part).unwrap()));
        assert!(is_temporary(&temporary_name(transfer, Temporary::Tree).unwrap()));
        for other in [".estafette-notes", ".estafette-.part", "photo.part", ".estafette-0123456789abcdef-0123456789abcdef.old"] {
            assert!(!is_temporary(other), "{other}");
        }
    }

    #[test]
    fn a_leftover_is_removed_and_a_live_temporary_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let transfer = TransferId::from_bytes([1; 24]);
        let (live, file) = home.create_part(transfer, Mode::RUSR).unwrap();
        let (live_tree, tree) = home.create_tree(transfer).unwrap();
        let (dead, _) = home.create_part(transfer, Mode::RUSR).unwrap();
        let (dead_tree, _) = home.create_tree(transfer).unwrap();
        std::fs::write(folder.path().join(&dead_tree).join("inside"), "x").unwrap();
        Home::open(folder.path()).unwrap().remove_stale().unwrap();
        let there = |name: &str| folder.path().join(name).exists();
        assert_eq!((there(&live), there(&live_tree), there(&dead), there(&dead_tree)), (true, true, false, false));
        drop((file, tree));
    }
}
