//! Errors of paths that are read, with the path in words.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use estafette::pipeline::SourceError;

use crate::tree::printable;

pub(super) fn printable_path(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

pub(super) fn failed(path: &Path, error: std::io::Error) -> SourceError {
    SourceError::Read { what: printable_path(path), error }
}

pub(super) fn unsuitable(path: &Path, why: impl Into<String>) -> SourceError {
    SourceError::Unsuitable { what: printable_path(path), why: why.into() }
}
