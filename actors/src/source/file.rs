//! One regular file as content.
//!
//! Invariant: `finish` succeeds only if all bytes that were read belong to one version of the file.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use estafette::delivery::{Attributes, Content, ContentKind, ContentName};
use estafette::pipeline::{Source, SourceError, SourceReference, SourceReport, SourceState};
use futures_util::future::BoxFuture;
use rustix::fs::{Mode, OFlags};

use super::failure::{failed, printable_path, unsuitable};
use super::holes::{FileContent, untold};
use super::left_behind::LeftBehind;
use super::version::{Difference, Watch};
use super::{FileVersion, ReadOptions, content_name, xattrs};

/// Reads one regular file.
///
/// Its version (device, inode, length, modification and change time) is taken when it is opened and
/// compared after the last byte: a file that changed in between is a [`SourceError::Changed`],
/// since what was read may be a mixture; where nothing but its change time tells of that, it is
/// [`SourceError::Doubtful`]. [`rewind`](Source::rewind) opens the path anew, with a version of its
/// own, so `content` may then tell another length; after a doubt it reads the same file again.
///
/// It has the file open only while it is read: any number of these may wait. What has taken the
/// place of the file before the first read, or has changed it, is a [`SourceError::Changed`], too.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    name: ContentName,
    options: ReadOptions,
    /// Open from the first read to the end.
    file: Option<FileContent>,
    mode: u32,
    version: FileVersion,
    /// Bytes that are no holes, if it has holes.
    data: Option<u64>,
    /// Its extended attributes, if they are sent.
    attributes: Attributes,
    /// Lines for a person: what is left behind of it.
    remarks: Vec<String>,
    position: u64,
    watch: Watch,
    /// The change that the file may have had since it was opened.
    doubt: Option<String>,
}

impl FileSource {
    /// Opens the file at `path`; a symbolic link is followed. The content gets the name of the
    /// file.
    ///
    /// Fails for what is no regular file, and for a path that can't be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        let path = std::path::absolute(&path).map_err(|error| failed(path.as_ref(), error))?;
        let Some(name) = path.file_name() else {
            return Err(unsuitable(&path, "it has no file name"));
        };
        let name = content_name(name.as_bytes())?;
        let (file, mode, version) = open_regular(&path)?;
        let mut source = Self {
            path,
            name,
            options: ReadOptions::default(),
            file: None,
            mode,
            version,
            data: None,
            attributes: Attributes::default(),
            remarks: Vec::new(),
            position: 0,
            watch: Watch::new(),
            doubt: None,
        };
        source.describe(&file);
        Ok(source)
    }

    /// The file, read in this way: of the options its name and its extended attributes concern it.
    pub fn with(mut self, options: &ReadOptions) -> Result<Self, SourceError> {
        if let Some(name) = &options.name {
            self.name = content_name(name)?;
        }
        self.options = options.clone();
        self.describe(&open_regular(&self.path)?.0);
        Ok(self)
    }

    /// Looks at all that is told of it before it is read.
    fn describe(&mut self, file: &FileContent) {
        self.data = file.data_length();
        let (attributes, report) = self.left_behind(file.file());
        self.remarks = report.remarks;
        self.attributes = if self.options.xattrs { attributes } else { Attributes::default() };
    }

    /// The attributes that may be sent, and what is left behind.
    fn left_behind(&self, file: &File) -> (Attributes, SourceReport) {
        let (mut left, name) = (LeftBehind::default(), self.name.as_bytes());
        left.time(self.version.modified, name);
        let (attributes, all) = sendable(file);
        left.attributes_of_file(&self.options, name, file, all);
        let mut report = SourceReport { files: 1, ..SourceReport::default() };
        left.tell(&mut report);
        (attributes, report)
    }

    /// The version of the file that is being read.
    pub fn version(&self) -> FileVersion {
        self.version
    }

    /// The file, of the version that was looked at.
    fn file(&mut self) -> Result<&mut FileContent, SourceError> {
        if self.file.is_none() {
            let (file, _, version) = open_regular(&self.path)?;
            match self.version.difference(&version) {
                Some(Difference::Content(how)) => {
                    return Err(SourceError::Changed { what: printable_path(&self.path), how });
                }
                // Nothing of it has been read.
                Some(Difference::Perhaps(_)) | None => self.version = version,
            }
            self.file = Some(file);
        }
        Ok(self.file.as_mut().expect("it was opened above"))
    }

    /// Fails at once where the content is another one, and keeps a doubt for the end.
    fn note(&mut self, difference: Option<Difference>) -> Result<(), SourceError> {
        match difference {
            Some(Difference::Content(how)) => {
                return Err(SourceError::Changed { what: printable_path(&self.path), how });
            }
            Some(Difference::Perhaps(how)) => self.doubt = Some(how),
            None => {}
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        self.file()?;
        let changed =
            self.file.as_ref().and_then(|file| self.watch.difference(file.file(), &self.version));
        self.note(changed)?;
        let read = self.file()?.read_full(buffer);
        let count = read.map_err(|error| failed(&self.path, error))?;
        self.position += count as u64;
        let ended = count < buffer.len();
        if self.position > self.version.length || (ended && self.position < self.version.length) {
            let version = self.version;
            if self.file()?.is_still_of(&version) {
                let why = untold(self.version.length);
                return Err(SourceError::Unsuitable { what: printable_path(&self.path), why });
            }
            let how = format!(
                "it had {} bytes, and now has {} or more",
                self.version.length, self.position
            );
            return Err(SourceError::Changed { what: printable_path(&self.path), how });
        }
        Ok(count)
    }
}

