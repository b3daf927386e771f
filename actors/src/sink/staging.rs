//! The folder in which a tree is built before it becomes visible.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use estafette::pipeline::{Committed, Refusal, SinkError};
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::attributes::set_attributes;
use super::hard_link::{self, Linked};
use super::home::{Home, create_folder};
use super::limits::{Limits, write_error};
use super::merge;
use super::on_conflict::Kept;
use super::policy::Policy;
use super::remarks::{Attribute, Remarks, cannot_hold, is_passable, why};
use super::sparse;
use super::unread::Unread;
use crate::tree::{Counts, Entry, Event, FileStatus, TreePath, is_access_list};

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
    /// Folders that their owner may not enter once they have their attributes, and that all is in,
    /// in the order they were left.
    closed: Vec<(Vec<u8>, u32, i64)>,
    /// Attributes of the entry that comes next.
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
    limits: Limits,
    policy: Policy,
    /// Bytes that were copied, since the file system has no second names.
    copied: u64,
    unread: Unread,
    remarks: Remarks,
}

/// Folders that get their attributes last, at most; further ones get them when they are left, after
/// those in them.
const CLOSED: usize = 1000;

/// A folder whose attributes are set when all that lies in it is there.
#[derive(Debug)]
struct OpenFolder {
    path: Vec<u8>,
    handle: File,
    attributes: Option<(u32, i64)>,
    /// Its lists of access: what is made in it meanwhile inherits nothing from them, and its owner
    /// may write.
    lists: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug)]
struct OpenFile {
    path: TreePath,
    file: File,
    mode: u32,
    mtime: i64,
    position: u64,
}

/// The reason why an entry could not be made.
#[derive(Debug)]
pub(super) struct Failure {
    path: Vec<u8>,
    needed: u64,
    error: std::io::Error,
}

impl Failure {
    /// The error for the sender, of a tree that goes to `target`.
    pub(super) fn explain(self, home: &Home, target: &[u8]) -> SinkError {
        match self.error.downcast::<Refusal>() {
            Ok(refusal) => SinkError::Refused(refusal),
            Err(error) => write_error(
                home,
                home.place(&[target, b"/", &self.path].concat()),
                self.needed,
                error,
            ),
        }
    }
}

