//! The folder in which a tree is built before it becomes visible.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

use estafette::pipeline::{Refusal, SinkError};
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::file::set_attributes;
use super::home::{Home, create_folder};
use super::limits::write_error;
use crate::tree::{Entry, Event, FileStatus, TreePath, printable};

/// A tree under construction. Its reader has checked paths, order and nesting.
#[derive(Debug)]
pub(super) struct Staging {
    name: String,
    root: OpenFolder,
    /// The folders around the current entry, outermost first.
    folders: Vec<OpenFolder>,
    file: Option<OpenFile>,
}

/// A folder whose attributes are set when all that lies in it is there.
#[derive(Debug)]
struct OpenFolder {
    handle: File,
    attributes: Option<(u32, i64)>,
}

#[derive(Debug)]
struct OpenFile {
    path: TreePath,
    file: File,
    mode: u32,
    mtime: i64,
}

/// Why an entry could not be made.
#[derive(Debug)]
pub(super) struct Failure {
    path: Vec<u8>,
    needed: u64,
    error: std::io::Error,
}

impl Failure {
    /// The error for the sender, of a tree that goes to `target`.
    pub(super) fn explain(self, home: &Home, target: &[u8]) -> SinkError {
        if self.error.kind() == std::io::ErrorKind::AlreadyExists {
            let reason = format!("the receiver's file system takes {} for a name that the tree has already", printable(&self.path));
            return SinkError::Refused(Refusal::new(format!("{reason}; the names may differ only in upper and lower case")));
        }
        write_error(home, home.place(&[target, b"/", &self.path].concat()), self.needed, self.error)
    }
}

impl Staging {
    pub(super) fn new(name: String, root: File) -> Self {
        Self { name, root: OpenFolder { handle: root, attributes: None }, folders: Vec::new(), file: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn apply(&mut self, event: Event<'_>) -> Result<(), Failure> {
        match event {
            Event::Entry(Entry::Root { mode, mtime }) => {
                self.root.attributes = Some((mode, mtime));
                Ok(())
            }
            Event::Entry(Entry::Folder { path, mode, mtime }) => self.folder(&path, mode, mtime).map_err(|error| failure(&path, 0, error)),
            Event::Entry(Entry::File { path, mode, mtime, .. }) => {
                let file = self.create_file(&path).map_err(|error| failure(&path, 0, error))?;
                self.file = Some(OpenFile { path, file, mode, mtime });
                Ok(())
            }
            Event::Entry(Entry::Link { path, mtime, target }) => {
                self.link(&path, mtime, &target).map_err(|error| failure(&path, target.len() as u64, error))
            }
            Event::Content(bytes) => self.content(bytes),
            Event::FileEnd(status) => self.end_file(status),
            Event::End(_) => Ok(()),
        }
    }

    /// Gives all folders their attributes and makes everything durable, with one sync for the whole file system instead of one for each file.
    pub(super) fn seal(&mut self, home: &Home) -> std::io::Result<()> {
        self.leave(0)?;
        match self.root.attributes {
            Some((mode, mtime)) => set_attributes(&self.root.handle, mode, mtime)?,
            // A tree of several paths has no folder of its own: it gets the permissions of the one it is put into.
            None => rustix::fs::fchmod(&self.root.handle, Mode::from_raw_mode(rustix::fs::fstat(home.dir())?.st_mode & 0o777))?,
        }
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&self.root.handle)?;
        #[cfg(not(target_os = "linux"))]
        rustix::fs::sync();
        Ok(())
    }

    fn folder(&mut self, path: &TreePath, mode: u32, mtime: i64) -> std::io::Result<()> {
        self.leave(path.depth())?;
        let handle = File::from(create_folder(self.parent(), path.name())?);
        self.folders.push(OpenFolder { handle, attributes: Some((mode, mtime)) });
        Ok(())
    }

    fn create_file(&mut self, path: &TreePath) -> std::io::Result<File> {
        self.leave(path.depth())?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self.parent(), path.name(), flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    fn link(&mut self, path: &TreePath, mtime: i64, target: &[u8]) -> std::io::Result<()> {
        self.leave(path.depth())?;
        rustix::fs::symlinkat(target, self.parent(), path.name())?;
        let time = Timespec { tv_sec: mtime.div_euclid(1_000_000_000), tv_nsec: mtime.rem_euclid(1_000_000_000) };
        let times = Timestamps { last_access: time, last_modification: time };
        match rustix::fs::utimensat(self.parent(), path.name(), &times, AtFlags::SYMLINK_NOFOLLOW) {
            // Not every file system keeps times of links.
            Err(Errno::NOTSUP | Errno::NOSYS) => Ok(()),
            done => Ok(done?),
        }
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(open) = &mut self.file else { return Ok(()) };
        open.file.write_all(bytes).map_err(|error| failure(&open.path, bytes.len() as u64, error))
    }

    fn end_file(&mut self, status: FileStatus) -> Result<(), Failure> {
        let Some(open) = self.file.take() else { return Ok(()) };
        let ended = match status {
            FileStatus::Complete => set_attributes(&open.file, open.mode, open.mtime),
            _ => rustix::fs::unlinkat(self.parent(), open.path.name(), AtFlags::empty()).map_err(Into::into),
        };
        ended.map_err(|error| failure(&open.path, 0, error))
    }

    /// Leaves folders until `depth` are open.
    fn leave(&mut self, depth: usize) -> std::io::Result<()> {
        while self.folders.len() > depth {
            if let Some(OpenFolder { handle, attributes: Some((mode, mtime)) }) = self.folders.pop() {
                set_attributes(&handle, mode, mtime)?;
            }
        }
        Ok(())
    }

    fn parent(&self) -> BorrowedFd<'_> {
        self.folders.last().unwrap_or(&self.root).handle.as_fd()
    }
}

fn failure(path: &TreePath, needed: u64, error: std::io::Error) -> Failure {
    Failure { path: path.as_bytes().to_vec(), needed, error }
}
