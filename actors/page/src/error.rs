//! The reasons why a page is not served.

use std::io;

/// An error of serving a page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It would be for others than this machine, and without a token.
    #[error(
        "{address} can be reached from other machines, so a token is needed: name a file with one, \
         or listen at 127.0.0.1"
    )]
    NeedsToken {
        /// The address.
        address: String,
    },
    /// No browser can say this name of a host.
    #[error(
        "{name:?} is no name of a host that a browser can ask for: write {instead}, the name alone, \
         without a scheme, a port, a path, blanks or a dot at the end, and in the letters of DNS \
         (xn--…); IP addresses need no name"
    )]
    Host {
        /// The name.
        name: String,
        /// The text that is to be written: the name in it, or an example.
        instead: String,
    },
    /// It can't be listened there.
    #[error("can't listen at {address}: {error}")]
    Listen {
        /// The address.
        address: String,
        /// The cause.
        error: io::Error,
    },
    /// The operating system gave no thread, or no runtime.
    #[error("the page's thread could not be started: {0}")]
    Thread(io::Error),
}
