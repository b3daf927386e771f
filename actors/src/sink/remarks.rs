//! Notes about what is not as it was sent.
//!
//! Invariant: memory is bounded, however many entries a tree has: a line for each kind, with the
//! first few entries by name.

use std::collections::HashSet;
use std::fmt::Display;
use std::io;

use estafette::pipeline::Committed;
use rustix::io::Errno;

use crate::lines::{Kinds, Names};
use crate::tree::printable;

/// The number of entries that were left out which are known by their path.
const KNOWN: usize = 1000;

const KEPT: &str = "what was here of that which the sender could not read stays as it was";

/// A thing that the file system may not keep, or that this receiver does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Mode,
    Time,
    /// Rights that a program would run with.
    Special,
    /// An extended attribute, or a list of access.
    Extended,
    /// That it is one with another file.
    HardLink,
}

impl Attribute {
    const ALL: [Self; 5] = [Self::Mode, Self::Time, Self::Special, Self::Extended, Self::HardLink];

    fn line(self, names: &Names, why: &str) -> String {
        match self {
            Self::Mode => format!("the permissions of {names} are not kept: {why}"),
            Self::Time => format!("the times of {names} are not kept: {why}"),
            Self::Special => format!("setuid and setgid of {names} are not kept: {why}"),
            Self::Extended => format!("extended attributes or ACLs of {names} are not kept: {why}"),
            Self::HardLink => {
                let what = names.with(
                    "is a file of its own, and no second name (hard link) of another",
                    "are files of their own, and no second names (hard links) of others",
                );
                format!("{what}: {why}")
            }
        }
    }
}

/// The things that are not as they were sent.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    unset: [Kinds; Attribute::ALL.len()],
    left_out: Kinds,
    left_out_files: u64,
    /// The first that were left out by themselves, and not with their folder.
    known: HashSet<Vec<u8>>,
    /// The remarks of the sender.
    said: Vec<String>,
    /// Set if what the sender could not read may be here from before.
    keeps_unread: bool,
}

impl Remarks {
    /// An attribute of the entry at `path` that could not be set.
    pub(super) fn unset(&mut self, attribute: Attribute, path: &[u8], error: &dyn Display) {
        self.unset[attribute as usize].add(&error.to_string(), printable(path));
    }

    /// An entry that could not be made.
    pub(super) fn leave_out(&mut self, path: &[u8], is_file: bool, why: impl Display) {
        self.left_out_files += u64::from(is_file);
        self.left_out.add(&why.to_string(), printable(path));
        if self.known.len() < KNOWN {
            self.known.insert(path.to_vec());
        }
    }

    /// Something in a folder that was left out.
    pub(super) fn leave_out_with_folder(&mut self, path: &[u8], is_file: bool) {
        self.left_out_files += u64::from(is_file);
        self.left_out.add("the folder it lies in was left out", printable(path));
    }

    /// Returns `true` if what is at `path` may not be what was sent under it, since that was left
    /// out: alone or with a folder.
    pub(super) fn may_be_left_out(&self, path: &[u8]) -> bool {
        let mut ends = path
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        self.known.len() >= KNOWN || ends.any(|end| self.known.contains(&path[..end]))
    }

    /// A remark of the sender.
    pub(super) fn said(&mut self, text: String) {
        self.said.push(text);
    }

    /// Notes that what the sender could not read stays as it is here.
    pub(super) fn keep_unread(&mut self) {
        self.keeps_unread = true;
    }

    /// The number of entries that were left out.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out.total()
    }

    /// The number of these that are files.
    pub(super) fn left_out_files(&self) -> u64 {
        self.left_out_files
    }

    /// Lines for a person, a bounded number.
    pub(super) fn lines(&self) -> Vec<String> {
        let unset = Attribute::ALL.into_iter().zip(&self.unset);
        let unset =
            unset.flat_map(|(kind, unset)| unset.lines(move |names, why| kind.line(names, why)));
        let left_out = self.left_out.lines(left_out);
        let said = self.said.iter().map(|text| format!("{}{text}", Committed::SAID));
        let kept = self.keeps_unread.then(|| KEPT.to_owned());
        unset.chain(left_out).chain(said).chain(kept).collect()
    }
}

/// The line of what was left out.
fn left_out(names: &Names, why: &str) -> String {
    format!("{}: {why}", names.with("was left out", "were left out"))
}

/// Tells the log of a delivery that is not quite as it was sent.
pub(super) fn tell(committed: &Committed) {
    let place = &committed.place;
    committed
        .remarks
        .iter()
        .for_each(|remark| tracing::info!(%place, "it was delivered, but {remark}"));
}

/// Returns `true` if an attribute may stay as it is: anything but a disk that fails or is full.
pub(super) fn is_passable(error: &io::Error) -> bool {
    !matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::IO | Errno::NOSPC | Errno::DQUOT | Errno::BADF)
    )
}

/// Returns `true` if an entry could not be made because of its name or its kind, and not because of
/// the moment.
pub(super) fn cannot_hold(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(
            Errno::INVAL
                | Errno::ILSEQ
                | Errno::NAMETOOLONG
                | Errno::PERM
                | Errno::OPNOTSUPP
                | Errno::NOSYS
                | Errno::EXIST
                | Errno::FBIG
                | Errno::MLINK
        )
    )
}

/// The reason why an entry was left out, in words.
pub(super) fn why(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::EXIST) => "the file system takes it for a name that the tree has already; the \
                               names may differ only in upper and lower case"
            .into(),
        Some(Errno::FBIG) => "the file system holds no file so large".into(),
        Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {
            format!("the file system holds nothing of its kind ({error})")
        }
        _ => format!("the file system holds no such name ({error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_thousand_remarks_of_a_kind_are_one_line_with_a_count() {
        let mut remarks = Remarks::default();
        let error = io::Error::from(Errno::PERM);
        for number in 0..3000 {
            remarks.unset(Attribute::Mode, format!("a/{number}").as_bytes(), &error);
            remarks.leave_out(format!("b:{number}").as_bytes(), number % 2 == 0, "no such name");
        }
        let lines = remarks.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("permissions of a/0, a/1, a/2 and 2997 more"), "{}", lines[0]);
        assert_eq!(lines[1], "b:0, b:1, b:2 and 2997 more were left out: no such name");
        assert_eq!((remarks.left_out(), remarks.left_out_files()), (3000, 1500));
    }

    #[test]
    fn what_lies_in_something_left_out_is_left_out() {
        let mut remarks = Remarks::default();
        remarks.leave_out(b"a/b", false, "no such name");
        let left_out = |path: &[u8]| remarks.may_be_left_out(path);
        assert!(left_out(b"a/b") && left_out(b"a/b/c") && !left_out(b"a") && !left_out(b"a/bc"));
    }
}
