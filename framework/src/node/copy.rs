//! Copies: content of its own deliveries that a node keeps, so that what it was read from may go.
//! The seam behind which files and ciphers are.

use std::fmt;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;

use crate::delivery::{Content, TransferId};
use crate::node::registry_error::RegistryError;
use crate::pipeline::{Source, SourceError, SourceReport};
use crate::wire::copy::CopyError;
use crate::wire::{Identity, Suite};

/// Makes copies and reads them.
pub trait Copies: fmt::Debug + Send + Sync + 'static {
    /// Begins a copy; it is made on a thread of its own. Must be called where an actix system runs.
    fn copy(&self, order: CopyOrder) -> Result<Copying, CopyingError>;

    /// The content of a copy that is whole, for the node that made it: it can be read again, and
    /// never changes. A part that rotted is a [`SourceError::Damaged`] before a byte of it is
    /// given out. Blocks.
    fn open(&self, file: &Path, identity: &Identity) -> Result<Box<dyn Source>, SourceError>;
}

/// An order to make a copy.
#[derive(Debug)]
pub struct CopyOrder {
    /// The source of the content. It is read once.
    pub source: Box<dyn Source>,
    /// The very same content once more, for who reads it while the copy is made: both have told
    /// the same version.
    pub twin: Option<Box<dyn Source>>,
    /// The description of the content: usually what the source says.
    pub content: Content,
    /// The identity of the node itself, which alone may read the copy.
    pub identity: Identity,
    /// The delivery's id.
    pub transfer: TransferId,
    /// The cipher suite that seals the copy. A node takes XSalsa20-Poly1305: after its disk was
    /// moved, the copy may be read on a processor that has no other suite.
    pub suite: Suite,
    /// The path of the copy. The file appears there when it is whole. Until then it grows beside
    /// this path, as `<file>.new`.
    pub file: PathBuf,
}

/// A copy that is being made.
pub struct Copying {
    /// The same content as [`Copies::open`] gives later, and the same version: it is read from the
    /// twin, or from the copy as that grows, and ends only when that is whole. Dropping it
    /// does not disturb the copy.
    pub source: Box<dyn Source>,
    /// Resolves when the copy is durable under its name. When it fails, nothing is left; dropping
    /// it stops the work.
    pub done: BoxFuture<'static, Result<Copied, CopyingError>>,
}

/// A copy that is durable.
#[derive(Clone, Debug)]
pub struct Copied {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the content.
    pub length: u64,
    /// The report of the source.
    pub report: SourceReport,
}

/// An error of copying content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyingError {
    /// The content could not be read, or changed meanwhile.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The copy could not be written.
    #[error(
        "the copy {file} could not be written: {error}; check the free space and the permissions \
         there"
    )]
    Write {
        /// The file.
        file: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// Nothing that makes copies is registered.
    #[error("the content can't be copied: {0}")]
    Registry(#[from] RegistryError),
    /// The suite is not here.
    #[error("the content can't be copied: {0}")]
    Suite(String),
    /// The description of the content does not fit in front of a copy: its name is too long.
    #[error("the content can't be copied: {0}")]
    Header(#[from] CopyError),
    /// The thread that copied panicked, or its system stopped.
    #[error(
        "copying stopped before it was done, by a panic or by the end of the node; see the log"
    )]
    Stopped,
}

impl fmt::Debug for Copying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copying").field("source", &self.source).finish_non_exhaustive()
    }
}
