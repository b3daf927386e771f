//! The folder an inbox writes to, and the temporaries in it.
//!
//! Invariant: everything happens relative to one open directory handle, with names of a single
//! component. A temporary is locked as long as a process works on it, so a leftover is known by its
//! lock being free; one that a later process may go on with has to be old, too; and one
//! that is complete, and that a noted intent may tell of, is none.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use cap_std::fs::Dir;
use estafette::delivery::TransferId;
use estafette::pipeline::Committed;
use rustix::fs::{Access, AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::leftovers::Leftovers;

/// All temporaries begin like this; no delivery may.
pub(super) const PREFIX: &[u8] = b".estafette-";

/// The purpose of a temporary: the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Temporary {
    /// A file that is being written.
    Part,
    /// A folder in which a tree is staged.
    Tree,
    /// A file or a folder that a journal tells of: it outlives its process.
    Keep,
    /// One that is complete, and about to be renamed. Should it be missing, that tells that it was,
    /// so nobody removes it for its age.
    Whole,
}

impl Temporary {
    const ALL: [Self; 4] = [Self::Part, Self::Tree, Self::Keep, Self::Whole];

    /// The kind of temporary that goes with its process.
    pub(super) fn passing(kind: FileType) -> Self {
        if kind == FileType::Directory { Self::Tree } else { Self::Part }
    }

    /// The name of the temporary `name` as one of this kind.
    pub(super) fn named(self, name: &str) -> String {
        name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned() + self.suffix()
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Part => ".part",
            Self::Tree => ".tree",
            Self::Keep => ".keep",
            Self::Whole => ".whole",
        }
    }
}

/// The name under which something in a home is kept, and what it is: another thing of that name is
/// not it. When it is complete it has the name of [`Temporary::Whole`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) inode: u64,
}

/// The identity of the folder that a home is, whatever leads to it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub(super) struct FolderId {
    file_system: u64,
    inode: u64,
}

/// The state of a temporary that was kept.
#[derive(Debug)]
pub(super) enum Kept {
    /// It is there, and locked for us.
    Ours(File),
    /// Somebody works on it.
    Busy,
    /// It is gone, or something else bears its name.
    Gone,
}

/// An open folder and the path it was opened by, which serves messages only.
#[derive(Debug)]
pub(super) struct Home {
    dir: Dir,
    path: PathBuf,
    pub(super) leftovers: Leftovers,
}

impl Home {
    /// Looks at what `make` needs, and makes nothing.
    pub(super) fn look(path: &Path) -> std::io::Result<()> {
        let place = match path.is_dir() {
            true => path,
            false if path.symlink_metadata().is_ok() => {
                return Err(std::io::ErrorKind::NotADirectory.into());
            }
            false => path.parent().unwrap_or(path),
        };
        if !std::fs::metadata(place)?.is_dir() {
            return Err(std::io::ErrorKind::NotADirectory.into());
        }
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        Ok(rustix::fs::accessat(rustix::fs::CWD, place, wanted, AtFlags::EACCESS)?)
    }

    /// Opens the folder at `path`, and makes it if only the last part of the path is missing.
    pub(super) fn make(path: &Path, leftovers: Leftovers) -> std::io::Result<Self> {
        match std::fs::create_dir(path) {
            // One that is there may lie where nothing can be made.
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists && !path.is_dir() => {
                Err(error)
            }
            _ => Self::open(path, leftovers),
        }
    }

