//! Walks folders in the order of a tree stream.
//!
//! Invariant: everything below a given path is opened relative to the handle of the folder it is
//! in. Links are followed only where they are named by a person, and those that lead out where a
//! person wants that; never in a circle. Held in memory are the sorted names of the folders around
//! the current entry, and the [first names](HardLinks) of files that have several.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use estafette::pipeline::{Skipped, SourceError};
use rustix::fs::{Access, AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::failure::{failed, printable_path};
use super::hard_links::HardLinks;
use super::options::{Links, ReadOptions};
use super::unread::Unread;
use super::version::nanoseconds;
use crate::tree::{Entry, TreePath, confined, printable};

/// The beginnings of a tree.
#[derive(Debug)]
pub(super) enum Roots {
    /// One folder: its entries are at the top of the tree.
    Folder(PathBuf),
    /// Several paths, by the names they have at the top of the tree.
    Given(BTreeMap<Vec<u8>, PathBuf>),
}

/// A step of the walk.
#[derive(Debug)]
pub(super) enum Step {
    /// A root, a folder or a link; or a file that can be opened with [`Walk::open_file`] until the
    /// next step.
    Entry(Entry, State),
    /// Something that is left out.
    Skipped(Skipped),
}

/// The facts that tell a later state of an entry from this one, besides what the entry says.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Time of the last change to content or attributes, in nanoseconds since the Unix epoch.
    pub(super) changed: i64,
    /// Set if it is a further name of a link that came before.
    pub(super) is_twin: bool,
    /// Set if it takes less room on its disk than its length.
    pub(super) has_holes: bool,
}

#[derive(Debug)]
pub(super) struct Walk {
    roots: Arc<Roots>,
    options: Arc<ReadOptions>,
    started: bool,
    levels: Vec<Level>,
    waiting: Option<Skipped>,
    /// The lack of this machine for the moment: then nothing is left out, and the whole fails.
    lack: Option<Errno>,
    unread: Unread,
    hard_links: HardLinks,
    /// Set if the file that the last step came to is reached by a link.
    by_link: bool,
}

#[derive(Debug)]
struct Level {
    /// `None` at the top of several paths: their names are no names in one folder.
    folder: Option<OwnedFd>,
    /// Device and inode of the folder.
    key: Option<(u64, u64)>,
    path: Vec<u8>,
    names: std::vec::IntoIter<Vec<u8>>,
}

/// The reason why a link is left out where that is asked for.
pub(super) const LEADS_OUT: &str = "it is a link that may lead out of what is sent";

const FOLDER_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
// Without NONBLOCK, opening a fifo that took the place of a file would wait for somebody to write
// to it.
const FILE_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

impl Walk {
    pub(super) fn new(roots: Arc<Roots>, options: Arc<ReadOptions>) -> Self {
        let (levels, unread, hard_links) = Default::default();
        Self {
            roots,
            options,
            started: false,
            levels,
            waiting: None,
            lack: None,
            unread,
            hard_links,
            by_link: false,
        }
    }

    /// The file that this state is of did not come to be sent: its further names are files of their
    /// own.
    pub(super) fn forget(&mut self, device: u64, inode: u64) {
        self.hard_links.forget((device, inode));
    }

    /// The folder that the last step came to, unless that was none.
    pub(super) fn folder(&self) -> Option<&OwnedFd> {
        self.levels.last()?.folder.as_ref()
    }

    /// The next entry, depth first; `None` at the end. Fails only for the folder itself that is to
    /// be sent, and for want of descriptors or memory.
    pub(super) fn next(&mut self) -> Result<Option<Step>, SourceError> {
        let step = self.next_step()?;
        match (self.lack.take(), &step) {
            (Some(error), Some(Step::Skipped(skipped))) => {
                Err(SourceError::Read { what: skipped.path.clone(), error: error.into() })
            }
            (Some(error), _) => {
                Err(SourceError::Read { what: self.real_path(b""), error: error.into() })
            }
            (None, _) => Ok(step),
        }
    }

    fn next_step(&mut self) -> Result<Option<Step>, SourceError> {
        if let Some(skipped) = self.waiting.take() {
            return Ok(Some(Step::Skipped(skipped)));
        }
        if !self.started {
            self.started = true;
            if let Some((root, state)) = self.start()? {
                return Ok(Some(Step::Entry(root, state)));
            }
        }
        while let Some(level) = self.levels.last_mut() {
            match level.names.next() {
                Some(name) => {
                    if let Some(step) = self.visit(&name) {
                        return Ok(Some(step));
                    }
                }
                None => drop(self.levels.pop()),
            }
        }
        Ok(None)
    }

