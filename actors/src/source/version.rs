//! What tells two states of one file apart.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// The state of a file at one moment: two equal versions are, as far as the file system tells, the same bytes.
///
/// The clock of a file system ticks in milliseconds: a file written to less than two seconds before its version was taken can change again
/// without a trace in `modified` or `changed`. Such a version holds for the length of one attempt, and is nothing to resume by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    /// Device of the file system.
    pub device: u64,
    /// Number of the inode.
    pub inode: u64,
    /// Length in bytes.
    pub length: u64,
    /// Modification time in nanoseconds since the Unix epoch.
    pub modified: i64,
    /// Time of the last change to content or attributes, in nanoseconds since the Unix epoch.
    pub changed: i64,
}

impl FileVersion {
    /// The version that `metadata` tells of.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// A number for this version of the file at `path`; `None` while the file is so young that it could change without a trace.
    pub fn stamp(&self, path: &[u8]) -> Option<[u8; 32]> {
        is_settled(self.changed, now()).then(|| {
            let mut hasher = blake3::Hasher::new_derive_key("estafette 2026 file version");
            for number in [self.device, self.inode, self.length, self.modified as u64, self.changed as u64] {
                hasher.update(&number.to_le_bytes());
            }
            *hasher.update(path).finalize().as_bytes()
        })
    }

    /// What differs in `later`, for a person; `None` when nothing does.
    pub fn difference(&self, later: &Self) -> Option<String> {
        if (self.device, self.inode) != (later.device, later.inode) {
            return Some("another file took its place".into());
        }
        if self.length != later.length {
            return Some(format!("its length went from {} to {} bytes", self.length, later.length));
        }
        if self.modified != later.modified {
            return Some("its content was modified".into());
        }
        (self.changed != later.changed).then(|| "its attributes or its links changed, and perhaps its content".into())
    }
}

/// Whether what changed last at `changed` can't change again without a trace.
pub(super) fn is_settled(changed: i64, now: i64) -> bool {
    changed.saturating_add(SETTLED) <= now
}

/// In nanoseconds since the Unix epoch.
pub(super) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_nanos()).unwrap_or(i64::MAX))
}

/// How old the last change has to be, in nanoseconds.
const SETTLED: i64 = 2_000_000_000;

/// One number for seconds and nanoseconds; times beyond the years 1677 and 2262 become those.
pub(super) fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