    /// Opens the folder at `path`, of which these could not be removed.
    pub(super) fn open(path: &Path, leftovers: Leftovers) -> std::io::Result<Self> {
        // Opened for reading: the handle that cap-std would open can't be synced.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = Dir::from_std_file(File::from(rustix::fs::open(path, flags, Mode::empty())?));
        Ok(Self { dir, path: path.to_path_buf(), leftovers })
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The path of `name`, for a person.
    pub(super) fn place(&self, name: &[u8]) -> String {
        crate::tree::printable(self.path_of(name).as_os_str().as_bytes())
    }

    /// The path of `name`.
    pub(super) fn path_of(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// The record of what is committed under `name`.
    pub(super) fn committed(&self, name: &[u8]) -> Committed {
        let (place, path) = (self.place(name), Some(self.path_of(name)));
        Committed { place, path, ..Committed::default() }
    }

    /// Bytes that may still be written to this file system. One that gives no figures takes what it
    /// takes.
    pub(super) fn available(&self) -> std::io::Result<u64> {
        let figures = rustix::fs::fstatvfs(&self.dir)?;
        if figures.f_blocks == 0 {
            return Ok(u64::MAX);
        }
        Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
    }

    /// Returns `true` if this file system has room for no more files, however small. One that has
    /// no such limit counts none.
    pub(super) fn lacks_inodes(&self) -> bool {
        rustix::fs::fstatvfs(&self.dir)
            .is_ok_and(|figures| figures.f_files > 0 && figures.f_favail == 0)
    }

    /// The number of this file system, which a disk keeps when it is unmounted and mounted again; 0
    /// when it has none.
    pub(super) fn file_system(&self) -> std::io::Result<u64> {
        Ok(rustix::fs::fstatvfs(&self.dir)?.f_fsid)
    }

    /// The identity of this folder. Not every file system keeps such numbers over a mount.
    pub(super) fn id(&self) -> std::io::Result<FolderId> {
        Ok(FolderId {
            file_system: self.file_system()?,
            inode: rustix::fs::fstat(&self.dir)?.st_ino,
        })
    }

    /// Returns `true` if a file with holes takes less room here than its length, as far as is seen.
    pub(super) fn keeps_holes(&self) -> bool {
        const TRIED: u64 = 1 << 20;
        let transfer = TransferId::from_bytes([0; 24]);
        let made = self.create_file(transfer, Temporary::Part, Mode::RUSR | Mode::WUSR);
        let Ok((name, file)) = made else { return false };
        let there = file.set_len(TRIED).and_then(|()| file.metadata());
        let _ = self.remove(&name);
        there.is_ok_and(|there| there.blocks().saturating_mul(512) < TRIED)
    }

    /// The size of this file system in bytes; 0 when it gives no figures.
    pub(super) fn size(&self) -> std::io::Result<u64> {
        let figures = rustix::fs::fstatvfs(&self.dir)?;
        Ok(figures.f_blocks.saturating_mul(figures.f_frsize))
    }

    /// The kind of thing that `name` is, without following a link; `None` when nothing is there.
    pub(super) fn kind_of(&self, name: &[u8]) -> std::io::Result<Option<FileType>> {
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns `true` if `name`, itself and not what it may lead to, is this inode.
    pub(super) fn is_inode(&self, name: &[u8], inode: u64) -> std::io::Result<bool> {
        let device = rustix::fs::fstat(&self.dir)?.st_dev;
        match rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok((stat.st_dev, stat.st_ino) == (device, inode)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The name that something kept has now, as long as it is what it was.
    pub(super) fn name_of(&self, kept: &Named) -> std::io::Result<Option<String>> {
        for kind in [Temporary::Keep, Temporary::Whole] {
            let name = kind.named(&kept.name);
            if self.is_inode(name.as_bytes(), kept.inode)? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Opens and locks a temporary file that was kept, and touches nothing that took its place.
    pub(super) fn open_kept(&self, kept: &Named) -> std::io::Result<Kept> {
        let Some(name) = self.name_of(kept)? else { return Ok(Kept::Gone) };
        let kept = &Named { name, ..*kept };
        let flags =
            OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&self.dir, &*kept.name, flags, Mode::empty());
        // It may have got the permissions that it is to have in the end.
        let opened = match open() {
            Err(Errno::ACCESS) => permit_file(&self.dir, kept).and_then(|()| open()),
            opened => opened,
        };
        let file = match opened {
            Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Ok(Kept::Gone),
            opened => opened?,
        };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            == Err(Errno::WOULDBLOCK)
        {
            return Ok(Kept::Busy);
        }
        let stat = rustix::fs::fstat(&file)?;
        let is_it = stat.st_ino == kept.inode
            && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if is_it && self.is_at(&file, &kept.name) {
            Ok(Kept::Ours(file.into()))
        } else {
            Ok(Kept::Gone)
        }
    }

    /// Gives a temporary the name under which a journal tells of it already. Before that it goes
    /// with its process, so that none stays that nobody knows of.
    pub(super) fn keep(&self, name: &str, kept: &str) -> std::io::Result<()> {
        Ok(rustix::fs::renameat(&self.dir, name, &self.dir, kept)?)
    }

    /// Gives something kept, which we hold, the name of what is complete; and tells it. To be made
    /// durable before an intent tells of it.
    pub(super) fn complete(&self, kept: &str) -> std::io::Result<String> {
        let whole = Temporary::Whole.named(kept);
        match rustix::fs::renameat(&self.dir, kept, &self.dir, &*whole) {
            // By an earlier try.
            Err(Errno::NOENT) if self.kind_of(whole.as_bytes())?.is_some() => Ok(whole),
            renamed => Ok(renamed.map(|()| whole)?),
        }
    }

    /// Takes that back: nothing is intended any more.
    pub(super) fn uncomplete(&self, kept: &str) -> std::io::Result<()> {
        match rustix::fs::renameat(&self.dir, Temporary::Whole.named(kept), &self.dir, kept) {
            Err(Errno::NOENT) => Ok(()),
            renamed => Ok(renamed?),
        }
    }

    /// Gives a temporary that is damaged a name under which nobody cleans it away, and tells the
    /// name.
    pub(super) fn set_aside(&self, name: &str) -> std::io::Result<String> {
        let aside = format!("{}.damaged", name.rsplit_once('.').map_or(name, |(stem, _)| stem));
        rustix::fs::renameat(&self.dir, name, &self.dir, &*aside)?;
        Ok(aside)
    }

    /// Makes a new temporary file and locks it.
    pub(super) fn create_file(
        &self,
        transfer: TransferId,
        kind: Temporary,
        mode: Mode,
    ) -> std::io::Result<(String, File)> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = |name: &str| rustix::fs::openat(&self.dir, name, flags, mode);
        self.create(transfer, kind, make).map(|(name, file)| (name, file.into()))
    }

    /// Makes a new temporary folder, open to nobody else, and locks it.
    pub(super) fn create_tree(
        &self,
        transfer: TransferId,
        kind: Temporary,
    ) -> std::io::Result<(String, File)> {
        let make = |name: &str| create_folder(&self.dir, name.as_bytes());
        self.create(transfer, kind, make).map(|(name, folder)| (name, folder.into()))
    }

    fn create(
        &self,
        transfer: TransferId,
        kind: Temporary,
        make: impl Fn(&str) -> Result<OwnedFd, Errno>,
    ) -> std::io::Result<(String, OwnedFd)> {
        let mut gone = None;
        for _ in 0..ATTEMPTS {
            let name = temporary_name(transfer, kind)?;
            let made = match make(&name) {
                Err(Errno::EXIST) => continue,
                // A folder that was made may be gone before it is opened; or all of the inbox is.
                Err(error @ Errno::NOENT) => {
                    gone = Some(error);
                    continue;
                }
                made => made?,
            };
            // Somebody who cleans up may have found it before it was locked, and has removed it or
            // is about to.
            let locked = rustix::fs::flock(&made, FlockOperation::NonBlockingLockExclusive);
            if locked != Err(Errno::WOULDBLOCK) && self.is_at(&made, &name) {
                return Ok((name, made));
            }
            // It may be there all the same, where nothing could be looked at: it goes later.
            self.leftovers.add(&name, true);
        }
        let text = "the temporaries of this folder are removed by another process as soon as they \
                    are made";
        Err(gone.map_or_else(|| std::io::Error::other(text), Into::into))
    }

    /// Returns `true` if what is open is still what has that name.
    pub(super) fn is_at(&self, made: &impl AsFd, name: &str) -> bool {
        let there = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW);
        matches!((rustix::fs::fstat(made), there), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    /// Makes renames and removals in this folder durable, as far as its file system can: some don't
    /// sync folders.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        match rustix::fs::fsync(&self.dir) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::BADF) => Ok(()),
            synced => Ok(synced?),
        }
    }
}

/// Makes a folder `name` beneath `parent` and opens it, without following anything.
pub(super) fn create_folder(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(&parent, name, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&parent, name, flags, Mode::empty()).inspect_err(|_| {
        // Without a descriptor for it nobody would know of it. What can't be removed is a leftover
        // without a lock.
        let _ = rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR);
    })
}

/// Gives the owner of a kept file permission to go on with it, without following a link.
fn permit_file(dir: &Dir, kept: &Named) -> Result<(), Errno> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(dir, &*kept.name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&handle)?;
        // One with a second name is visible already, with the permissions it is to have.
        if stat.st_ino != kept.inode || stat.st_nlink != 1 {
            return Err(Errno::NOENT);
        }
        rustix::fs::chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), Mode::RUSR | Mode::WUSR)
    }
    #[cfg(not(target_os = "linux"))]
    rustix::fs::chmodat(dir, &*kept.name, Mode::RUSR | Mode::WUSR, AtFlags::SYMLINK_NOFOLLOW)
}

