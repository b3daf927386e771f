//! Names of what a node offers.

mod directory;

pub use directory::{Directory, DirectoryError};
