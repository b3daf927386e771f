//! Temporaries that go: at once, or as soon as that can be done.
//!
//! Invariant: what is given up first loses the name under which it would be kept, which takes no
//! descriptor and no memory. So whatever keeps it from being removed then, it goes with its
//! process: it is tried again when a delivery of this folder begins or ends, and the next process
//! removes it, since its lock is free. What is complete and intended is never removed for its age:
//! only a wall clock tells that.

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::aside;
use super::home::{Home, Named, Temporary, temporary};

impl Home {
    /// Removes a temporary; one that is not there any more is no error. One that can't be removed
    /// now is tried again later.
    pub(super) fn remove(&self, name: &str) -> std::io::Result<()> {
        let passing = self.let_go(name).inspect_err(|_| self.leftovers.add(name, true))?;
        let Some((name, kind)) = passing else { return Ok(()) };
        self.remove_now(&name, kind).inspect_err(|_| self.leftovers.add(&name, true))
    }

    /// Removes a temporary that is to be kept no more, if it still is what it was. Whether nothing
    /// has a name of it any more under which it would be kept.
    pub(super) fn remove_kept(&self, named: &Named) -> bool {
        let removed =
            self.name_of(named).and_then(|name| name.map_or(Ok(()), |name| self.remove(&name)));
        if let Err(error) = removed {
            tracing::warn!(
                place = %self.place(named.name.as_bytes()), %error,
                "could not remove a temporary: it is tried again later"
            );
            return matches!(self.name_of(named), Ok(None));
        }
        true
    }

