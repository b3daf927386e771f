//! Sources of content: files, folders, bytes in memory, and anything that can be read.
//!
//! Each of these implements [`estafette::pipeline::Source`]. They block while they read: a source
//! has its transfer's thread to itself.
//!
//! ```
//! use estafette::pipeline::Source;
//! use estafette_actors::source::{FileSource, from_paths};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("letter.txt");
//! std::fs::write(&path, "Dear Paris")?;
//! let mut letter = FileSource::open(&path)?;
//! assert_eq!(letter.content().length, Some(10));
//! let mut buffer = [0; 64];
//! assert_eq!(letter.read(&mut buffer).await?, 10); // what a node does with it
//! assert_eq!(letter.finish()?.files, 1); // it did not change meanwhile
//!
//! let tree = from_paths([folder.path()])?; // a folder, or several paths, are one tree
//! # drop(tree);
//! # Ok(()) }
//! ```

mod bytes;
mod failure;
mod file;
mod filtered;
mod grounds;
mod hard_links;
mod holes;
mod left_behind;
mod options;
mod paths;
mod read_first;
mod reader;
mod reference;
mod survey;
mod tree;
mod unread;
mod version;
mod walk;
mod xattrs;

pub use bytes::BytesSource;
pub use file::FileSource;
pub use filtered::{Filter, Filtered};
pub use options::{Links, PatternError, ReadOptions, check_pattern};
pub(crate) use paths::reopen;
pub use paths::{from_paths, from_paths_with, paths_of};
pub use read_first::ReadFirst;
pub use reader::ReaderSource;
pub(crate) use reference::{PATHS, PATHS_READ};
pub use tree::TreeSource;
pub use version::{Difference, FileVersion};

use estafette::delivery::ContentName;
use estafette::pipeline::{Source, SourceError};

use crate::tree::printable;

/// The name a source gives its content, or why it can't be one.
fn content_name(name: &[u8]) -> Result<ContentName, SourceError> {
    ContentName::new(name)
        .map_err(|error| SourceError::Unsuitable { what: printable(name), why: error.to_string() })
}

/// Reads until `buffer` is full or the source ends; how many bytes.
pub(crate) async fn fill(source: &mut dyn Source, buffer: &mut [u8]) -> Result<usize, SourceError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]).await? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
