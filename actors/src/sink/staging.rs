//! The folder in which a tree is built before it becomes visible.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

use estafette::pipeline::{Committed, SinkError};
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};

use super::file::set_attributes;
use super::home::{Home, create_folder};
use super::limits::write_error;
use super::remarks::{Attribute, Remarks, cannot_hold, is_passable, why};
use crate::tree::{Counts, Entry, Event, FileStatus, TreePath};

/// A tree under construction. Its reader has checked paths, order and nesting.
#[derive(Debug)]
pub(super) struct Staging {
    name: String,
    root: OpenFolder,
    /// The folders around the current entry, outermost first.
    folders: Vec<OpenFolder>,
    file: Option<OpenFile>,
    /// The path of a folder that could not be made, with a `/` behind it: nothing below it can be.
    omitted: Option<Vec<u8>>,
    remarks: Remarks,
}

/// A folder whose attributes are set when all that lies in it is there.
#[derive(Debug)]
struct OpenFolder {
    path: Vec<u8>,
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
        write_error(home, home.place(&[target, b"/", &self.path].concat()), self.needed, self.error)
    }
}

impl Staging {
    pub(super) fn new(name: String, root: File) -> Self {
        let root = OpenFolder { path: Vec::new(), handle: root, attributes: None };
        Self { name, root, folders: Vec::new(), file: None, omitted: None, remarks: Remarks::default() }
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
            Event::Entry(Entry::Folder { path, mode, mtime }) => {
                if self.make(&path, 0, false, |staging| staging.folder(&path, mode, mtime))?.is_none() && self.omitted.is_none() {
                    self.omitted = Some([path.as_bytes(), b"/"].concat());
                }
                Ok(())
            }
            Event::Entry(Entry::File { path, mode, mtime, .. }) => {
                let file = self.make(&path, 0, true, |staging| staging.create_file(&path))?;
                self.file = file.map(|file| OpenFile { path, file, mode, mtime });
                Ok(())
            }
            Event::Entry(Entry::Link { path, mtime, target }) => {
                self.make(&path, target.len() as u64, false, |staging| staging.link(&path, mtime, &target)).map(drop)
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
            Some((mode, mtime)) => set_attributes(&self.root.handle, mode, mtime, b".", &mut self.remarks)?,
            // A tree of several paths has no folder of its own: it gets the permissions of the one it is put into.
            None => {
                let mode = Mode::from_raw_mode(rustix::fs::fstat(home.dir())?.st_mode & 0o777);
                match rustix::fs::fchmod(&self.root.handle, mode).map_err(std::io::Error::from) {
                    Err(error) if is_passable(&error) => self.remarks.unset(Attribute::Mode, b".", &error),
                    set => set?,
                }
            }
        }
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&self.root.handle)?;
        #[cfg(not(target_os = "linux"))]
        rustix::fs::sync();
        Ok(())
    }

    /// The delivery at `place`, of a stream with these `counts`.
    pub(super) fn committed(&self, place: String, counts: Counts) -> Committed {
        Committed {
            place,
            files: counts.files.saturating_sub(self.remarks.left_out_files()),
            skipped: counts.skipped + self.remarks.left_out(),
            remarks: self.remarks.lines(),
            ..Committed::default()
        }
    }

    /// Makes the entry at `path`; `None` when it is left out, because the file system can't hold it or the folder that it lies in.
    fn make<T>(
        &mut self,
        path: &TreePath,
        needed: u64,
        is_file: bool,
        make: impl FnOnce(&mut Self) -> std::io::Result<T>,
    ) -> Result<Option<T>, Failure> {
        self.omitted.take_if(|folder| !path.as_bytes().starts_with(folder));
        if self.omitted.is_some() {
            self.remarks.leave_out(path.as_bytes(), is_file, "the folder it lies in was left out");
            return Ok(None);
        }
        self.leave(path.depth()).map_err(|error| failure(path, 0, error))?;
        match make(self) {
            Ok(made) => Ok(Some(made)),
            Err(error) if cannot_hold(&error) || self.is_unknown_name(&error) => {
                self.remarks.leave_out(path.as_bytes(), is_file, why(&error));
                Ok(None)
            }
            Err(error) => Err(failure(path, needed, error)),
        }
    }

    fn folder(&mut self, path: &TreePath, mode: u32, mtime: i64) -> std::io::Result<()> {
        let handle = File::from(create_folder(self.parent(), path.name())?);
        self.folders.push(OpenFolder { path: path.as_bytes().to_vec(), handle, attributes: Some((mode, mtime)) });
        Ok(())
    }

    fn create_file(&mut self, path: &TreePath) -> std::io::Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self.parent(), path.name(), flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    fn link(&mut self, path: &TreePath, mtime: i64, target: &[u8]) -> std::io::Result<()> {
        rustix::fs::symlinkat(target, self.parent(), path.name())?;
        let time = Timespec { tv_sec: mtime.div_euclid(1_000_000_000), tv_nsec: mtime.rem_euclid(1_000_000_000) };
        let times = Timestamps { last_access: time, last_modification: time };
        let set = rustix::fs::utimensat(self.parent(), path.name(), &times, AtFlags::SYMLINK_NOFOLLOW);
        match set.map_err(std::io::Error::from) {
            // Not every file system keeps times of links, and nobody misses them.
            Err(error) if is_passable(&error) => Ok(()),
            done => done,
        }
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(open) = &mut self.file else { return Ok(()) };
        match open.file.write_all(bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => self.omit_file(&error),
            written => written.map_err(|error| failure(&open.path, bytes.len() as u64, error)),
        }
    }

    /// Removes the file that is being written: the file system can't hold all of it.
    fn omit_file(&mut self, error: &std::io::Error) -> Result<(), Failure> {
        let Some(open) = self.file.take() else { return Ok(()) };
        self.remarks.leave_out(open.path.as_bytes(), true, why(error));
        let removed = rustix::fs::unlinkat(self.parent(), open.path.name(), AtFlags::empty());
        removed.map_err(|error| failure(&open.path, 0, error.into()))
    }

    fn end_file(&mut self, status: FileStatus) -> Result<(), Failure> {
        let Some(open) = self.file.take() else { return Ok(()) };
        let ended = match status {
            FileStatus::Complete => set_attributes(&open.file, open.mode, open.mtime, open.path.as_bytes(), &mut self.remarks),
            _ => rustix::fs::unlinkat(self.parent(), open.path.name(), AtFlags::empty()).map_err(Into::into),
        };
        ended.map_err(|error| failure(&open.path, 0, error))
    }

    /// Whether the file system says of a new name that it is not there, as some do of one that they can't hold; the folder is.
    fn is_unknown_name(&self, error: &std::io::Error) -> bool {
        error.kind() == std::io::ErrorKind::NotFound && rustix::fs::fstat(self.parent()).is_ok_and(|folder| folder.st_nlink > 0)
    }

    /// Leaves folders until `depth` are open.
    fn leave(&mut self, depth: usize) -> std::io::Result<()> {
        while self.folders.len() > depth {
            if let Some(OpenFolder { path, handle, attributes: Some((mode, mtime)) }) = self.folders.pop() {
                set_attributes(&handle, mode, mtime, &path, &mut self.remarks)?;
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