impl Source for FileSource {
    fn content(&self) -> Content {
        let kind = ContentKind::File { mode: self.mode, mtime: self.version.modified };
        Content::new(kind, self.name.clone(), Some(self.version.length))
            .with_data(self.data)
            .with_attributes(self.attributes.clone())
            .with_remarks(self.remarks.clone())
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(async move { self.fill(buffer) })
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        let metadata = self.file()?.file().metadata();
        let metadata = metadata.map_err(|error| failed(&self.path, error))?;
        self.note(self.version.difference(&FileVersion::of(&metadata)))?;
        if let Some(how) = self.doubt.clone() {
            return Err(SourceError::Doubtful { what: printable_path(&self.path), how });
        }
        let Some(file) = self.file.take() else { return Ok(SourceReport::default()) };
        let (attributes, report) = self.left_behind(file.file());
        if self.options.xattrs && attributes != self.attributes {
            let (what, how) = (printable_path(&self.path), "its attributes were".into());
            return Err(SourceError::Changed { what, how });
        }
        Ok(report)
    }

    fn state(&self) -> SourceState {
        let is_young = Source::version(self).is_none();
        let unsettled =
            is_young.then(|| format!("{} is being written", printable_path(&self.path)));
        SourceState { unsettled, ..SourceState::default() }
    }

    fn version(&self) -> Option<[u8; 32]> {
        self.version.stamp(self.path.as_os_str().as_bytes())
    }

    fn reference(&self) -> Option<SourceReference> {
        super::reference::reference(std::slice::from_ref(&self.path), &self.options)
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        self.position = 0;
        let read = self.file.take();
        if let (Some(_), Some(file)) = (self.doubt.take(), read) {
            // It may have another name by now, or none.
            let (file, version) = file.again().map_err(|error| failed(&self.path, error))?;
            (self.file, self.version) = (Some(file), version);
            return Ok(true);
        }
        let file;
        (file, self.mode, self.version) = open_regular(&self.path)?;
        self.describe(&file);
        Ok(true)
    }
}

fn open_regular(path: &Path) -> Result<(FileContent, u32, FileVersion), SourceError> {
    // Without NONBLOCK, opening a fifo would wait for somebody to write to it.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(
        rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(path, error.into()))?,
    );
    let metadata = file.metadata().map_err(|error| failed(path, error))?;
    if !metadata.is_file() {
        return Err(unsuitable(path, "it is no regular file"));
    }
    advise_sequential(&file);
    let (mode, version) = (metadata.permissions().mode(), FileVersion::of(&metadata));
    Ok((FileContent::new(file, &metadata), mode, version))
}

/// The attributes that are sent with a file, and whether these are all that may be sent.
fn sendable(file: &File) -> (Attributes, bool) {
    let (mut read, left) = xattrs::read(file, xattrs::names(file).sendable);
    let had = read.len();
    loop {
        // The last ones do not fit.
        match Attributes::new(read.clone()) {
            Some(attributes) => return (attributes, !left && read.len() == had),
            None => read.truncate(read.len() - 1),
        }
    }
}

/// Asks the system to read ahead further. Only a hint: whether it is taken does not matter.
pub(super) fn advise_sequential(file: &File) {
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Sequential);
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}
