//! Notes about what the file system of a folder could not keep.
//!
//! Invariant: memory is bounded, however many entries a tree has: a line for each kind, and the first few entries by name.

use std::fmt::Display;
use std::io;

use estafette::pipeline::Committed;
use rustix::io::Errno;

use crate::tree::printable;

/// How many left-out entries are named; further ones are counted.
const NAMED: usize = 16;

/// An attribute that a file system may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Mode,
    Time,
}

/// Attributes of one kind that could not be set.
#[derive(Debug, Default)]
struct Unset {
    entries: u64,
    first: Option<(String, String)>,
}

/// What is not as it was sent, because the file system does not keep it.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    modes: Unset,
    times: Unset,
    left_out: Vec<String>,
    left_out_total: u64,
    left_out_files: u64,
}

impl Remarks {
    /// An attribute of the entry at `path` that could not be set.
    pub(super) fn unset(&mut self, attribute: Attribute, path: &[u8], error: &io::Error) {
        let kind = match attribute {
            Attribute::Mode => &mut self.modes,
            Attribute::Time => &mut self.times,
        };
        kind.entries += 1;
        kind.first.get_or_insert_with(|| (printable(path), error.to_string()));
    }

    /// An entry that could not be made.
    pub(super) fn leave_out(&mut self, path: &[u8], is_file: bool, why: impl Display) {
        self.left_out_total += 1;
        self.left_out_files += u64::from(is_file);
        if self.left_out.len() < NAMED {
            self.left_out.push(format!("{} was left out: {why}", printable(path)));
        }
    }

    /// The number of entries that were left out.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out_total
    }

    /// How many of these are files.
    pub(super) fn left_out_files(&self) -> u64 {
        self.left_out_files
    }

    /// Lines for a person, a bounded number.
    pub(super) fn lines(&self) -> Vec<String> {
        let attributes = [("permissions", &self.modes), ("times", &self.times)].into_iter().filter_map(|(what, unset)| {
            let (path, error) = unset.first.as_ref()?;
            let others = match unset.entries {
                1 => String::new(),
                entries => format!(" and {} more", entries - 1),
            };
            Some(format!("the file system does not keep the {what} of {path}{others}: {error}"))
        });
        let unnamed = self.left_out_total.saturating_sub(self.left_out.len() as u64);
        let rest = (unnamed > 0).then(|| format!("{unnamed} more entries were left out"));
        attributes.chain(self.left_out.iter().cloned()).chain(rest).collect()
    }
}

/// Tells the log of a delivery that is not quite as it was sent.
pub(super) fn tell(committed: &Committed) {
    let place = &committed.place;
    committed.remarks.iter().for_each(|remark| tracing::warn!(%place, "it was delivered, but {remark}"));
}

/// Whether an attribute may stay as it is: anything but a disk that fails or is full.
pub(super) fn is_passable(error: &io::Error) -> bool {
    !matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::IO | Errno::NOSPC | Errno::DQUOT | Errno::BADF))
}

/// Whether an entry could not be made because of its name or its kind, and not because of the moment.
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

/// Why an entry was left out, in words.
pub(super) fn why(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::EXIST) => {
            "the file system takes it for a name that the tree has already; the names may differ only in upper and lower case".into()
        }
        Some(Errno::FBIG) => "the file system holds no file so large".into(),
        Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => format!("the file system holds nothing of its kind ({error})"),
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
        assert_eq!(lines.len(), 1 + NAMED + 1, "{lines:?}");
        assert!(lines[0].contains("permissions of a/0 and 2999 more"), "{}", lines[0]);
        assert_eq!(lines[NAMED + 1], format!("{} more entries were left out", 3000 - NAMED));
        assert_eq!((remarks.left_out(), remarks.left_out_files()), (3000, 1500));
    }
}
