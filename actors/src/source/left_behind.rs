//! A summary of what was not sent of a tree, in lines for the person who sends and the one who
//! receives it.
//!
//! Invariant: a bounded number of lines, however much there is: one for each kind, with the first
//! by name and a count.

use std::os::fd::AsFd;

use super::{ReadOptions, xattrs};
use crate::lines::Kinds;

/// What was left behind so far.
#[derive(Debug, Default)]
pub(super) struct LeftBehind {
    skipped: Kinds,
    attributes: Kinds,
}

impl LeftBehind {
    /// An entry of this path in the tree, printable.
    pub(super) fn skipped(&mut self, path: String, reason: &str) {
        self.skipped.add(reason, path);
    }

    /// The attributes that are sent with what is at `path`.
    pub(super) fn attributes(
        &mut self,
        options: &ReadOptions,
        path: &[u8],
        of: impl AsFd,
    ) -> xattrs::Attributes {
        let place = || if path.is_empty() { ".".into() } else { crate::tree::printable(path) };
        if !options.xattrs {
            if xattrs::has_any(of) {
                self.attributes.add("they were not asked for", place());
            }
            return Vec::new();
        }
        let (read, left) = xattrs::read(of);
        if left {
            self.attributes
                .add("there are too many, too long ones, or ones that can't be read", place());
        }
        read
    }

    /// Lines for a person.
    pub(super) fn lines(&self) -> Vec<String> {
        let skipped = self.skipped.lines(|names, why| format!("{names} was left out: {why}"));
        let attributes = self.attributes.lines(|names, why| {
            format!("extended attributes or ACLs of {names} were not sent: {why}")
        });
        skipped.chain(attributes).collect()
    }
}