    /// Opens the file that the last step came to.
    pub(super) fn open_file(&self, path: &TreePath) -> std::io::Result<File> {
        let (folder, name) = self.locate(path.name());
        let follow = if self.by_link { OFlags::NOFOLLOW } else { OFlags::empty() };
        Ok(rustix::fs::openat(folder, name, FILE_FLAGS.difference(follow), Mode::empty())?.into())
    }

    /// Returns `true` if the file that the last step came to may not be read. Whoever may read it
    /// later has another tree.
    pub(super) fn is_forbidden(&self, path: &TreePath, mode: u32) -> bool {
        // Everybody may: it is not asked of each file of a tree.
        if mode & 0o004 != 0 {
            return false;
        }
        let (folder, name) = self.locate(path.name());
        let access = rustix::fs::accessat(folder, name, Access::READ_OK, AtFlags::EACCESS);
        access == Err(Errno::ACCESS)
    }

    /// The path that a person would look for.
    pub(super) fn real_path(&self, path: &[u8]) -> String {
        match &*self.roots {
            Roots::Folder(root) if path.is_empty() => printable_path(root),
            Roots::Folder(root) => printable_path(&root.join(OsStr::from_bytes(path))),
            Roots::Given(paths) => {
                let end = path.iter().position(|&byte| byte == b'/');
                let (top, rest) = path.split_at(end.unwrap_or(path.len()));
                let top =
                    paths.get(top).map_or_else(|| printable(top), |path| printable_path(path));
                top + &printable(rest)
            }
        }
    }

    /// A path for a person, as it is called in the tree: where it is on this machine is nobody
    /// else's business.
    pub(super) fn path_in_tree(&self, real: &str) -> String {
        let below = |root: &std::path::Path| real.strip_prefix(&*printable_path(root));
        let found = match &*self.roots {
            Roots::Folder(root) => below(root).map(|rest| rest.trim_start_matches('/').to_owned()),
            Roots::Given(paths) => paths.iter().find_map(|(name, path)| {
                let rest = below(path).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
                Some(printable(name) + rest)
            }),
        };
        found.unwrap_or_else(|| real.rsplit('/').next().unwrap_or_default().to_owned())
    }

    fn start(&mut self) -> Result<Option<(Entry, State)>, SourceError> {
        let roots = self.roots.clone();
        match &*roots {
            Roots::Given(paths) => {
                let names: Vec<_> = paths.keys().cloned().collect();
                self.levels.push(Level {
                    folder: None,
                    key: None,
                    path: Vec::new(),
                    names: names.into_iter(),
                });
                Ok(None)
            }
            Roots::Folder(path) => {
                // A person has named it: what it leads to is meant.
                let opened = rustix::fs::open(
                    path,
                    FOLDER_FLAGS.difference(OFlags::NOFOLLOW),
                    Mode::empty(),
                );
                let (folder, stat) = opened
                    .and_then(|folder| rustix::fs::fstat(&folder).map(|stat| (folder, stat)))
                    .map_err(|error| failed(path, error.into()))?;
                self.push(folder, &stat, Vec::new());
                Ok(Some((
                    Entry::Root { mode: permissions(&stat), mtime: modified(&stat) },
                    state(&stat),
                )))
            }
        }
    }

