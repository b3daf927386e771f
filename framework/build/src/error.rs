//! The error of a build script.

use std::fmt;

/// An error of a build script: which file, what is wrong in it, and what can be done about it.
///
/// Returned from `main`, it is printed as the text that it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(pub(crate) String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// What `main` returns is printed by this.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
