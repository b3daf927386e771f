//! From paths on a command line to a source.

use std::path::PathBuf;

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use estafette::pipeline::{Source, SourceError, SourceReference};

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

/// The kind of references to paths.
pub(crate) const PATHS: &str = "paths";
/// The most bytes of a reference: a record of the outbox holds it.
const LIMIT: usize = 48 << 10;

/// How another process finds these paths, which must be absolute; `None` when there are too many of them.
pub(super) fn reference(paths: &[PathBuf]) -> Option<SourceReference> {
    let paths: Vec<_> = paths.iter().map(|path| path.as_os_str().as_bytes()).collect();
    // No path has a NUL in it.
    let data = paths.join(&0);
    (data.len() <= LIMIT).then(|| SourceReference { kind: PATHS.into(), data })
}

/// The source that a reference of this kind leads to, as things stand now.
pub(crate) fn reopen(data: &[u8]) -> Result<Box<dyn Source>, SourceError> {
    from_paths(split(data))
}

/// The paths that a reference leads to, if it is one of a [`FileSource`] or a [`TreeSource`].
pub fn paths_of(reference: &SourceReference) -> Option<Vec<PathBuf>> {
    (reference.kind == PATHS).then(|| split(&reference.data).collect())
}

fn split(data: &[u8]) -> impl Iterator<Item = PathBuf> {
    data.split(|&byte| byte == 0).map(|path| PathBuf::from(OsString::from_vec(path.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_leads_back_to_the_same_paths() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = ["a", "b\n"].map(|name| folder.path().join(name)).to_vec();
        paths.iter().for_each(|path| std::fs::write(path, "x").unwrap());
        let source = from_paths(&paths).unwrap();
        let again = reopen(&source.reference().unwrap().data).unwrap();
        assert_eq!(again.content(), source.content());
        assert_eq!(again.reference(), source.reference());
        assert_eq!(paths_of(&source.reference().unwrap()), Some(paths.clone()));
        let one = FileSource::open(&paths[1]).unwrap();
        assert_eq!(reopen(&one.reference().unwrap().data).unwrap().content(), one.content());
        std::fs::remove_file(&paths[0]).unwrap();
        assert!(reopen(&source.reference().unwrap().data).is_err());
    }
}
