//! A package on its way to the disk.
//!
//! Invariant: under its own name a package is whole and durable.

use std::collections::BTreeMap;
use std::path::Path;

use estafette::node::PackError;
use estafette::pipeline::{Parcel, Sealed};
use estafette::wire::package::{Frames, PackageHeader};

use crate::new_file::NewFile;

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
        let target = self.file.target().to_owned();
        self.file.publish().map_err(|error| PackError::Write { file: target, error })
    }

    fn append(&mut self, frame: &[u8]) -> Result<(), PackError> {
        let sum = self.frames.append(frame)?;
        let written = self.file.write(frame).and_then(|()| self.file.write(&sum));
        written.map_err(|error| PackError::Write { file: self.file.target().to_owned(), error })
    }
}
