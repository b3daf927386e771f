//! A package on the disk, read from front to back.
//!
//! Invariant: nothing of a frame is given out before its checksum agreed, and the last one not
//! before the file ends there.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use estafette::node::PackageReport;
use estafette::pipeline::{BufferPool, SourceError};
use estafette::wire::HEADER_LENGTH;
use estafette::wire::package::{Frames, PACKAGE_PREAMBLE, PackageError, PackageHeader};

use crate::tree::printable;

/// Reads frame after frame.
#[derive(Debug)]
pub(super) struct Reading {
    path: PathBuf,
    file: BufReader<File>,
    bytes: u64,
    header: PackageHeader,
    frames: Frames,
    /// The place at which the next frame begins.
    offset: u64,
    buffers: BufferPool,
}

impl Reading {
    /// Opens a package and reads its header.
    pub(super) fn open(path: &Path) -> Result<Self, SourceError> {
        let path = std::path::absolute(path).map_err(|error| failed(path, error))?;
        // A fifo would be waited for.
        let metadata = std::fs::metadata(&path).map_err(|error| failed(&path, error))?;
        if !metadata.is_file() {
            return Err(SourceError::Unsuitable {
                what: name(&path),
                why: "it is no regular file".into(),
            });
        }
        let mut file = BufReader::with_capacity(
            64 << 10,
            File::open(&path).map_err(|error| failed(&path, error))?,
        );
        let header = read_header(&path, &mut file)?;
        let (frames, offset) = (Frames::new(header.label()), header.as_bytes().len() as u64);
        Ok(Self {
            path,
            file,
            bytes: metadata.len(),
            header,
            frames,
            offset,
            buffers: BufferPool::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn header(&self) -> &PackageHeader {
        &self.header
    }

    /// The next frame with its checksum, which agrees; `None` behind the last one.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        if self.frames.is_ended() {
            return Ok(None);
        }
        let mut header = [0; HEADER_LENGTH];
        self.read(&mut header)?;
        let length = self.frames.length(&header).map_err(|error| self.damaged(error))?;
        let mut record = self.buffers.take(length);
        record[..HEADER_LENGTH].copy_from_slice(&header);
        self.read(&mut record[HEADER_LENGTH..])?;
        self.frames.take(&record).map_err(|error| damaged(&self.path, self.offset, error))?;
        self.offset += length as u64;
        if self.frames.is_ended() {
            self.expect_end()?;
        }
        Ok(Some(record.freeze(0..length)))
    }

    /// Goes back to the first frame.
    pub(super) fn rewind(&mut self) -> Result<(), SourceError> {
        let offset = self.header.as_bytes().len() as u64;
        self.file.seek(io::SeekFrom::Start(offset)).map_err(|error| failed(&self.path, error))?;
        (self.offset, self.frames) = (offset, Frames::new(self.header.label()));
        Ok(())
    }

    /// The report of what was read, when all of it was.
    pub(super) fn report(&self) -> PackageReport {
        PackageReport { bytes: self.offset, chunks: self.frames.next().saturating_sub(1) }
    }

    fn expect_end(&mut self) -> Result<(), SourceError> {
        match self.file.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged(PackageError::BehindTheEnd)),
            Err(error) => Err(failed(&self.path, error)),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), SourceError> {
        self.file.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.damaged(format!("it ends within frame {}", self.frames.next()))
            }
            _ => failed(&self.path, error),
        })
    }

    fn damaged(&self, how: impl ToString) -> SourceError {
        damaged(&self.path, self.offset, how)
    }
}

fn read_header(path: &Path, file: &mut impl Read) -> Result<PackageHeader, SourceError> {
    let unsound = |error| match error {
        PackageError::NotAPackage | PackageError::UnknownVersion { .. } => {
            SourceError::Unsuitable { what: name(path), why: PackageError::to_string(&error) }
        }
        error => damaged(path, 0, error),
    };
    let read = |file: &mut _, buffer: &mut [u8]| {
        Read::read_exact(file, buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(path, 0, "it ends within its header"),
            _ => failed(path, error),
        })
    };
    let mut preamble = [0; PACKAGE_PREAMBLE];
    read(file, &mut preamble)?;
    let mut bytes = vec![0; PackageHeader::length(&preamble).map_err(unsound)?];
    bytes[..PACKAGE_PREAMBLE].copy_from_slice(&preamble);
    read(file, &mut bytes[PACKAGE_PREAMBLE..])?;
    PackageHeader::decode(&bytes).map_err(unsound)
}

/// The path for a person.
pub(super) fn name(path: &Path) -> String {
    format!("the package {}", printable(path.as_os_str().as_bytes()))
}

fn failed(path: &Path, error: io::Error) -> SourceError {
    SourceError::Read { what: name(path), error }
}

fn damaged(path: &Path, offset: u64, how: impl ToString) -> SourceError {
    SourceError::Damaged { what: name(path), offset, how: how.to_string() }
}
