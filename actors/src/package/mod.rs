//! Packages in files: content as one file that only its receiver opens.
//!
//! ```text
//!  pack     Source → Chunker → … → Sealer → Writing ─▶ file          unpack   file ─▶ Reading → Opener → … → Assembler → Sink
//!  open     file ─▶ Reading → PackageSource: frames as they are, checked for rot
//! ```
//! The format is [`estafette::wire::package`]'s. Each piece of work has a thread of its own, and
//! holds a few chunks whatever the size of the content.

mod assembling;
mod pack;
mod reading;
mod source;
mod unpack;
mod writing;

use std::io;
use std::path::Path;

use estafette::delivery::{Failure, FailureKind};
use estafette::node::{
    PackError, PackOrder, PackageReport, Packages, Packed, UnpackOrder, Unpacked,
};
use estafette::pipeline::{Source, SourceError};
use estafette::wire::package::PackageHeader;
use futures_util::future::BoxFuture;

pub use source::PackageSource;
pub(crate) use source::{PACKAGE, reopen};

use reading::Reading;

/// The failure where the system gives no thread for one. That passes.
fn no_thread(error: &io::Error) -> Failure {
    Failure::new(FailureKind::Busy, format!("this node can start no thread for it now: {error}"))
}

/// Makes, reads and opens packages in files.
#[derive(Clone, Copy, Debug, Default)]
pub struct FilePackages;

impl Packages for FilePackages {
    fn pack(&self, order: PackOrder) -> BoxFuture<'static, Result<Packed, PackError>> {
        Box::pin(pack::pack(order))
    }

    fn open(&self, file: &Path) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(PackageSource::open(file)?))
    }

    fn header(&self, file: &Path) -> Result<PackageHeader, SourceError> {
        Ok(Reading::open(file)?.header().clone())
    }

    fn verify(&self, file: &Path) -> Result<PackageReport, SourceError> {
        let mut reading = Reading::open(file)?;
        while reading.next()?.is_some() {}
        Ok(reading.report())
    }

    fn unpack(&self, order: UnpackOrder) -> BoxFuture<'static, Result<Unpacked, Failure>> {
        Box::pin(unpack::unpack(order))
    }
}
