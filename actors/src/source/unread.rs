//! Entries of a tree that are there and could not be read: they are not gone for that.
//!
//! Invariant: memory is bounded. Beyond what is named, nothing of the tree counts as gone.

use rustix::io::Errno;

use crate::tree::{UNREAD, UNREAD_BYTES};

/// The paths of what could not be read so far.
#[derive(Debug, Default)]
pub(super) struct Unread {
    paths: Vec<Vec<u8>>,
    bytes: usize,
    /// Set if there are more than are named.
    has_more: bool,
}

impl Unread {
    /// The entry at `path` in the tree, unless this error says that nothing is there, or something
    /// else.
    pub(super) fn add(&mut self, path: &[u8], error: Errno) {
        if matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) {
            return;
        }
        // One more may follow, which stands for all.
        if self.paths.len() + 1 >= UNREAD || self.bytes + path.len() > UNREAD_BYTES {
            self.has_more = true;
            return;
        }
        self.bytes += path.len();
        self.paths.push(path.to_vec());
    }

    /// The paths; an empty one where there are more.
    pub(super) fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.paths.iter().map(|path| &**path).chain(self.has_more.then_some(&[][..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_not_unread_and_more_than_are_named_stand_for_all() {
        let mut unread = Unread::default();
        for gone in [Errno::NOENT, Errno::NOTDIR, Errno::LOOP] {
            unread.add(b"gone", gone);
        }
        assert_eq!(unread.paths().count(), 0);
        for number in 0..UNREAD - 1 {
            unread.add(format!("{number}").as_bytes(), Errno::ACCESS);
        }
        assert!(unread.paths().count() == UNREAD - 1 && unread.paths().all(|path| path != b""));
        unread.add(b"more", Errno::IO);
        unread.add(b"and more", Errno::IO);
        assert_eq!((unread.paths().count(), unread.paths().last()), (UNREAD, Some(&b""[..])));
        let mut long = Unread::default();
        for _ in 0..100 {
            long.add(&[b'x'; 4000], Errno::IO);
        }
        assert!(long.paths().map(<[u8]>::len).sum::<usize>() <= UNREAD_BYTES);
        assert_eq!(long.paths().last(), Some(&b""[..]));
    }
}
