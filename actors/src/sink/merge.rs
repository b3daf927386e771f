//! The part of a folder that is there which, by choice, stays when a tree takes its place: what the
//! tree has not.
//!
//! Invariant: nothing is taken out of its place, which stays as it is until the new tree takes it:
//! files get a second name in the tree that is staged, folders are made there. No link is followed.
//! A folder is never lost to something that came under its name and is none: it stays, and that is
//! left out, with a remark.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use estafette::pipeline::Refusal;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::hard_link::copy;
use super::home::{Home, create_folder};
use super::limits::Limits;
use super::remarks::{Remarks, cannot_hold};
use super::sparse;

/// Folders one in another, at most: more than a tree that comes may have.
const DEPTH: usize = 256;
/// Bytes of the names of extended attributes of a folder, and of a value, that are kept.
const ATTRIBUTES: usize = 64 << 10;

/// Takes into the folder `staged` what the folder `there` has and `staged` has not, at every depth.
/// What is in both is as it came, a folder in place of something else, too; but a folder stays where
/// something else came.
pub(super) fn keep(
    there: BorrowedFd<'_>,
    staged: BorrowedFd<'_>,
    (room, remarks): (&Room<'_>, &mut Remarks),
) -> io::Result<()> {
    Merge { room, remarks }.folder(there, staged, &mut Vec::new(), 0)
}

/// The same of what lies at these paths, in folders that both have.
pub(super) fn keep_some<'a>(
    there: BorrowedFd<'_>,
    staged: BorrowedFd<'_>,
    paths: impl Iterator<Item = &'a [u8]>,
    (room, remarks): (&Room<'_>, &mut Remarks),
) -> io::Result<()> {
    let mut merge = Merge { room, remarks };
    for path in paths {
        merge.along(there, staged, path, &mut Vec::new(), 0)?;
    }
    Ok(())
}

/// The disk on which files are copied that stay, where it gives no second names.
#[derive(Debug)]
pub(super) struct Room<'h> {
    pub(super) limits: Limits,
    pub(super) home: &'h Home,
}

struct Merge<'r> {
    room: &'r Room<'r>,
    remarks: &'r mut Remarks,
}

/// A folder that is there, and the one that takes its place.
struct Pair<'f> {
    there: BorrowedFd<'f>,
    staged: BorrowedFd<'f>,
    /// The one that takes its place, before anything was taken into it.
    as_it_was: Stat,
    is_touched: bool,
}

impl<'f> Pair<'f> {
    fn new(there: BorrowedFd<'f>, staged: BorrowedFd<'f>) -> io::Result<Self> {
        Ok(Self { there, staged, as_it_was: rustix::fs::fstat(staged)?, is_touched: false })
    }

    /// Lets something be taken into it.
    fn touch(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_touched, true) {
            let mode = Mode::from_raw_mode(self.as_it_was.st_mode) | Mode::RWXU;
            rustix::fs::fchmod(self.staged, mode)?;
        }
        Ok(())
    }

    fn end(self) -> io::Result<()> {
        if self.is_touched { restore(self.staged, &self.as_it_was) } else { Ok(()) }
    }
}

impl Merge<'_> {
    fn folder(
        &mut self,
        there: BorrowedFd<'_>,
        staged: BorrowedFd<'_>,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEPTH {
            let text = format!("what is there has more than {DEPTH} folders one in another");
            return Err(io::Error::other(Refusal::new(text)));
        }
        let mut pair = Pair::new(there, staged)?;
        for entry in Dir::read_from(there)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                self.entry(&mut pair, name, path, depth)?;
            }
        }
        pair.end()
    }

    /// The entry at the end of a path, if all in front of it are folders in both.
    fn along(
        &mut self,
        there: BorrowedFd<'_>,
        staged: BorrowedFd<'_>,
        rest: &[u8],
        path: &mut Vec<u8>,
        depth: usize,
    ) -> io::Result<()> {
        let end = rest.iter().position(|&byte| byte == b'/');
        let name = &rest[..end.unwrap_or(rest.len())];
        let Some(old) = found(there, name)? else { return Ok(()) };
        let Some(end) = end else {
            let mut pair = Pair::new(there, staged)?;
            self.entry(&mut pair, name, path, depth)?;
            return pair.end();
        };
        let Some(new) = found(staged, name)? else { return Ok(()) };
        if !is_folder(&old) || !is_folder(&new) {
            return Ok(());
        }
        path.extend(name.iter().chain(b"/"));
        let there = Entered::new(there, name, &old)?;
        let staged = Entered::new(staged, name, &new)?;
        let taken = self.along(there.as_fd(), staged.as_fd(), &rest[end + 1..], path, depth + 1);
        there.leave().and(staged.leave()).and(taken)
    }

    /// One entry that is there.
    fn entry(
        &mut self,
        pair: &mut Pair<'_>,
        name: &[u8],
        path: &mut Vec<u8>,
        depth: usize,
    ) -> io::Result<()> {
        let (there, staged) = (pair.there, pair.staged);
        let (old, new) = (stat(there, name)?, found(staged, name)?);
        let length = path.len();
        path.extend(name.iter().chain(b"/"));
        match new {
            Some(new) if is_folder(&old) && is_folder(&new) => {
                let there = Entered::new(there, name, &old)?;
                let staged = Entered::new(staged, name, &new)?;
                let taken = self.folder(there.as_fd(), staged.as_fd(), path, depth + 1);
                there.leave().and(staged.leave()).and(taken)?;
            }
            Some(_) if !is_folder(&old) => {}
            new => {
                pair.touch()?;
                if let Some(new) = new {
                    self.leave_out(staged, (name, &new), path)?;
                }
                self.take(there, staged, (name, &old), path, depth)?;
            }
        }
        path.truncate(length);
        Ok(())
    }

    /// Takes away what came under the name of a folder, which stays.
    fn leave_out(
        &mut self,
        staged: BorrowedFd<'_>,
        (name, new): (&[u8], &Stat),
        path: &[u8],
    ) -> io::Result<()> {
        rustix::fs::unlinkat(staged, name, AtFlags::empty())?;
        let is_file = FileType::from_raw_mode(new.st_mode) == FileType::RegularFile;
        let text = "a folder has its name here, and keeps what is in it; move that away, and send \
                    it again";
        self.remarks.leave_out(path.strip_suffix(b"/").unwrap_or(path), is_file, text);
        Ok(())
    }

    /// Takes one entry over, with all that is in it.
    fn take(
        &mut self,
        there: BorrowedFd<'_>,
        staged: BorrowedFd<'_>,
        (name, old): (&[u8], &Stat),
        path: &mut Vec<u8>,
        depth: usize,
    ) -> io::Result<()> {
        if is_folder(old) {
            let old_folder = Entered::new(there, name, old)?;
            let new_folder = create_folder(staged, name)?;
            let taken = self.folder(old_folder.as_fd(), new_folder.as_fd(), path, depth + 1);
            keep_attributes(old_folder.as_fd(), new_folder.as_fd());
            return old_folder.leave().and(taken).and(restore(new_folder.as_fd(), old));
        }
        // A second name of a link is one of the link itself.
        match rustix::fs::linkat(there, name, staged, name, AtFlags::empty()) {
            Ok(()) => return Ok(()),
            // File systems, and users, without second names; and more of them than a file may have.
            Err(
                Errno::PERM
                | Errno::ACCESS
                | Errno::NOTSUP
                | Errno::NOSYS
                | Errno::INVAL
                | Errno::MLINK
                | Errno::XDEV,
            ) => {}
            Err(error) => return Err(error.into()),
        }
        match FileType::from_raw_mode(old.st_mode) {
            FileType::RegularFile => copy_file(there, staged, (name, old), self.room),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(there, name, Vec::new())?;
                Ok(rustix::fs::symlinkat(target, staged, name)?)
            }
            _ => {
                let text = "it was there before, is no file, and has no second name here";
                self.remarks.leave_out(path.strip_suffix(b"/").unwrap_or(path), false, text);
                Ok(())
            }
        }
    }
}

