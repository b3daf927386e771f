//! The version of a file, by which two states of it are told apart.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A difference between two [`FileVersion`]s that concerns the content, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The content is another one, or it is another file.
    Content(String),
    /// Nothing that tells of the content has changed; it has only if somebody put its time back.
    Perhaps(String),
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Content(how) | Self::Perhaps(how)) = self;
        f.write_str(how)
    }
}

/// The state of a file at one moment: two versions without a [difference](Self::difference) are, as
/// far as the file system tells, the same bytes.
///
/// The clock of a file system ticks in milliseconds: a file written to less than two seconds before
/// its version was taken can change again without a trace in `modified` or `changed`. Such a
/// version holds for the length of one attempt, and is nothing to resume by.
///
/// That a file got another name (a hard link), other permissions or another owner is no change of
/// its content, though it changes `changed`, too. Where that changes and none of these do, the
/// content may have been written with its time put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// The number of its names, its permissions, and its owner.
    attributes: [u64; 4],
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
            attributes: [
                metadata.nlink(),
                metadata.mode().into(),
                metadata.uid().into(),
                metadata.gid().into(),
            ],
        }
    }

    /// A number for this version of the file at `path`; `None` while the file is so young that it
    /// could change without a trace.
    ///
    /// By what can't change without the content, or somebody who puts the time back: what goes on
    /// with an older part and is of other content all the same has another digest, and is not
    /// committed.
    pub fn stamp(&self, path: &[u8]) -> Option<[u8; 32]> {
        let now = now();
        (is_settled(self.changed, now) || is_settled(self.modified, now)).then(|| {
            let mut hasher = blake3::Hasher::new_derive_key("estafette 2026 file version");
            for number in [self.device, self.inode, self.length, self.modified as u64] {
                hasher.update(&number.to_le_bytes());
            }
            *hasher.update(path).finalize().as_bytes()
        })
    }

    /// Describes, for a person, the first difference in `later` that concerns the content. Returns
    /// `None` if there is none.
    pub fn difference(&self, later: &Self) -> Option<Difference> {
        let content = |how: String| Some(Difference::Content(how));
        if (self.device, self.inode) != (later.device, later.inode) {
            return content("another file took its place".into());
        }
        if self.length != later.length {
            return content(format!(
                "its length went from {} to {} bytes",
                self.length, later.length
            ));
        }
        if self.modified != later.modified {
            return content("its content was modified".into());
        }
        let unexplained = self.changed != later.changed && self.attributes == later.attributes;
        let how = "something of it changed, and perhaps its content";
        unexplained.then(|| Difference::Perhaps(how.into()))
    }
}

/// Looks at a file now and then while it is read, so that what changes in the middle is known
/// before the end.
#[derive(Debug)]
pub(super) struct Watch {
    looked: Instant,
}

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Watch {
    pub(super) fn new() -> Self {
        Self { looked: Instant::now() }
    }

    /// The difference from `version` now, if it is time to look.
    pub(super) fn difference(&mut self, file: &File, version: &FileVersion) -> Option<Difference> {
        if self.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        self.looked = Instant::now();
        // One that can't be looked at is looked at when it ends.
        version.difference(&FileVersion::of(&file.metadata().ok()?))
    }
}

/// Returns `true` if what changed last at `changed` can't change again without a trace.
pub(super) fn is_settled(changed: i64, now: i64) -> bool {
    changed.saturating_add(SETTLED) <= now
}

/// In nanoseconds since the Unix epoch.
pub(super) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| i64::try_from(now.as_nanos()).unwrap_or(i64::MAX))
}

/// The age that the last change has to have, in nanoseconds.
const SETTLED: i64 = 2_000_000_000;

/// One number for seconds and nanoseconds; times beyond the years 1677 and 2262 become those.
pub(super) fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn another_name_or_other_permissions_are_no_change_and_all_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "content").unwrap();
        let version = || FileVersion::of(&std::fs::metadata(&path).unwrap());
        let first = version();
        // The clock of the file system has to go on, or nothing can be told apart.
        let ticks = |change: &dyn Fn()| {
            while version().changed == first.changed {
                change();
            }
        };
        ticks(&|| {
            let _ = std::fs::remove_file(folder.path().join("other"));
            std::fs::hard_link(&path, folder.path().join("other")).unwrap();
        });
        assert_eq!(
            (first.difference(&version()), first.stamp(b"x") == version().stamp(b"x")),
            (None, true)
        );
        let before = version();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(before.difference(&version()), None);

        // Written to, and the time put back.
        let before = version();
        while version().changed == before.changed {
            std::fs::write(&path, "another").unwrap();
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(UNIX_EPOCH + Duration::from_nanos(before.modified as u64))
                .unwrap();
        }
        let Some(Difference::Perhaps(_)) = before.difference(&version()) else { panic!() };
        std::fs::write(&path, "longer than before").unwrap();
        assert!(
            before
                .difference(&version())
                .unwrap()
                .to_string()
                .contains("its length went from 7 to 18")
        );
    }
}