    /// Takes away the name under which a temporary is kept: it goes with its process from now on.
    /// Its new name, and what it is.
    pub(super) fn let_go(&self, name: &str) -> std::io::Result<Option<(String, FileType)>> {
        let Some(kind) = self.kind_of(name.as_bytes())? else { return Ok(None) };
        let passing = Temporary::passing(kind).named(name);
        if passing == name {
            return Ok(Some((passing, kind)));
        }
        match rustix::fs::renameat(self.dir(), name, self.dir(), &*passing) {
            Ok(()) => Ok(Some((passing, kind))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn remove_now(&self, name: &str, kind: FileType) -> std::io::Result<()> {
        let removed = match kind {
            FileType::Directory => {
                self.dir().remove_dir_all(name).or_else(|error| match error.kind() {
                    // Folders of the tree may have got permissions that keep even their owner from
                    // emptying them.
                    std::io::ErrorKind::PermissionDenied => {
                        permit(self.dir(), name.as_bytes())?;
                        self.dir().remove_dir_all(name)
                    }
                    _ => Err(error),
                })
            }
            _ => rustix::fs::unlinkat(self.dir(), name, AtFlags::empty()).map_err(Into::into),
        };
        removed.or_else(|error| {
            if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
        })
    }

    /// Removes what crashed processes left behind, unless that was done: temporaries of the exact
    /// form we make whose lock is free, and of those that are kept for a later process the ones
    /// that nobody has changed for [`KEPT_FOR`]. And what could not be removed before.
    pub(super) fn sweep(&self, now: SystemTime) {
        let again = std::mem::take(&mut self.leftovers.left().names);
        for (name, given_up) in again {
            if given_up {
                self.tell(&name, self.remove(&name).map(|()| true));
            } else {
                self.remove_if_left(&name, now);
            }
        }
        if self.leftovers.left().is_swept {
            return;
        }
        match self.remove_all_left(now) {
            Ok(()) => self.leftovers.left().is_swept = true,
            Err(error) => {
                tracing::warn!(
                    place = %self.place(b""), %error,
                    "could not look for what an earlier run left behind"
                )
            }
        }
    }

    fn remove_all_left(&self, now: SystemTime) -> std::io::Result<()> {
        for entry in self.dir().entries()? {
            if let Some(name) = entry?.file_name().to_str() {
                self.remove_if_left(name, now);
            }
        }
        Ok(())
    }

    fn remove_if_left(&self, name: &str, now: SystemTime) {
        if aside::is_note(name) {
            return self.tell(name, aside::restore(self, name));
        }
        let kind = temporary(name);
        if kind.is_none_or(|kind| kind == Temporary::Whole) {
            return;
        }
        self.tell(name, self.try_to_remove(name, kind == Some(Temporary::Keep), now));
    }

    /// Removes it if nobody works on it, and one that is kept only if it is old, too. Whether it
    /// did.
    fn try_to_remove(&self, name: &str, is_kept: bool, now: SystemTime) -> std::io::Result<bool> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let is_old = |stat: &Stat| unchanged_since(stat, now).min(made_since(name, now)) > KEPT_FOR;
        let stat = match rustix::fs::statat(self.dir(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            stat => stat?,
        };
        if is_kept && !is_old(&stat) {
            return Ok(false);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = match rustix::fs::openat(self.dir(), name, flags, Mode::empty()) {
            // Gone, or nothing that we make; or it has got permissions that keep even its owner
            // out, so that only its age tells.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(false),
            Err(Errno::ACCESS) if is_old(&stat) => None,
            Err(Errno::ACCESS) => return Ok(false),
            open => Some(open?),
        };
        // Held until it is gone.
        if let Some(open) = &open {
            match rustix::fs::flock(open, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => return Ok(false),
                // Where a file system knows no locks nobody can tell.
                Err(Errno::NOSYS | Errno::NOTSUP | Errno::INVAL) => return Ok(false),
                locked => locked?,
            }
        }
        self.remove(name).map(|()| true)
    }

    fn tell(&self, name: &str, removed: std::io::Result<bool>) {
        let place = self.place(name.as_bytes());
        match removed {
            Ok(true) => tracing::info!(%place, "removed a temporary that was left behind"),
            Ok(false) => {}
            Err(error) => {
                self.leftovers.add(name, false);
                tracing::warn!(
                    %place, %error,
                    "could not remove a temporary that was left behind: it is tried again later"
                );
            }
        }
    }
}

/// Removes, if it may now, what could not be removed when a delivery ended: it holds nothing any
/// more.
impl Drop for Home {
    fn drop(&mut self) {
        if !self.leftovers.is_empty() {
            self.sweep(SystemTime::now());
        }
    }
}

/// Gives the owner of the folder `name` beneath `parent`, and of all folders in it, every
/// permission.
fn permit(parent: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    rustix::fs::chmodat(&parent, name, Mode::RWXU, AtFlags::empty())?;
    let folder = rustix::fs::openat(
        &parent,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
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

/// The time since a temporary was made, by its name. File systems without a time of the last change
/// give the modification time for one, and that may be the sender's.
fn made_since(name: &str, now: Duration) -> Duration {
    let made =
        name.rsplit_once('-').and_then(|(_, rest)| u64::from_str_radix(rest.get(..8)?, 16).ok());
    // Earlier builds had nothing but random digits there: a time to come says nothing.
    made.map(Duration::from_secs).and_then(|made| now.checked_sub(made)).unwrap_or(Duration::MAX)
}

/// The time since something was changed. By the time of its last change, since its modification
/// time may be the sender's.
fn unchanged_since(stat: &Stat, now: Duration) -> Duration {
    let changed = Duration::new(
        stat.st_ctime.try_into().unwrap_or(0),
        stat.st_ctime_nsec.try_into().unwrap_or(0),
    );
    now.saturating_sub(changed)
}

/// A day longer than any delivery may go on: what was kept for it has no use any more.
const KEPT_FOR: Duration = Duration::from_secs(31 * 24 * 3600);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::path::Path;

    use estafette::delivery::TransferId;

    use super::*;
    use crate::sink::leftovers::Leftovers;

    fn open(path: &Path) -> Home {
        Home::open(path, Leftovers::default()).unwrap()
    }

    #[test]
    fn a_leftover_is_removed_and_a_live_temporary_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let home = open(folder.path());
        let transfer = TransferId::from_bytes([1; 24]);
        let file = |kind| home.create_file(transfer, kind, Mode::RUSR).unwrap();
        let (live, live_file) = file(Temporary::Part);
        let (live_tree, tree) = home.create_tree(transfer, Temporary::Tree).unwrap();
        let (dead, _) = file(Temporary::Part);
        let (dead_tree, _) = home.create_tree(transfer, Temporary::Tree).unwrap();
        std::fs::write(folder.path().join(&dead_tree).join("inside"), "x").unwrap();
        open(folder.path()).sweep(SystemTime::now());
        let there = |name: &str| folder.path().join(name).exists();
        assert_eq!(
            (there(&live), there(&live_tree), there(&dead), there(&dead_tree)),
            (true, true, false, false)
        );
        drop((live_file, tree));
    }

    #[test]
    fn what_is_kept_is_removed_only_when_no_delivery_can_need_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = open(folder.path());
        let transfer = TransferId::from_bytes([1; 24]);
        let (kept, file) =
            home.create_file(transfer, Temporary::Keep, Mode::RUSR | Mode::WUSR).unwrap();
        // The sender's modification time tells nothing.
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let (staged, root) = home.create_tree(transfer, Temporary::Keep).unwrap();
        let left = |days: u64| {
            open(folder.path()).sweep(SystemTime::now() + Duration::from_secs(days * 24 * 3600));
            [&kept, &staged].map(|name| folder.path().join(name).exists())
        };
        assert_eq!(left(32), [true, true], "they are in use");
        drop((file, root));
        assert_eq!(left(30), [true, true]);
        assert_eq!(left(32), [false, false]);
    }
}