fn copy_file(
    there: BorrowedFd<'_>,
    staged: BorrowedFd<'_>,
    (name, old): (&[u8], &Stat),
    Room { limits, home }: &Room<'_>,
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let from = File::from(rustix::fs::openat(there, name, flags, Mode::empty())?);
    // What stays free for others stays so.
    limits.check_room(sparse::taken(&from)?, home).map_err(io::Error::other)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = File::from(rustix::fs::openat(staged, name, flags, Mode::RUSR | Mode::WUSR)?);
    copy(&from, &to)?;
    restore(to.as_fd(), old)
}

/// The entry of that name, if there is one.
fn found(folder: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match stat(folder, name) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        // A name that there can be no entry of.
        Err(error) if cannot_hold(&error.into()) => Ok(None),
        Err(error) => Err(error),
    }
}

fn stat(folder: BorrowedFd<'_>, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Returns `true` if its owner may look into it.
fn may_enter(stat: &Stat) -> bool {
    Mode::from_raw_mode(stat.st_mode).contains(Mode::RUSR | Mode::XUSR)
}

fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// A folder that is looked into, though its owner may not: its mode is another one meanwhile. Of
/// the two, one is not visible yet, and the other soon no more.
struct Entered<'s> {
    folder: OwnedFd,
    as_it_was: &'s Stat,
}

impl<'s> Entered<'s> {
    fn new(parent: BorrowedFd<'_>, name: &[u8], as_it_was: &'s Stat) -> Result<Self, Errno> {
        if !may_enter(as_it_was) {
            let mode = Mode::from_raw_mode(as_it_was.st_mode) | Mode::RWXU;
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
        }
        Ok(Self { folder: open_folder(parent, name)?, as_it_was })
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    fn leave(self) -> io::Result<()> {
        if may_enter(self.as_it_was) { Ok(()) } else { restore(self.as_fd(), self.as_it_was) }
    }
}

/// Gives it the mode and the times that it had.
fn restore(entry: BorrowedFd<'_>, as_it_was: &Stat) -> io::Result<()> {
    #[allow(clippy::unnecessary_cast, reason = "types of a stat differ from system to system")]
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps {
        last_access: time(as_it_was.st_atime, as_it_was.st_atime_nsec),
        last_modification: time(as_it_was.st_mtime, as_it_was.st_mtime_nsec),
    };
    let mode = rustix::fs::fchmod(entry, Mode::from_raw_mode(as_it_was.st_mode));
    for set in [mode, rustix::fs::futimens(entry, &times)] {
        match set.map_err(io::Error::from) {
            // A file system that keeps less than that.
            Err(error) if super::remarks::is_passable(&error) => {}
            set => set?,
        }
    }
    Ok(())
}

/// Gives a folder the extended attributes of another one, as far as that goes.
fn keep_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    let mut names = vec![0; ATTRIBUTES];
    let Ok(length) = rustix::fs::flistxattr(from, &mut names[..]) else { return };
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; ATTRIBUTES];
        if let Ok(length) = rustix::fs::fgetxattr(from, name, &mut value[..]) {
            // Those of the system are not everybody's to set.
            let _ = rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty());
        }
    }
}
