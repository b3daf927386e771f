//! A folder, or several paths, as content.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use estafette::delivery::{Content, ContentKind, ContentName};
use estafette::pipeline::{
    Mirroring, Skipped, Source, SourceError, SourceReference, SourceReport, SourceState,
};
use futures_util::future::BoxFuture;
use rustix::io::Errno;

use super::failure::{failed, printable_path, unsuitable};
use super::grounds::Grounds;
use super::holes::{FileContent, untold};
use super::left_behind::LeftBehind;
use super::survey::{Survey, is_settled_at};
use super::version::{Difference, Watch, now};
use super::walk::{LEADS_OUT, Roots, State, Step, Walk, is_lack};
use super::{FileVersion, ReadOptions, content_name};
use crate::tree::{Entry, FileStatus, TreePath, TreeWriter};

const BEING_WRITTEN: &str = "it is being written, and what is there of it already stays as it is";
const NO_CONTENT: &str = "it is a pipe, a socket or a device, which has no content to deliver";

/// Reads a folder, or several paths, as one [tree stream](crate::tree).
///
/// What can't be sent is left out and named in [`SourceReport::skipped`], and the rest goes on:
/// what can't be opened, devices, sockets and pipes, links that lead out of what is sent, unless
/// [`with`](Self::with) says otherwise, and files that fail or end early while they are read. Links
/// are sent as links; those among the given paths stand for what they lead to. Further names of a
/// file (hard links) are sent as such.
///
/// A file that changes otherwise while it is read fails the whole with [`SourceError::Changed`],
/// since what a set of files means together can't be known here; [`rewind`](Source::rewind) starts
/// anew. Where files are independent of each other, see [`skip_changed`](Self::skip_changed).
#[derive(Debug)]
pub struct TreeSource {
    name: ContentName,
    roots: Arc<Roots>,
    options: Arc<ReadOptions>,
    renamed: bool,
    skip_changed: bool,
    survey: OnceLock<Survey>,
    pass: Pass,
}

/// One reading from start to end.
#[derive(Debug)]
struct Pass {
    walk: Walk,
    options: Arc<ReadOptions>,
    left: LeftBehind,
    grounds: Grounds,
    writer: TreeWriter,
    pending: Vec<u8>,
    taken: usize,
    file: Option<OpenFile>,
    report: SourceReport,
    /// A file that may have changed while it was read, and how.
    doubt: Option<(String, String)>,
    ended: bool,
}

#[derive(Debug)]
struct OpenFile {
    path: TreePath,
    content: FileContent,
    version: FileVersion,
    watch: Watch,
    left: u64,
    failed: Option<(FileStatus, String)>,
}

impl TreeSource {
    /// A tree of these paths.
    ///
    /// One folder gives the content its name, and its entries are at the top of the tree. Several
    /// paths, or one that is no folder, make a tree named `delivery` with each of them at the
    /// top under its own name; two of the same name are an error. A path that does not exist is one
    /// too, and so is a single one that is a pipe, a socket or a device.
    pub fn new(paths: Vec<PathBuf>) -> Result<Self, SourceError> {
        let (name, roots) = match &paths[..] {
            [] => {
                return Err(SourceError::Unsuitable {
                    what: "an empty list of paths".into(),
                    why: "name at least one".into(),
                });
            }
            [one] => {
                let there = one.metadata().map_err(|error| failed(one, error))?;
                if there.is_dir() {
                    let path = absolute(one)?;
                    (own_name(&path)?, Roots::Folder(path))
                } else if there.is_file() {
                    (content_name(b"delivery")?, Roots::Given(top_level(&paths)?))
                } else {
                    // Left out of a tree, nothing would be left of what was to be sent.
                    return Err(unsuitable(one, NO_CONTENT));
                }
            }
            _ => (content_name(b"delivery")?, Roots::Given(top_level(&paths)?)),
        };
        let (roots, options) = (Arc::new(roots), Arc::new(ReadOptions::default()));
        let pass = Pass::new(roots.clone(), options.clone());
        Ok(Self {
            name,
            pass,
            roots,
            options,
            renamed: false,
            skip_changed: false,
            survey: OnceLock::new(),
        })
    }

