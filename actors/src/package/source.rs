//! A package as content: to be carried as it is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::{Buf, Bytes};
use estafette::delivery::{Content, ContentKind, ContentName};
use estafette::pipeline::{Source, SourceError, SourceReference, SourceReport};
use futures_util::future::BoxFuture;

use super::reading::Reading;

/// Reads a package for whoever carries it. What rotted on the disk is noticed before it is given
/// out.
///
/// Its name is made of the delivery's id: it tells nothing of what is inside.
#[derive(Debug)]
pub struct PackageSource {
    reading: Reading,
    /// The bytes that were read and not yet given out.
    rest: Bytes,
}

/// The kind of references to packages.
pub(crate) const PACKAGE: &str = "package";

/// The package that a reference of this kind leads to.
pub(crate) fn reopen(data: &[u8]) -> Result<Box<dyn Source>, SourceError> {
    Ok(Box::new(PackageSource::open(OsStr::from_bytes(data))?))
}

impl PackageSource {
    /// Opens the package `file`. Fails for what is none.
    pub fn open(file: impl AsRef<Path>) -> Result<Self, SourceError> {
        let reading = Reading::open(file.as_ref())?;
        let rest = Bytes::copy_from_slice(reading.header().as_bytes());
        Ok(Self { reading, rest })
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        if self.rest.is_empty() {
            self.rest = self.reading.next()?.unwrap_or_default();
        }
        let count = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Source for PackageSource {
    fn content(&self) -> Content {
        let id = self.reading.header().label().transfer;
        let name: String = id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let name = ContentName::new(format!("{name}.package")).expect("it is one short component");
        Content::new(ContentKind::Package, name, Some(self.reading.bytes()))
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(async move { self.fill(buffer) })
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Ok(SourceReport { files: 1, ..SourceReport::default() })
    }

    fn version(&self) -> Option<[u8; 32]> {
        Some(self.reading.header().identity())
    }

    fn reference(&self) -> Option<SourceReference> {
        Some(SourceReference {
            kind: PACKAGE.into(),
            data: self.reading.path().as_os_str().as_bytes().to_vec(),
        })
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        self.reading.rewind()?;
        self.rest = Bytes::copy_from_slice(self.reading.header().as_bytes());
        Ok(true)
    }
}
