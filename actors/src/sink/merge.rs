//! The part of a folder that is there which, by choice, stays when a tree takes its place: what the
//! tree has not.
//!
//! Invariant: nothing is taken out of its place, which stays as it is until the new tree takes it:
//! files get a second name in the tree that is staged, folders are made there. No link is followed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use estafette::pipeline::Refusal;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::hard_link::copy;
use super::home::create_folder;
use super::remarks::Remarks;

/// Folders one in another, at most: more than a tree that comes may have.
const DEPTH: usize = 256;
/// Bytes of the names of extended attributes of a folder, and of a value, that are kept.
const ATTRIBUTES: usize = 64 << 10;

/// Takes into the folder `staged` what the folder `there` has and `staged` has not, at every depth.
/// What is in both is as it came, also where one is a folder and the other is not.
pub(super) fn keep(
    there: BorrowedFd<'_>,
    staged: BorrowedFd<'_>,
    remarks: &mut Remarks,
) -> io::Result<()> {
    Merge { remarks }.folder(there, staged, &mut Vec::new(), 0)
}

struct Merge<'r> {
    remarks: &'r mut Remarks,
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
        let as_it_was = rustix::fs::fstat(staged)?;
        let mut is_touched = false;
        for entry in Dir::read_from(there)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let old = stat(there, name)?;
            let new = match stat(staged, name) {
                Ok(new) => Some(new),
                Err(Errno::NOENT) => None,
                Err(error) => return Err(error.into()),
            };
            let length = path.len();
            path.extend(name.iter().chain(b"/"));
            match new {
                Some(new) if is_folder(&old) && is_folder(&new) => {
                    let there = open_folder(there, name)?;
                    let staged = enter(staged, name, &new)?;
                    self.folder(there.as_fd(), staged.as_fd(), path, depth + 1)?;
                    if !may_enter(&new) {
                        restore(staged.as_fd(), &new)?;
                    }
                }
                Some(_) => {}
                None => {
                    if !std::mem::replace(&mut is_touched, true) {
                        let mode = Mode::from_raw_mode(as_it_was.st_mode) | Mode::RWXU;
                        rustix::fs::fchmod(staged, mode)?;
                    }
                    self.take(there, staged, (name, &old), path, depth)?;
                }
            }
            path.truncate(length);
        }
        if is_touched { restore(staged, &as_it_was) } else { Ok(()) }
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
            let old_folder = open_folder(there, name)?;
            let new_folder = create_folder(staged, name)?;
            self.folder(old_folder.as_fd(), new_folder.as_fd(), path, depth + 1)?;
            keep_attributes(old_folder.as_fd(), new_folder.as_fd());
            return restore(new_folder.as_fd(), old);
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
            FileType::RegularFile => copy_file(there, staged, (name, old)),
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
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let from = File::from(rustix::fs::openat(there, name, flags, Mode::empty())?);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = File::from(rustix::fs::openat(staged, name, flags, Mode::RUSR | Mode::WUSR)?);
    copy(&from, &to)?;
    restore(to.as_fd(), old)
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

/// Opens a folder of the tree that is staged: nobody else is at it, so its mode may be another one
/// for a moment.
fn enter(staged: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> Result<OwnedFd, Errno> {
    if !may_enter(stat) {
        let mode = Mode::from_raw_mode(stat.st_mode) | Mode::RWXU;
        rustix::fs::chmodat(staged, name, mode, AtFlags::empty())?;
    }
    open_folder(staged, name)
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