    /// The same paths, read in this way. Before the first read.
    pub fn with(mut self, options: &ReadOptions) -> Result<Self, SourceError> {
        if let Some(name) = &options.name {
            self.name = content_name(name)?;
        }
        self.options = Arc::new(options.clone());
        self.pass = Pass::new(self.roots.clone(), self.options.clone());
        self.survey = OnceLock::new();
        Ok(self)
    }

    /// Gives the content another name. Fails when `name` is no single file name.
    pub fn named(mut self, name: impl AsRef<[u8]>) -> Result<Self, SourceError> {
        let name = content_name(name.as_ref())?;
        self.renamed |= name != self.name;
        self.name = name;
        Ok(self)
    }

    /// Leaves out, and names, a file that changes while it is read, instead of failing the whole.
    /// For folders of independent files, some of which are always being written to.
    #[must_use]
    pub fn skip_changed(mut self) -> Self {
        self.skip_changed = true;
        self
    }

    fn survey(&self) -> &Survey {
        self.survey.get_or_init(|| Survey::of(self.roots.clone(), self.options.clone()))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let (mut filled, leaves_out) = (0, self.skip_changed || self.options.settled);
        while filled < buffer.len() {
            let room = &mut buffer[filled..];
            if self.pass.taken < self.pass.pending.len() {
                filled += self.pass.take_pending(room);
            } else if let Some(file) = self.pass.file.as_mut().filter(|file| file.left > 0) {
                // What may have changed is looked at when the file ends.
                if let Some(Difference::Content(how)) = file
                    .watch
                    .difference(file.content.file(), &file.version)
                    .filter(|_| !leaves_out)
                {
                    return Err(SourceError::Changed { what: self.pass.real_path_of_file(), how });
                }
                filled += file.read(room);
            } else if let Some(file) = self.pass.file.take() {
                self.pass.close(file, leaves_out)?;
            } else if !self.pass.ended {
                self.pass.step()?;
            } else {
                break;
            }
        }
        Ok(filled)
    }
}

impl Pass {
    fn new(roots: Arc<Roots>, options: Arc<ReadOptions>) -> Self {
        let (mut writer, mut pending) = (TreeWriter::new(), Vec::new());
        writer.begin(&mut pending);
        let walk = Walk::new(roots, options.clone());
        let (taken, file, report, left, grounds, doubt, ended) = Default::default();
        Self { walk, options, left, grounds, writer, pending, taken, file, report, doubt, ended }
    }