impl Staging {
    pub(super) fn new(name: String, root: File, limits: Limits, policy: Policy) -> Self {
        let root =
            OpenFolder { path: Vec::new(), handle: root, attributes: None, lists: Vec::new() };
        let (folders, file, omitted, closed, attributes, copied, remarks) = Default::default();
        Self {
            name,
            root,
            folders,
            file,
            omitted,
            closed,
            attributes,
            limits,
            policy,
            copied,
            unread: Unread::default(),
            remarks,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Of the folder that the tree is.
    pub(super) fn inode(&self) -> std::io::Result<u64> {
        Ok(self.root.handle.metadata()?.ino())
    }

    /// The entries that the sender has and could not read, as far as they have come.
    pub(super) fn unread(&self) -> &Unread {
        &self.unread
    }

    pub(super) fn apply(&mut self, event: Event<'_>, home: &Home) -> Result<(), Failure> {
        match event {
            Event::Entry(Entry::Root { mode, mtime }) => {
                self.root.attributes = Some((mode, mtime));
                self.take_attributes(b".").map_err(|error| Failure {
                    path: Vec::new(),
                    needed: 0,
                    error,
                })
            }
            Event::Entry(Entry::Folder { path, mode, mtime }) => {
                self.make_folder(&path, mode, mtime)
            }
            Event::Entry(Entry::File { path, mode, mtime, .. }) => {
                let file = self.make(&path, 0, true, |staging| staging.create_file(&path))?;
                self.file = file.map(|file| OpenFile { path, file, mode, mtime, position: 0 });
                Ok(())
            }
            Event::Entry(Entry::Link { path, mtime, target }) => self
                .make(&path, target.len() as u64, false, |staging| {
                    staging.link(&path, mtime, &target)
                })
                .map(drop),
            Event::Entry(Entry::OutwardLink { path, mtime, target })
                if self.policy.outward_links =>
            {
                self.make(&path, target.len() as u64, false, |staging| {
                    staging.link(&path, mtime, &target)
                })
                .map(drop)
            }
            Event::Entry(Entry::OutwardLink { path, target, .. }) => {
                let target = crate::tree::printable(&target);
                self.remarks.leave_out(
                    path.as_bytes(),
                    false,
                    format!("it is a link that may lead out of the delivery, to {target}"),
                );
                Ok(())
            }
            Event::Entry(Entry::HardLink { path, target }) => self
                .make(&path, 0, true, |staging| staging.hard_link(&path, &target, home))
                .map(drop),
            Event::Attribute { name, value } => {
                self.attributes.push((name, value));
                Ok(())
            }
            Event::Remark(text) => {
                self.remarks.said(text);
                Ok(())
            }
            Event::Unread(path) => {
                self.unread.add(path);
                Ok(())
            }
            Event::Content(bytes) => self.content(bytes),
            Event::FileEnd(status) => self.end_file(status),
            Event::End(_) => Ok(()),
        }
    }

    /// Gives all folders their attributes and makes everything durable, with one sync for the whole
    /// file system instead of one for each file.
    ///
    /// What is to be `kept` and not in the tree is taken into it first.
    pub(super) fn seal(&mut self, home: &Home, kept: Option<Kept<'_>>) -> std::io::Result<()> {
        self.leave(0)?;
        if let Some(Kept { name, is_all }) = kept {
            match hard_link::open_folder(home.dir().as_fd(), name) {
                Ok(there) => {
                    let (there, staged) = (there.as_fd(), self.root.handle.as_fd());
                    let room = merge::Room { limits: self.limits, home };
                    match self.unread.paths().filter(|_| !is_all) {
                        Some(paths) => {
                            let paths = paths.iter().map(TreePath::as_bytes);
                            merge::keep_some(there, staged, paths, (&room, &mut self.remarks))?;
                        }
                        None => merge::keep(there, staged, (&room, &mut self.remarks))?,
                    }
                    if !self.unread.is_empty() {
                        self.remarks.keep_unread();
                    }
                }
                // Nothing is there, or what is there is replaced by nothing.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.close(b"")?;
        self.policy.set(&self.root.handle, &self.root.lists, b".", &mut self.remarks)?;
        match self.root.attributes {
            Some((mode, mtime)) => {
                set_attributes(&self.root.handle, mode, mtime, b".", true, &mut self.remarks)?
            }
            // A tree of several paths has no folder of its own: it gets the permissions of the one
            // it is put into.
            None => {
                let mode = Mode::from_raw_mode(rustix::fs::fstat(home.dir())?.st_mode & 0o3777);
                match rustix::fs::fchmod(&self.root.handle, mode).map_err(std::io::Error::from) {
                    Err(error) if is_passable(&error) => {
                        self.remarks.unset(Attribute::Mode, b".", &error)
                    }
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

    /// The delivery that lies there, of a stream with these `counts`.
    pub(super) fn committed(&self, there: Committed, counts: Counts) -> Committed {
        Committed {
            files: counts.files.saturating_sub(self.remarks.left_out_files()),
            skipped: counts.skipped + self.remarks.left_out(),
            remarks: self.remarks.lines(),
            ..there
        }
    }

    /// Makes the entry at `path`; `None` when it is left out, because the file system can't hold it
    /// or the folder that it lies in.
    fn make<T>(
        &mut self,
        path: &TreePath,
        needed: u64,
        is_file: bool,
        make: impl FnOnce(&mut Self) -> std::io::Result<T>,
    ) -> Result<Option<T>, Failure> {
        self.omitted.take_if(|folder| !path.as_bytes().starts_with(folder));
        if self.omitted.is_some() {
            self.remarks.leave_out_with_folder(path.as_bytes(), is_file);
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

    fn make_folder(&mut self, path: &TreePath, mode: u32, mtime: i64) -> Result<(), Failure> {
        let made = self.make(path, 0, false, |staging| {
            staging.folder(path, mode, mtime)?;
            staging.take_attributes(path.as_bytes())
        })?;
        if made.is_none() && self.omitted.is_none() {
            self.omitted = Some([path.as_bytes(), b"/"].concat());
        }
        self.attributes.clear();
        Ok(())
    }

    fn folder(&mut self, path: &TreePath, mode: u32, mtime: i64) -> std::io::Result<()> {
        let handle = File::from(create_folder(self.parent(), path.name())?);
        self.folders.push(OpenFolder {
            path: path.as_bytes().to_vec(),
            handle,
            attributes: Some((mode, mtime)),
            lists: Vec::new(),
        });
        Ok(())
    }

    fn create_file(&mut self, path: &TreePath) -> std::io::Result<File> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self.parent(), path.name(), flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    fn link(&mut self, path: &TreePath, mtime: i64, target: &[u8]) -> std::io::Result<()> {
        rustix::fs::symlinkat(target, self.parent(), path.name())?;
        let time = Timespec {
            tv_sec: mtime.div_euclid(1_000_000_000),
            tv_nsec: mtime.rem_euclid(1_000_000_000),
        };
        let times = Timestamps { last_access: time, last_modification: time };
        let set =
            rustix::fs::utimensat(self.parent(), path.name(), &times, AtFlags::SYMLINK_NOFOLLOW);
        match set.map_err(std::io::Error::from) {
            // Not every file system keeps times of links, and nobody misses them.
            Err(error) if is_passable(&error) => Ok(()),
            done => done,
        }
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(open) = &mut self.file else { return Ok(()) };
        let at = open.position;
        open.position += bytes.len() as u64;
        match sparse::write_at(&open.file, at, bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                self.omit_file(&error)
            }
            written => written.map_err(|error| failure(&open.path, bytes.len() as u64, error)),
        }
    }

    /// Gives the file that is being written the length of what has come of it.
    pub(super) fn extend(&self) -> std::io::Result<()> {
        let extended = self.file.as_ref().map(|open| sparse::extend(&open.file, open.position));
        match extended {
            // It is left out when more of it comes, or at its end.
            Some(Err(error)) if error.kind() == std::io::ErrorKind::FileTooLarge => Ok(()),
            extended => extended.unwrap_or(Ok(())),
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
        let attributes = std::mem::take(&mut self.attributes);
        let Some(open) = &self.file else { return Ok(()) };
        if status == FileStatus::Complete {
            match sparse::extend(&open.file, open.position) {
                Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                    return self.omit_file(&error);
                }
                extended => extended.map_err(|error| failure(&open.path, open.position, error))?,
            }
        }
        let Some(open) = self.file.take() else { return Ok(()) };
        let ended = match status {
            FileStatus::Complete => {
                let set = self.policy.set(
                    &open.file,
                    &attributes,
                    open.path.as_bytes(),
                    &mut self.remarks,
                );
                set.and_then(|()| {
                    set_attributes(
                        &open.file,
                        open.mode,
                        open.mtime,
                        open.path.as_bytes(),
                        false,
                        &mut self.remarks,
                    )
                })
            }
            _ => {
                self.unread.add(Some(open.path.clone()));
                rustix::fs::unlinkat(self.parent(), open.path.name(), AtFlags::empty())
                    .map_err(Into::into)
            }
        };
        ended.map_err(|error| failure(&open.path, 0, error))
    }

    /// Returns `true` if the file system says of a new name that it is not there, as some do of one
    /// that they can't hold; the folder is.
    fn is_unknown_name(&self, error: &std::io::Error) -> bool {
        error.kind() == std::io::ErrorKind::NotFound
            && rustix::fs::fstat(self.parent()).is_ok_and(|folder| folder.st_nlink > 0)
    }

    /// Leaves folders until `depth` are open.
    fn leave(&mut self, depth: usize) -> std::io::Result<()> {
        while self.folders.len() > depth {
            let Some(OpenFolder { path, handle, attributes: Some((mode, mtime)), lists }) =
                self.folders.pop()
            else {
                continue;
            };
            let is_closed = mode & 0o500 != 0o500;
            if is_closed && self.closed.len() >= CLOSED {
                // Once it is closed, nobody gets at those.
                self.close(&[&*path, b"/"].concat())?;
            }
            self.policy.set(&handle, &lists, &path, &mut self.remarks)?;
            // A file in it may be given a second name yet.
            if is_closed && self.closed.len() < CLOSED {
                if !lists.is_empty() {
                    // A list of access says what its owner may, too.
                    rustix::fs::fchmod(&handle, Mode::RWXU)?;
                }
                self.closed.push((path, mode, mtime));
            } else {
                set_attributes(&handle, mode, mtime, &path, true, &mut self.remarks)?;
            }
        }
        Ok(())
    }

    /// Gives the folders whose paths begin so their attributes, that nobody may enter then, inner
    /// ones first.
    fn close(&mut self, below: &[u8]) -> std::io::Result<()> {
        let closed: Vec<_> =
            self.closed.extract_if(.., |(path, ..)| path.starts_with(below)).collect();
        for (path, mode, mtime) in closed {
            let handle = hard_link::open_folder(self.root.handle.as_fd(), &path)?;
            set_attributes(&handle.into(), mode, mtime, &path, true, &mut self.remarks)?;
        }
        Ok(())
    }

    /// Gives the folder that was made last the attributes that came before it; lists of access wait
    /// until all is in it.
    fn take_attributes(&mut self, path: &[u8]) -> std::io::Result<()> {
        let lists = self
            .attributes
            .extract_if(.., |(name, _)| self.policy.access_lists && is_access_list(name))
            .collect();
        let attributes = std::mem::take(&mut self.attributes);
        let folder = self.folders.last_mut().unwrap_or(&mut self.root);
        folder.lists = lists;
        self.policy.set(&folder.handle, &attributes, path, &mut self.remarks)
    }

    fn hard_link(
        &mut self,
        path: &TreePath,
        target: &TreePath,
        home: &Home,
    ) -> std::io::Result<()> {
        let linked = if self.remarks.may_be_left_out(target.as_bytes()) {
            Linked::Missing
        } else {
            hard_link::link(self.root.handle.as_fd(), target, self.parent(), path.name())?
        };
        match linked {
            Linked::Yes => {}
            Linked::Missing => self.remarks.leave_out(
                path.as_bytes(),
                true,
                format!("its content was left out or is not there, to be found at {target}"),
            ),
            Linked::Unable(error, from) => {
                let length = sparse::taken(&from)?;
                self.copied = self.copied.saturating_add(length);
                self.limits
                    .check_copies(self.copied, length, home)
                    .map_err(std::io::Error::other)?;
                let file = self.create_file(path)?;
                let (mode, mtime) = hard_link::copy(&from, &file)?;
                set_attributes(&file, mode, mtime, path.as_bytes(), false, &mut self.remarks)?;
                self.remarks.unset(Attribute::HardLink, path.as_bytes(), &error);
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
