//! The name of what steps aside for a moment, where no file system call swaps two entries.
//!
//! ```text
//! .estafette-TRANSFER-RANDOM.aside   the name in this folder of what is put aside
//! .estafette-TRANSFER-RANDOM.old     what was there under that name
//! ```
//!
//! Invariant: the note is on disk before its entry has another name, and goes after its successor is
//! there for good. So whoever finds one that nobody holds gives the name back, if nothing has it.

use std::fs::File;
use std::io::{self, Read, Write};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::home::{Home, PREFIX};

/// The end of the name of a note.
const NOTE: &str = ".aside";
/// The end of the name of what is put aside.
const OLD: &str = ".old";

/// Others who clean up at the same moment are few.
const TRIES: usize = 8;

/// Something that is put aside, noted on disk, and locked as long as this is held.
#[derive(Debug)]
pub(super) struct Aside {
    note: String,
    old: String,
    _held: File,
}

impl Aside {
    /// Notes that what `target` is steps aside for the temporary `staged`.
    pub(super) fn note(home: &Home, staged: &str, target: &[u8]) -> io::Result<Self> {
        let stem = staged.rsplit_once('.').map_or(staged, |(stem, _)| stem);
        let (note, old) = (format!("{stem}{NOTE}"), format!("{stem}{OLD}"));
        // An earlier try of the same delivery may have left one.
        restore(home, &note)?;
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        for _ in 0..TRIES {
            let mut held = File::from(rustix::fs::openat(home.dir(), &*note, flags, mode)?);
            // Somebody who cleans up may have found it before it was locked. A file system that
            // knows no locks is as good: there nobody cleans up.
            if lock(&held) == Err(Errno::WOULDBLOCK) || !home.is_at(&held, &note) {
                continue;
            }
            held.set_len(0)?;
            held.write_all(target)?;
            held.sync_all()?;
            home.sync()?;
            return Ok(Self { note, old, _held: held });
        }
        let text = "the note of what is to be replaced is removed by another process as soon as it \
                    is made";
        Err(io::Error::other(text))
    }

    /// The name under which it is meanwhile.
    pub(super) fn old(&self) -> &str {
        &self.old
    }

    /// Nothing is put aside any more.
    pub(super) fn forget(self, home: &Home) {
        forget(home, &self.note);
    }
}

/// Returns `true` for a name of a note.
pub(super) fn is_note(name: &str) -> bool {
    let middle = name.strip_prefix(".estafette-").and_then(|rest| rest.strip_suffix(NOTE));
    let hexadecimal =
        |part: &str| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    middle
        .and_then(|middle| middle.split_once('-'))
        .is_some_and(|(transfer, random)| hexadecimal(transfer) && hexadecimal(random))
}

/// Ends what a process that died had begun: what it put aside gets its name back, if nothing has it,
/// and goes if its successor is there. `false`, if nothing is noted, or somebody is about to do it.
pub(super) fn restore(home: &Home, note: &str) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let held = match rustix::fs::openat(home.dir(), note, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(false),
        held => File::from(held?),
    };
    // Where a file system knows no locks, nobody can tell. What is open and has lost its name is
    // somebody else's work that is done.
    if lock(&held).is_err() || !home.is_at(&held, note) {
        return Ok(false);
    }
    let mut target = Vec::new();
    // As long as a name may be, and a byte.
    held.take(256).read_to_end(&mut target)?;
    let old = note.strip_suffix(NOTE).unwrap_or(note).to_owned() + OLD;
    // One that was not written to its end tells of nothing that was put aside.
    if is_name(&target) && home.kind_of(old.as_bytes())?.is_some() {
        if home.kind_of(&target)?.is_none() {
            rustix::fs::renameat(home.dir(), &*old, home.dir(), &*target)?;
            tracing::warn!(
                place = %home.place(&target),
                "it was to be replaced when a process died, and is what it was before"
            );
        } else {
            home.remove(&old)?;
        }
        home.sync()?;
    }
    forget(home, note);
    Ok(true)
}

fn lock(note: &File) -> Result<(), Errno> {
    rustix::fs::flock(note, FlockOperation::NonBlockingLockExclusive)
}

fn is_name(target: &[u8]) -> bool {
    let is_one = !target.is_empty() && target.len() <= 255 && !target.contains(&b'/');
    is_one && !matches!(target, b"." | b"..") && !target.starts_with(PREFIX)
}

fn forget(home: &Home, note: &str) {
    let removed = rustix::fs::unlinkat(home.dir(), note, rustix::fs::AtFlags::empty());
    if let Err(error) = removed
        && error != Errno::NOENT
    {
        home.leftovers.add(note, false);
        tracing::warn!(%error, note, "a note of what was put aside could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_form_we_make_are_notes_and_only_names_of_entries_are_given_back() {
        assert!(is_note(".estafette-0123456789abcdef-0123456789abcdef.aside"));
        for other in [".estafette-notes.aside", "x.aside", ".estafette-../../../etc/x.aside"] {
            assert!(!is_note(other), "{other}");
        }
        assert!(is_name(b"photo") && is_name(b"\xff") && is_name(&[b'x'; 255]));
        for other in [&b""[..], b"..", b"a/b", b".estafette-x", &[b'x'; 256]] {
            assert!(!is_name(other), "{other:?}");
        }
    }
}