    fn take_pending(&mut self, room: &mut [u8]) -> usize {
        let rest = &self.pending[self.taken..];
        let count = rest.len().min(room.len());
        room[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.pending.len() {
            self.pending.clear();
            self.taken = 0;
        }
        count
    }

    fn step(&mut self) -> Result<(), SourceError> {
        let step = self.walk.next()?;
        if let Some(Step::Entry(entry, state)) = &step {
            self.grounds.entry(entry, state);
        }
        match step {
            Some(Step::Entry(entry @ Entry::File { .. }, state))
                if self.options.settled && !is_settled_at(&entry, &state, now()) =>
            {
                self.walk.forget(state.device, state.inode);
                self.walk.unread().add(entry.path(), Errno::BUSY);
                let path = self.walk.real_path(entry.path());
                self.skip(Skipped { path, reason: BEING_WRITTEN.into() });
            }
            Some(Step::Entry(Entry::File { path, .. }, state)) => self.open(path, &state)?,
            Some(Step::Entry(entry, state)) => {
                self.left.entry(&entry, &state);
                if matches!(entry, Entry::Root { .. } | Entry::Folder { .. })
                    && let Some(folder) = self.walk.folder()
                {
                    let kept = self.left.attributes(&self.options, entry.path(), folder);
                    kept.iter().for_each(|(name, value)| {
                        self.writer.attribute(name, value, &mut self.pending)
                    });
                }
                self.writer.entry(&entry, &mut self.pending);
            }
            Some(Step::Skipped(skipped)) => self.skip(skipped),
            None => {
                self.grounds.end(self.walk.unread());
                if let Some(name) = self.grounds.emptied(&self.options.filled) {
                    return Err(SourceError::Emptied { what: self.walk.real_path(name) });
                }
                for path in self.walk.unread().paths() {
                    self.writer.unread(path, &mut self.pending);
                }
                self.left.tell(&mut self.report);
                for line in &self.report.remarks {
                    self.writer.remark(line, &mut self.pending);
                }
                self.writer.end(&mut self.pending);
                self.ended = true;
            }
        }
        Ok(())
    }

    /// The path of the file that is being read.
    fn real_path_of_file(&self) -> String {
        self.file.as_ref().map(|file| self.walk.real_path(file.path.as_bytes())).unwrap_or_default()
    }

    fn open(&mut self, path: TreePath, state: &State) -> Result<(), SourceError> {
        let file = match self.walk.open_file(&path) {
            Err(error) if Errno::from_io_error(&error).is_some_and(is_lack) => {
                return Err(SourceError::Read {
                    what: self.walk.real_path(path.as_bytes()),
                    error,
                });
            }
            file => file,
        };
        let file = file.and_then(|file| Ok((file.metadata()?, file)));
        if let Some(error) = file.as_ref().err().and_then(Errno::from_io_error) {
            self.walk.unread().add(path.as_bytes(), error);
        }
        let opened = OpenFile::open(&self.walk, path, file);
        if !opened.as_ref().is_ok_and(|(file, _)| {
            (file.version.device, file.version.inode) == (state.device, state.inode)
        }) {
            self.walk.forget(state.device, state.inode);
        }
        match opened {
            Ok((file, entry)) => {
                self.left.entry(&entry, state);
                let kept = self.left.attributes(&self.options, entry.path(), file.content.file());
                kept.iter().for_each(|(name, value)| {
                    self.writer.attribute(name, value, &mut self.pending)
                });
                self.writer.entry(&entry, &mut self.pending);
                self.file = Some(file);
            }
            Err(skipped) => self.skip(skipped),
        }
        Ok(())
    }

    fn close(&mut self, mut file: OpenFile, skip_changed: bool) -> Result<(), SourceError> {
        if file.content.has_untold_bytes() && file.content.is_still_of(&file.version) {
            file.failed = Some((FileStatus::Unreadable, untold(file.version.length)));
        }
        let difference = if file.failed.is_some() { None } else { file.difference() };
        let (status, reason) = match (file.failed, difference) {
            (Some(failed), _) => failed,
            (None, Some(how)) if skip_changed => {
                (FileStatus::Changed, format!("{}: {how}", FileStatus::Changed))
            }
            (None, Some(Difference::Content(how))) => {
                return Err(SourceError::Changed {
                    what: self.walk.real_path(file.path.as_bytes()),
                    how,
                });
            }
            (None, doubt) => {
                if let Some(Difference::Perhaps(how)) = doubt {
                    self.doubt = Some((self.walk.real_path(file.path.as_bytes()), how));
                }
                self.report.files += 1;
                self.writer.file_end(FileStatus::Complete, &mut self.pending);
                return Ok(());
            }
        };
        self.walk.forget(file.version.device, file.version.inode);
        self.writer.file_end(status, &mut self.pending);
        self.report(Skipped { path: self.walk.real_path(file.path.as_bytes()), reason });
        Ok(())
    }

    fn skip(&mut self, skipped: Skipped) {
        self.writer.skip();
        self.report(skipped);
    }

    fn report(&mut self, skipped: Skipped) {
        self.report.skipped_total += 1;
        self.report.skipped_by_choice += u64::from(skipped.reason.starts_with(LEADS_OUT));
        self.left.skipped(self.walk.path_in_tree(&skipped.path), &skipped.reason);
        if self.report.skipped.len() < SourceReport::SKIPPED_LIMIT {
            self.report.skipped.push(skipped);
        }
    }
}

impl OpenFile {
    fn open(
        walk: &Walk,
        path: TreePath,
        file: std::io::Result<(Metadata, File)>,
    ) -> Result<(Self, Entry), Skipped> {
        let skip = |reason: String| Skipped { path: walk.real_path(path.as_bytes()), reason };
        let (metadata, file) = file.map_err(|error| skip(error.to_string()))?;
        if !metadata.is_file() {
            return Err(skip("it is no regular file any more".into()));
        }
        let version = FileVersion::of(&metadata);
        let entry = Entry::File {
            path: path.clone(),
            mode: metadata.mode() & 0o7777,
            mtime: version.modified,
            size: version.length,
        };
        Ok((
            Self {
                path,
                content: FileContent::new(file, &metadata),
                version,
                watch: Watch::new(),
                left: version.length,
                failed: None,
            },
            entry,
        ))
    }

