//! From paths on a command line to a source.

use std::path::PathBuf;

use estafette::pipeline::{Source, SourceError};

use super::{FileSource, TreeSource};

/// A source for what a person names: one file as a file, a folder or several paths as a tree.
///
/// One path that is a link to a file gives that file; in all other places links stay links. A path that does not exist is an error that names it.
pub fn from_paths(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Result<Box<dyn Source>, SourceError> {
    let paths: Vec<PathBuf> = paths.into_iter().map(Into::into).collect();
    if let [one] = &paths[..]
        && std::fs::metadata(one).is_ok_and(|metadata| metadata.is_file())
    {
        return Ok(Box::new(FileSource::open(one)?));
    }
    Ok(Box::new(TreeSource::new(paths)?))
}
