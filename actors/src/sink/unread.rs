//! Entries that the sender of a tree has and could not read: what is here in their places stays.

use crate::tree::{TreePath, UNREAD};

/// The paths of these entries.
#[derive(Debug, Default)]
pub(super) struct Unread {
    paths: Vec<TreePath>,
    /// Set if there are more than are named.
    is_all: bool,
}

impl Unread {
    /// One more; without a path, there are more than are named.
    pub(super) fn add(&mut self, path: Option<TreePath>) {
        match path {
            // Files that could not be read to their ends come beside those that are told.
            Some(path) if self.paths.len() < 2 * UNREAD => self.paths.push(path),
            _ => self.is_all = true,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.is_all
    }

    /// The paths; `None` where everything stays.
    pub(super) fn paths(&self) -> Option<&[TreePath]> {
        (!self.is_all).then_some(&*self.paths)
    }
}