    /// `None` for what a person wants left out.
    fn visit(&mut self, name: &[u8]) -> Option<Step> {
        let parent = self.levels.last().map_or(&[][..], |level| &level.path);
        let whole = if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() };
        if self.options.excludes(&whole) {
            return None;
        }
        let visited = TreePath::new(whole.clone())
            .map_err(|error| error.to_string())
            .and_then(|path| self.entry(path));
        Some(match visited {
            Ok((entry, state)) => Step::Entry(entry, state),
            Err(reason) => Step::Skipped(Skipped { path: self.real_path(&whole), reason }),
        })
    }

    fn entry(&mut self, path: TreePath) -> Result<(Entry, State), String> {
        let (folder, name) = self.locate(path.name());
        // What a person has named is what it leads to.
        let by_name = self.levels.last().is_some_and(|level| level.folder.is_none());
        let flags = if by_name { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        let stat = match rustix::fs::statat(folder, name, flags) {
            Ok(stat) => stat,
            Err(error) => return Err(self.unread_at(path.as_bytes(), error)),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return self.described(path, &stat, by_name);
        }
        let target = match rustix::fs::readlinkat(folder, name, Vec::new()) {
            Ok(target) => target.into_bytes(),
            Err(error) => return Err(self.unread_at(path.as_bytes(), error)),
        };
        let is_twin = self.hard_links.seen(&path, &stat).is_some();
        let mtime = modified(&stat);
        let entry = match self.options.links {
            _ if confined(&target, path.depth()) => Entry::Link { path, mtime, target },
            Links::Keep => Entry::OutwardLink { path, mtime, target },
            Links::Skip => return Err(format!("{LEADS_OUT}, to {}", printable(&target))),
            Links::Follow => {
                let (folder, name) = self.locate(path.name());
                let led = rustix::fs::statat(folder, name, AtFlags::empty());
                let stat = led.map_err(|error| {
                    let why = self.unread_at(path.as_bytes(), error);
                    let target = printable(&target);
                    format!("it is a link that can't be followed ({why}), to {target}")
                })?;
                return self.described(path, &stat, true);
            }
        };
        Ok((entry, State { is_twin, ..state(&stat) }))
    }

    /// The entry for something that is no link, or is reached by one.
    fn described(
        &mut self,
        path: TreePath,
        stat: &Stat,
        by_link: bool,
    ) -> Result<(Entry, State), String> {
        let (folder, name) = self.locate(path.name());
        let (mode, mtime) = (permissions(stat), modified(stat));
        let entry = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                self.by_link = by_link;
                match self.hard_links.seen(&path, stat) {
                    Some(target) => Entry::HardLink { path, target },
                    None => Entry::File {
                        path,
                        mode,
                        mtime,
                        size: u64::try_from(stat.st_size).unwrap_or(0),
                    },
                }
            }
            FileType::Directory => {
                if by_link
                    && self.levels.iter().any(|level| level.key == Some((stat.st_dev, stat.st_ino)))
                {
                    return Err("it is a link that leads back to a folder it lies in".into());
                }
                let follow = if by_link { OFlags::NOFOLLOW } else { OFlags::empty() };
                let opened = rustix::fs::openat(
                    folder,
                    name,
                    FOLDER_FLAGS.difference(follow),
                    Mode::empty(),
                );
                let opened = opened.map_err(|error| self.unread_at(path.as_bytes(), error))?;
                self.push(opened, stat, path.as_bytes().to_vec());
                Entry::Folder { path, mode, mtime }
            }
            _ => return Err("it is a device, a socket or a pipe".into()),
        };
        Ok((entry, state(stat)))
    }

    /// Handle and name by which something in the current folder is reached.
    fn locate<'a>(&'a self, name: &'a [u8]) -> (BorrowedFd<'a>, &'a [u8]) {
        use std::os::fd::AsFd;
        match (self.levels.last().and_then(|level| level.folder.as_ref()), &*self.roots) {
            (Some(folder), _) => (folder.as_fd(), name),
            (None, Roots::Given(paths)) => {
                (rustix::fs::CWD, paths.get(name).map_or(name, |path| path.as_os_str().as_bytes()))
            }
            (None, Roots::Folder(path)) => (rustix::fs::CWD, path.as_os_str().as_bytes()),
        }
    }

    /// The entries that are there and could not be read.
    pub(super) fn unread(&mut self) -> &mut Unread {
        &mut self.unread
    }

    /// The reason why something is left out; notes what is lacking, if it need not be.
    fn unread_at(&mut self, path: &[u8], error: Errno) -> String {
        self.unread.add(path, error);
        self.lack = self.lack.or(is_lack(error).then_some(error));
        text(error)
    }

    fn push(&mut self, folder: OwnedFd, stat: &Stat, path: Vec<u8>) {
        let mut names = Vec::new();
        if let Err(error) = list(&folder, &mut names) {
            let why = self.unread_at(&path, error);
            let reason = format!("not all of the folder could be read: {why}");
            self.waiting = Some(Skipped { path: self.real_path(&path), reason });
        }
        names.sort_unstable();
        self.levels.push(Level {
            folder: Some(folder),
            key: Some((stat.st_dev, stat.st_ino)),
            path,
            names: names.into_iter(),
        });
    }
}

fn list(folder: &OwnedFd, names: &mut Vec<Vec<u8>>) -> Result<(), Errno> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(())
}

fn permissions(stat: &Stat) -> u32 {
    Mode::from_raw_mode(stat.st_mode).bits()
}

fn modified(stat: &Stat) -> i64 {
    nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64)
}

fn state(stat: &Stat) -> State {
    State {
        device: stat.st_dev,
        inode: stat.st_ino,
        changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
        is_twin: false,
        has_holes: (stat.st_blocks as u64).saturating_mul(512) < stat.st_size as u64,
    }
}

/// Returns `true` if a machine lacks something for the moment. Nothing is wrong with what was to be
/// read: it is not to be left out for that.
pub(super) fn is_lack(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}

fn text(error: Errno) -> String {
    std::io::Error::from(error).to_string()
}
