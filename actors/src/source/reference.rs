//! References by which another process finds what is read.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use estafette::pipeline::SourceReference;

use super::ReadOptions;

/// The kind of references to paths.
pub(crate) const PATHS: &str = "paths";
/// The kind of references to paths that are read in a way of their own: what comes before the paths
/// says which.
pub(crate) const PATHS_READ: &str = "paths read";
/// The most bytes of a reference: a record of the outbox holds it.
const LIMIT: usize = 48 << 10;

/// The reference by which another process finds these paths, which must be absolute; `None` when
/// there are too many of them.
pub(super) fn reference(paths: &[PathBuf], options: &ReadOptions) -> Option<SourceReference> {
    let options = options.to_items();
    let kind = if options.is_empty() { PATHS } else { PATHS_READ };
    let paths = paths.iter().map(|path| path.as_os_str().as_bytes());
    // None of them has a NUL in it.
    let data = options.iter().map(|option| &option[..]).chain(paths).collect::<Vec<_>>().join(&0);
    (data.len() <= LIMIT).then(|| SourceReference { kind: kind.into(), data })
}