/// Tries to find a name of its own for a temporary; names have random digits, so the second is
/// needed only when somebody cleans up right then.
const ATTEMPTS: usize = 16;

fn temporary_name(transfer: TransferId, kind: Temporary) -> std::io::Result<String> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = u32::try_from(now).unwrap_or(u32::MAX);
    Ok(format!(
        ".estafette-{transfer:.16}-{now:08x}{:08x}{}",
        u32::from_le_bytes(random),
        kind.suffix()
    ))
}

/// The kind of temporary with this name; `None` for names that are not of the form we make.
pub(super) fn temporary(name: &str) -> Option<Temporary> {
    let rest = name.strip_prefix(".estafette-")?;
    let (middle, kind) = Temporary::ALL
        .into_iter()
        .find_map(|kind| Some((rest.strip_suffix(kind.suffix())?, kind)))?;
    let hexadecimal =
        |part: &str| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    middle
        .split_once('-')
        .filter(|(transfer, random)| hexadecimal(transfer) && hexadecimal(random))
        .map(|_| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_and_can_not_be_found_goes_when_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), Leftovers::default()).unwrap();
        // What is made is there, and what is looked at is something else.
        let make = |name: &str| {
            std::fs::write(folder.path().join(name), "x").unwrap();
            Ok(tempfile::tempfile().unwrap().into())
        };
        home.create(TransferId::from_bytes([1; 24]), Temporary::Part, make).unwrap_err();
        let left = || std::fs::read_dir(folder.path()).unwrap().count();
        assert!(left() > 0);
        drop(home);
        assert_eq!(left(), 0);
    }

    #[test]
    fn only_names_of_the_form_we_make_are_temporaries() {
        let transfer = TransferId::from_bytes([0xab; 24]);
        for kind in Temporary::ALL {
            assert_eq!(temporary(&temporary_name(transfer, kind).unwrap()), Some(kind));
        }
        let damaged = ".estafette-0123456789abcdef-0123456789abcdef.damaged";
        for other in [
            ".estafette-notes",
            ".estafette-.part",
            "photo.part",
            damaged,
            ".estafette-../../../etc/passwd.keep",
        ] {
            assert_eq!(temporary(other), None, "{other}");
        }
    }

    #[test]
    fn a_kept_file_is_opened_by_one_and_only_as_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), Leftovers::default()).unwrap();
        let (name, file) = home
            .create_file(TransferId::from_bytes([1; 24]), Temporary::Keep, Mode::empty())
            .unwrap();
        let kept = Named { inode: rustix::fs::fstat(&file).unwrap().st_ino, name };
        assert!(matches!(home.open_kept(&kept).unwrap(), Kept::Busy));
        drop(file);
        assert!(
            matches!(home.open_kept(&kept).unwrap(), Kept::Ours(_)),
            "its mode does not keep us out"
        );
        assert!(matches!(
            home.open_kept(&Named { inode: kept.inode + 1, ..kept.clone() }).unwrap(),
            Kept::Gone
        ));
        std::fs::remove_file(folder.path().join(&kept.name)).unwrap();
        assert!(matches!(home.open_kept(&kept).unwrap(), Kept::Gone));
    }
}