    /// Fills some of `room` with content, or with zeros once reading has failed.
    fn read(&mut self, room: &mut [u8]) -> usize {
        let limit = usize::try_from(self.left).unwrap_or(usize::MAX).min(room.len());
        let count = match self.failed {
            Some(_) => {
                room[..limit].fill(0);
                limit
            }
            None => match self.content.read(&mut room[..limit]) {
                Ok(0) => {
                    let reason = match self.content.is_still_of(&self.version) {
                        true => untold(self.version.length),
                        false => FileStatus::Shrank.to_string(),
                    };
                    self.failed = Some((FileStatus::Shrank, reason));
                    0
                }
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => 0,
                Err(error) => {
                    self.failed = Some((FileStatus::Unreadable, error.to_string()));
                    0
                }
            },
        };
        self.left -= count as u64;
        count
    }

    fn difference(&self) -> Option<Difference> {
        match self.content.file().metadata() {
            Ok(metadata) => self.version.difference(&FileVersion::of(&metadata)),
            Err(error) => Some(Difference::Content(error.to_string())),
        }
    }
}

impl Source for TreeSource {
    /// Walks over the whole tree, up to 200,000 entries of it, to tell the length.
    fn content(&self) -> Content {
        let Survey { length, data, .. } = *self.survey();
        Content::new(ContentKind::Tree, self.name.clone(), length).with_data(data)
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(async move { self.fill(buffer) })
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        if let Some((what, how)) = self.pass.doubt.take() {
            return Err(SourceError::Doubtful { what, how });
        }
        Ok(std::mem::take(&mut self.pass.report))
    }

    /// Of the same walk as the length. None, too, while an entry is so young that it could change
    /// without a trace.
    fn version(&self) -> Option<[u8; 32]> {
        self.survey().version
    }

    /// None with a name or a leniency of its own, which paths don't tell of; nor for a tree of one
    /// file, whose path leads to the file itself.
    fn reference(&self) -> Option<SourceReference> {
        let paths: Vec<_> = match &*self.roots {
            Roots::Folder(path) => vec![path.clone()],
            Roots::Given(paths) => paths.values().cloned().collect(),
        };
        let is_file = paths.len() == 1 && paths[0].is_file();
        (!self.renamed && !self.skip_changed && !is_file)
            .then(|| super::reference::reference(&paths, &self.options))
            .flatten()
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        self.pass = Pass::new(self.roots.clone(), self.options.clone());
        self.survey = OnceLock::new();
        Ok(true)
    }

    fn state(&self) -> SourceState {
        let survey = self.survey();
        SourceState {
            grounds: survey.grounds.all(),
            quiet: survey.quiet,
            unsettled: survey.unsettled.clone(),
        }
    }

    fn mirror(&mut self, how: Mirroring) -> bool {
        let filled = if how.filled { self.survey().grounds.filled() } else { Vec::new() };
        self.options =
            Arc::new(ReadOptions { filled, settled: how.settled, ..(*self.options).clone() });
        self.pass = Pass::new(self.roots.clone(), self.options.clone());
        // How long all is can't be told where something is left out.
        if how.settled {
            self.survey = OnceLock::new();
        }
        true
    }
}

/// The paths by the names they get at the top of the tree.
fn top_level(paths: &[PathBuf]) -> Result<BTreeMap<Vec<u8>, PathBuf>, SourceError> {
    let mut named = BTreeMap::new();
    for given in paths {
        given.metadata().map_err(|error| failed(given, error))?;
        let path = absolute(given)?;
        let name = own_name(&path)?.as_bytes().to_vec();
        if let Some(other) = named.insert(name, path) {
            let why = format!(
                "{} has the same name; rename one of them, or send them one after the other",
                printable_path(&other)
            );
            return Err(unsuitable(given, why));
        }
    }
    Ok(named)
}

fn absolute(path: &Path) -> Result<PathBuf, SourceError> {
    std::path::absolute(path).map_err(|error| failed(path, error))
}

/// The name of a file or folder; of one given as `..`, the name it really has.
fn own_name(path: &Path) -> Result<ContentName, SourceError> {
    let real = match path.file_name() {
        Some(name) => return content_name(name.as_bytes()),
        None => path.canonicalize().map_err(|error| failed(path, error))?,
    };
    content_name(real.file_name().map_or(b"root", |name| name.as_bytes()))
}
