//! Files that this process has written or verified, and that nobody has touched since: nobody has
//! to read them again.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// The most files that are known; one more makes all be forgotten, which costs reading them.
const KNOWN: usize = 4096;

/// Modification and change, in seconds and nanoseconds, and the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp([i64; 4], u64);

/// Device and inode.
type Which = (u64, u64);

static SEEN: LazyLock<Mutex<HashMap<Which, Stamp>>> = LazyLock::new(Mutex::default);

fn look(file: &File) -> Option<(Which, Stamp)> {
    let there = file.metadata().ok()?;
    let times = [there.mtime(), there.mtime_nsec(), there.ctime(), there.ctime_nsec()];
    Some(((there.dev(), there.ino()), Stamp(times, there.size())))
}

fn seen() -> MutexGuard<'static, HashMap<Which, Stamp>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// It is left as what it is now.
pub(super) fn leave(file: &File) {
    if let Some((which, stamp)) = look(file) {
        let mut seen = seen();
        if seen.len() >= KNOWN {
            seen.clear();
        }
        seen.insert(which, stamp);
    }
}

/// Returns `true` if it has just so many bytes, and is what it was when it was left. Asked once:
/// whoever asks is about to change it.
pub(super) fn is_unchanged(file: &File, length: u64) -> bool {
    look(file)
        .is_some_and(|(which, stamp)| seen().remove(&which) == Some(stamp) && stamp.1 == length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_known_once_and_only_as_it_was_left() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"12345").unwrap();
        assert!(!is_unchanged(&file, 5), "nobody has left it");
        leave(&file);
        assert!(is_unchanged(&file, 5) && !is_unchanged(&file, 5));
        leave(&file);
        assert!(!is_unchanged(&file, 4));
        leave(&file);
        file.write_all(b"6").unwrap();
        assert!(!is_unchanged(&file, 6) && !is_unchanged(&file, 5));
    }
}
