//! Walks folders in the order of a tree stream.
//!
//! Invariant: everything below a given path is opened relative to the handle of the folder it is in, and no link is followed. Held in memory are
//! the sorted names of the folders around the current entry, nothing else.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use estafette::pipeline::{Skipped, SourceError};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::file::{failed, printable_path};
use super::version::nanoseconds;
use crate::tree::{Entry, TreePath, confined, printable};

/// Where a tree begins.
#[derive(Debug)]
pub(super) enum Roots {
    /// One folder: its entries are at the top of the tree.
    Folder(PathBuf),
    /// Several paths, by the names they have at the top of the tree.
    Given(BTreeMap<Vec<u8>, PathBuf>),
}

/// What the walk came to.
#[derive(Debug)]
pub(super) enum Step {
    /// A root, a folder or a link; or a file that can be opened with [`Walk::open_file`] until the next step.
    Entry(Entry, State),
    /// Something that is left out.
    Skipped(Skipped),
}

/// What tells a later state of an entry from this one, besides what the entry says.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Time of the last change to content or attributes, in nanoseconds since the Unix epoch.
    pub(super) changed: i64,
}

#[derive(Debug)]
pub(super) struct Walk {
    roots: Arc<Roots>,
    started: bool,
    levels: Vec<Level>,
    waiting: Option<Skipped>,
}

#[derive(Debug)]
struct Level {
    /// `None` at the top of several paths: their names are no names in one folder.
    folder: Option<OwnedFd>,
    path: Vec<u8>,
    names: std::vec::IntoIter<Vec<u8>>,
}

const FOLDER_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
// Without NONBLOCK, opening a fifo that took the place of a file would wait for somebody to write to it.
const FILE_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

impl Walk {
    pub(super) fn new(roots: Arc<Roots>) -> Self {
        Self { roots, started: false, levels: Vec::new(), waiting: None }
    }

    /// The next entry, depth first; `None` at the end. Fails only for the folder itself that is to be sent.
    pub(super) fn next(&mut self) -> Result<Option<Step>, SourceError> {
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
                Some(name) => return Ok(Some(self.visit(&name))),
                None => drop(self.levels.pop()),
            }
        }
        Ok(None)
    }

    /// Opens the file that the last step came to.
    pub(super) fn open_file(&self, path: &TreePath) -> std::io::Result<File> {
        let (folder, name) = self.locate(path.name());
        Ok(rustix::fs::openat(folder, name, FILE_FLAGS, Mode::empty())?.into())
    }

    /// The path that a person would look for.
    pub(super) fn real_path(&self, path: &[u8]) -> String {
        match &*self.roots {
            Roots::Folder(root) => printable_path(&root.join(OsStr::from_bytes(path))),
            Roots::Given(paths) => {
                let end = path.iter().position(|&byte| byte == b'/');
                let (top, rest) = path.split_at(end.unwrap_or(path.len()));
                let top = paths.get(top).map_or_else(|| printable(top), |path| printable_path(path));
                top + &printable(rest)
            }
        }
    }

    fn start(&mut self) -> Result<Option<(Entry, State)>, SourceError> {
        let roots = self.roots.clone();
        match &*roots {
            Roots::Given(paths) => {
                let names: Vec<_> = paths.keys().cloned().collect();
                self.levels.push(Level { folder: None, path: Vec::new(), names: names.into_iter() });
                Ok(None)
            }
            Roots::Folder(path) => {
                let opened = rustix::fs::open(path, FOLDER_FLAGS, Mode::empty());
                let (folder, stat) = opened
                    .and_then(|folder| rustix::fs::fstat(&folder).map(|stat| (folder, stat)))
                    .map_err(|error| failed(path, error.into()))?;
                self.push(folder, Vec::new());
                Ok(Some((Entry::Root { mode: permissions(&stat), mtime: modified(&stat) }, state(&stat))))
            }
        }
    }

    fn visit(&mut self, name: &[u8]) -> Step {
        let parent = self.levels.last().map_or(&[][..], |level| &level.path);
        let whole = if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() };
        let visited = TreePath::new(whole.clone()).map_err(|error| error.to_string()).and_then(|path| self.entry(path));
        match visited {
            Ok((entry, state)) => Step::Entry(entry, state),
            Err(reason) => Step::Skipped(Skipped { path: self.real_path(&whole), reason }),
        }
    }

    fn entry(&mut self, path: TreePath) -> Result<(Entry, State), String> {
        let (folder, name) = self.locate(path.name());
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(text)?;
        let (mode, mtime) = (permissions(&stat), modified(&stat));
        let entry = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Entry::File { path, mode, mtime, size: u64::try_from(stat.st_size).unwrap_or(0) },
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(folder, name, Vec::new()).map_err(text)?.into_bytes();
                if !confined(&target, path.depth()) {
                    return Err(format!("it is a link that may lead out of what is sent, to {}", printable(&target)));
                }
                Entry::Link { path, mtime, target }
            }
            FileType::Directory => {
                let opened = rustix::fs::openat(folder, name, FOLDER_FLAGS, Mode::empty()).map_err(text)?;
                self.push(opened, path.as_bytes().to_vec());
                Entry::Folder { path, mode, mtime }
            }
            _ => return Err("it is a device, a socket or a pipe".into()),
        };
        Ok((entry, state(&stat)))
    }

    /// Handle and name by which something in the current folder is reached.
    fn locate<'a>(&'a self, name: &'a [u8]) -> (BorrowedFd<'a>, &'a [u8]) {
        use std::os::fd::AsFd;
        match (self.levels.last().and_then(|level| level.folder.as_ref()), &*self.roots) {
            (Some(folder), _) => (folder.as_fd(), name),
            (None, Roots::Given(paths)) => (rustix::fs::CWD, paths.get(name).map_or(name, |path| path.as_os_str().as_bytes())),
            (None, Roots::Folder(path)) => (rustix::fs::CWD, path.as_os_str().as_bytes()),
        }
    }

    fn push(&mut self, folder: OwnedFd, path: Vec<u8>) {
        let mut names = Vec::new();
        if let Err(error) = list(&folder, &mut names) {
            let reason = format!("not all of the folder could be read: {}", text(error));
            self.waiting = Some(Skipped { path: self.real_path(&path), reason });
        }
        names.sort_unstable();
        self.levels.push(Level { folder: Some(folder), path, names: names.into_iter() });
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
    State { device: stat.st_dev, inode: stat.st_ino, changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64) }
}

fn text(error: Errno) -> String {
    std::io::Error::from(error).to_string()
}
