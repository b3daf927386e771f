//! From paths on a command line to a source.

use std::path::PathBuf;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use estafette::pipeline::{Source, SourceError, SourceReference};

use super::reference::{PATHS, PATHS_READ};
use super::{FileSource, ReadOptions, TreeSource};

/// A source for what a person names: one file as a file, a folder or several paths as a tree.
///
/// Of a path that is a link, what it leads to is meant; below folders links stay links. A path that
/// does not exist is an error that names it.
pub fn from_paths(
    paths: impl IntoIterator<Item = impl Into<PathBuf>>,
) -> Result<Box<dyn Source>, SourceError> {
    from_paths_with(paths, &ReadOptions::default())
}

/// Like [`from_paths`], read in this way.
pub fn from_paths_with(
    paths: impl IntoIterator<Item = impl Into<PathBuf>>,
    options: &ReadOptions,
) -> Result<Box<dyn Source>, SourceError> {
    let paths: Vec<PathBuf> = paths.into_iter().map(Into::into).collect();
    if let [one] = &paths[..]
        && std::fs::metadata(one).is_ok_and(|metadata| metadata.is_file())
    {
        return Ok(Box::new(FileSource::open(one)?.with(options)?));
    }
    Ok(Box::new(TreeSource::new(paths)?.with(options)?))
}

/// The source that a reference of either kind leads to, as things stand now.
pub(crate) fn reopen(data: &[u8]) -> Result<Box<dyn Source>, SourceError> {
    let mut options = ReadOptions::default();
    let options_end = data
        .split(|&byte| byte == 0)
        .take_while(|item| options.take_item(item))
        .map(|item| item.len() + 1)
        .sum();
    from_paths_with(split(data.get(options_end..).unwrap_or_default()), &options)
}

/// The paths that a reference leads to, if it is one of a [`FileSource`] or a [`TreeSource`].
pub fn paths_of(reference: &SourceReference) -> Option<Vec<PathBuf>> {
    let is_path = |path: &PathBuf| path.is_absolute();
    [PATHS, PATHS_READ]
        .contains(&&*reference.kind)
        .then(|| split(&reference.data).skip_while(|path| !is_path(path)).collect())
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
        let options =
            ReadOptions::default().links(crate::source::Links::Keep).name("other").exclude("*.o");
        let read = from_paths_with(&paths, &options).unwrap();
        let again = reopen(&read.reference().unwrap().data).unwrap();
        assert_eq!((again.content(), again.reference()), (read.content(), read.reference()));
        assert_eq!(paths_of(&read.reference().unwrap()), Some(paths.clone()));
        let one = FileSource::open(&paths[1]).unwrap();
        assert_eq!(reopen(&one.reference().unwrap().data).unwrap().content(), one.content());
        std::fs::remove_file(&paths[0]).unwrap();
        assert!(reopen(&source.reference().unwrap().data).is_err());
    }
}
