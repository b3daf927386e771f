//! Errors of key files.

use std::io;
use std::path::PathBuf;

/// An error of reading or creating a key file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Reading or writing failed.
    #[error("the key file {path} could not be {action}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Read or created.
        action: &'static str,
        /// The cause.
        error: io::Error,
    },
    /// Others than the owner may read or change it.
    #[error(
        "the key file {path} may be read by others (mode {mode:03o}); run `chmod 600 {path}`, and \
         think about whether the key is still secret"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Others have power over the file, or it is none.
    #[error("the key file {path} is refused: {what}")]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// The problem, and what to do.
        what: String,
    },
    /// It is empty.
    #[error(
        "the key file {path} is empty: making it was cut off, or what was in it is lost; put its \
         copy there or, for a new key, which is another node, remove it"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is not there, and was once.
    #[error(
        "the key file {path} is not there, but {kept} is, which its node has made: put the key \
         back, or look whether its disk is mounted; for a new key, which is another node, move the \
         folder of the other away, too"
    )]
    Gone {
        /// The key file.
        path: PathBuf,
        /// The thing of its node that is there.
        kept: PathBuf,
    },
    /// It does not hold a key.
    #[error("{path} is not a key file: 52 characters of base32 expected")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}
