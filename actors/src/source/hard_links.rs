//! Detection of hard links: several names of one file in a tree.
//!
//! Invariant: memory is bounded, however many files have several names.

use std::collections::HashMap;

use rustix::fs::Stat;

use crate::tree::TreePath;

/// Bytes that are kept of paths, about; a file that finds no room is sent once for each of its
/// names.
const ROOM: usize = 64 << 20;
/// The bytes that an entry takes besides its path, about.
const OVERHEAD: usize = 128;

/// The first names of files that have several.
#[derive(Debug, Default)]
pub(super) struct HardLinks {
    firsts: HashMap<(u64, u64), First>,
    used: usize,
}

#[derive(Debug)]
struct First {
    path: TreePath,
    /// Length, and modification in seconds and nanoseconds.
    state: [i64; 3],
}

impl HardLinks {
    /// The name under which the file was sent, if it has several and is what it was then; else this
    /// is the one.
    pub(super) fn seen(&mut self, path: &TreePath, stat: &Stat) -> Option<TreePath> {
        if stat.st_nlink < 2 {
            return None;
        }
        let state = [stat.st_size, stat.st_mtime, stat.st_mtime_nsec as i64];
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.firsts.get(&key).filter(|first| first.state == state) {
            return Some(first.path.clone());
        }
        self.forget(key);
        let size = path.as_bytes().len() + OVERHEAD;
        if self.used + size <= ROOM {
            self.used += size;
            self.firsts.insert(key, First { path: path.clone(), state });
        }
        None
    }

    /// The file of this device and inode did not come to be sent.
    pub(super) fn forget(&mut self, key: (u64, u64)) {
        if let Some(first) = self.firsts.remove(&key) {
            self.used -= first.path.as_bytes().len() + OVERHEAD;
        }
    }
}
