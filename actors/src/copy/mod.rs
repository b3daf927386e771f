//! Copies in files: content of a node's own deliveries, in its spool, sealed for nobody but itself.
//!
//! ```text
//!  copy     Source → read, seal, write ─▶ file          open   file ─▶ read, open → CopySource
//!           (twin) ─▶ TwinSource ◀───────────╯ as the file grows: the first try
//! ```
//! The format is [`estafette::wire::copy`]'s. A copy is not compressed and has no digest: each try
//! compresses for its own link, and the tags tell rot from content. So it costs little more than
//! writing it, and is on its way to the receiver meanwhile.
//!
//! Content that comes in pieces over days is a copy in [`Parts`]: a folder of copies, each durable
//! before the next one begins.

mod copying;
mod parts;
mod parts_source;
mod source;
mod twin;
mod writer;

use std::path::Path;

use estafette::node::{Copies, CopyOrder, Copying, CopyingError};
use estafette::pipeline::{Source, SourceError};
use estafette::wire::Identity;

pub use parts::{Part, Parts};
pub use parts_source::PartsSource;
pub use source::CopySource;

/// Makes and reads copies in files.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileCopies;

impl Copies for FileCopies {
    fn copy(&self, order: CopyOrder) -> Result<Copying, CopyingError> {
        copying::copy(order)
    }

    fn open(&self, file: &Path, identity: &Identity) -> Result<Box<dyn Source>, SourceError> {
        if file.is_dir() {
            return Ok(Box::new(PartsSource::open(file, identity)?));
        }
        Ok(Box::new(CopySource::open(file, identity)?))
    }
}
