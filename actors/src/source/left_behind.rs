//! A summary of what was not sent of a tree, or of a file, in lines for the person who sends and the
//! one who receives it.
//!
//! Invariant: a bounded number of lines, however much there is: one for each kind, with the first
//! by name and a count.

use std::os::fd::AsFd;

use estafette::pipeline::SourceReport;

use super::walk::{LEADS_OUT, State};
use super::{ReadOptions, xattrs};
use crate::lines::{Kinds, Names};
use crate::tree::{Entry, printable};

const NOT_ASKED_FOR: &str = "they were not asked for";

/// The things that were left behind so far.
#[derive(Debug, Default)]
pub(super) struct LeftBehind {
    /// Entries that could not be read.
    failed: Kinds,
    /// Entries that were left out as it was asked for.
    chosen: Kinds,
    attributes: Kinds,
    twins: Kinds,
    times: Kinds,
}

impl LeftBehind {
    /// An entry of this path in the tree, printable.
    pub(super) fn skipped(&mut self, path: String, reason: &str) {
        let kinds = if reason.starts_with(LEADS_OUT) { &mut self.chosen } else { &mut self.failed };
        kinds.add(reason, path);
    }

    /// An entry that is sent, but for what a tree can't tell of it.
    pub(super) fn entry(&mut self, entry: &Entry, state: &State) {
        if state.is_twin {
            self.twins.add("", place(entry.path()));
        }
        if !matches!(entry, Entry::HardLink { .. }) {
            self.time(entry.mtime(), entry.path());
        }
    }

    /// A modification time, which is the first or the last that there is where it lies beyond that.
    pub(super) fn time(&mut self, mtime: i64, path: &[u8]) {
        if [i64::MIN, i64::MAX].contains(&mtime) {
            self.times.add("", place(path));
        }
    }

    /// The attributes that are sent with what is at `path`.
    pub(super) fn attributes(
        &mut self,
        options: &ReadOptions,
        path: &[u8],
        of: impl AsFd,
    ) -> xattrs::Attributes {
        let there = xattrs::names(&of);
        self.system_attributes(&there, path);
        if there.sendable.is_empty() {
            return Vec::new();
        }
        if !options.xattrs {
            self.attributes.add(NOT_ASKED_FOR, place(path));
            return Vec::new();
        }
        let (read, left) = xattrs::read(of, there.sendable);
        if left {
            self.attributes
                .add("there are too many, too long ones, or ones that can't be read", place(path));
        }
        read
    }

    /// The attributes of a file that is sent alone, which go with its description: `all` of them,
    /// or as many as fit.
    pub(super) fn attributes_of_file(
        &mut self,
        options: &ReadOptions,
        name: &[u8],
        of: impl AsFd,
        all: bool,
    ) {
        let there = xattrs::names(&of);
        self.system_attributes(&there, name);
        if !options.xattrs && !there.sendable.is_empty() {
            self.attributes.add(NOT_ASKED_FOR, place(name));
        } else if options.xattrs && !all {
            let why = "some can't be read, or there are more than 12 KiB of them, which is what a \
                       file that is sent alone may have; send the folder it lies in";
            self.attributes.add(why, place(name));
        }
    }

    fn system_attributes(&mut self, there: &xattrs::Names, path: &[u8]) {
        if there.has_system {
            self.attributes.add(
                "those of the system, such as capabilities (security.capability) and trusted.*, \
                 never are",
                place(path),
            );
        }
    }

    /// Puts lines for a person into the report.
    pub(super) fn tell(&self, report: &mut SourceReport) {
        let left_out = |names: &Names, why: &str| {
            format!("{}: {why}", names.with("was left out", "were left out"))
        };
        report.remarks = self.failed.lines(left_out).collect();
        report.failures = report.remarks.len();
        let attributes = self.attributes.lines(|names, why| {
            format!("extended attributes or ACLs of {names} were not sent: {why}")
        });
        let twins = self.twins.lines(|names, _| {
            names.with(
                "was sent as a link of its own, and no second name (hard link) of another",
                "were sent as links of their own, and no second names (hard links) of others",
            )
        });
        let times = self.times.lines(|names, _| {
            format!("the time of {names} was not sent as it is: it lies before 1678 or after 2261")
        });
        let chosen = self.chosen.lines(left_out);
        report.remarks.extend(chosen.chain(attributes).chain(twins).chain(times));
    }
}

fn place(path: &[u8]) -> String {
    if path.is_empty() { ".".into() } else { printable(path) }
}
