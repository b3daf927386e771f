//! A package on its way to the disk.
//!
//! Invariant: under its own name a package is whole and durable; until then it is `<name>.new`, which is removed when it
//! comes to nothing, and replaced by the next attempt where a process died.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use estafette::node::PackError;
use estafette::pipeline::{Parcel, Sealed};
use estafette::wire::package::{Frames, PackageHeader};

/// Takes frames in any order and writes them in theirs.
#[derive(Debug)]
pub(super) struct Writing {
    file: NewFile,
    frames: Frames,
    /// Frames that came before their turn; they hold their credit, so they are few.
    early: BTreeMap<u64, Sealed>,
    length: u64,
}

impl Writing {
    pub(super) fn begin(target: &Path, header: &PackageHeader) -> Result<Self, PackError> {
        let failed = |error| PackError::Write { file: target.to_owned(), error };
        let mut file = NewFile::create(target).map_err(failed)?;
        file.write(header.as_bytes()).map_err(failed)?;
        Ok(Self { file, frames: Frames::new(header.label()), early: BTreeMap::new(), length: 0 })
    }

    /// Takes a frame; whether the last one is written.
    pub(super) fn take(&mut self, sealed: Sealed) -> Result<bool, PackError> {
        self.early.insert(sealed.custody().index(), sealed);
        while let Some(sealed) = self.early.remove(&self.frames.next()) {
            self.append(sealed.content())?;
            let length = sealed.custody().content_length();
            self.length += length;
            sealed.custody().finish(length);
        }
        Ok(self.frames.is_ended())
    }

    /// Frames written, the trailer too.
    pub(super) fn frames(&self) -> u64 {
        self.frames.next()
    }

    /// Bytes of content in the frames that are written.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Makes it durable under its own name; how many bytes it has.
    pub(super) fn publish(self) -> Result<u64, PackError> {
        let target = self.file.target.clone();
        self.file.publish().map_err(|error| PackError::Write { file: target, error })
    }

    fn append(&mut self, frame: &[u8]) -> Result<(), PackError> {
        let sum = self.frames.append(frame)?;
        let written = self.file.write(frame).and_then(|()| self.file.write(&sum));
        written.map_err(|error| PackError::Write { file: self.file.target.clone(), error })
    }
}

/// A file that appears when it is whole.
#[derive(Debug)]
struct NewFile {
    target: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    published: bool,
}

impl NewFile {
    fn create(target: &Path) -> io::Result<Self> {
        let mut name = target.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?.to_owned();
        name.push(".new");
        let temporary = target.with_file_name(name);
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        Ok(Self { target: target.to_owned(), temporary, file: BufWriter::with_capacity(64 << 10, file), bytes: 0, published: false })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn publish(mut self) -> io::Result<u64> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        std::fs::rename(&self.temporary, &self.target)?;
        // From here on it is the target that must not be left when something fails.
        self.temporary.clone_from(&self.target);
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        self.published = true;
        Ok(self.bytes)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = std::fs::remove_file(&self.temporary)
        {
            tracing::warn!(file = %self.temporary.display(), %error, "a package that came to nothing could not be removed");
        }
    }
}
