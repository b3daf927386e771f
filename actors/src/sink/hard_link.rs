//! A further name of a file of the tree that is being unpacked.
//!
//! Invariant: what gets the name is a regular file that was made below the same root. No link is
//! followed on the way, and none gets a second name: in another folder it could lead out.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::sparse;
use crate::tree::TreePath;

/// The outcome of a link.
#[derive(Debug)]
pub(super) enum Linked {
    /// It is one file with two names.
    Yes,
    /// There is no such file, or nobody may get at it any more.
    Missing,
    /// The file system gives no second names: here is the file, to be copied.
    Unable(io::Error, File),
}

/// Gives the file that is `target` below `root` the name `name` in the folder `parent`, too.
pub(super) fn link(
    root: BorrowedFd<'_>,
    target: &TreePath,
    parent: BorrowedFd<'_>,
    name: &[u8],
) -> io::Result<Linked> {
    let folder = match open_folder(root, target.parent()) {
        // Where a tree has more closed folders than can be kept open to the end, some are closed
        // before.
        Err(Errno::ACCESS | Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
            return Ok(Linked::Missing);
        }
        folder => folder?,
    };
    match rustix::fs::statat(&folder, target.name(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) if FileType::from_raw_mode(there.st_mode) == FileType::RegularFile => {}
        Ok(_) | Err(Errno::ACCESS | Errno::NOENT) => return Ok(Linked::Missing),
        Err(error) => return Err(error.into()),
    }
    match rustix::fs::linkat(&folder, target.name(), parent, name, AtFlags::empty()) {
        Ok(()) => Ok(Linked::Yes),
        // File systems, and users, without second names; and more of them than a file may have.
        Err(
            error @ (Errno::PERM
            | Errno::ACCESS
            | Errno::NOTSUP
            | Errno::NOSYS
            | Errno::INVAL
            | Errno::MLINK
            | Errno::XDEV),
        ) => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&folder, target.name(), flags, Mode::empty())?;
            Ok(Linked::Unable(error.into(), file.into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Opens the folder at `path` below `root`, without following a link.
pub(super) fn open_folder(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut folder = rustix::fs::openat(root, ".", flags, Mode::empty())?;
    for component in path.split(|&byte| byte == b'/').filter(|component| !component.is_empty()) {
        folder = rustix::fs::openat(folder.as_fd(), component, flags, Mode::empty())?;
    }
    Ok(folder)
}

/// Makes `to` a copy of `from`: its content, holes left as such. Its mode and modification time.
pub(super) fn copy(from: &File, to: &File) -> io::Result<(u32, i64)> {
    let metadata = from.metadata()?;
    let (mut buffer, mut position) = (vec![0; PIECE], 0);
    loop {
        let count = from.read_at(&mut buffer, position)?;
        if count == 0 {
            break;
        }
        sparse::write_at(to, position, &buffer[..count])?;
        position += count as u64;
    }
    sparse::extend(to, position)?;
    Ok((
        metadata.mode(),
        metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
    ))
}

/// The most bytes that are copied at once.
const PIECE: usize = 1 << 20;
