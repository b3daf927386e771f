//! Folders that are watched, on systems where none is.

use std::io;
use std::path::Path;

/// Watches nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches;

/// Tells nothing.
#[derive(Debug)]
pub(super) struct Following;

/// There is none.
#[derive(Debug)]
pub(super) enum Watch {}

impl Watches {
    pub(super) fn new() -> Self {
        Self
    }

    pub(super) fn watch(&self, _: &Path, _: Option<Watch>) -> Option<Watch> {
        None
    }

    pub(super) fn follow(&self) -> io::Result<Following> {
        Ok(Following)
    }
}

impl Watch {
    pub(super) async fn happens(&mut self) {
        match *self {}
    }
}
