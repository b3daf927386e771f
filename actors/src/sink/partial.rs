//! A temporary file that outlives its process, and the journal that tells of it.
//!
//! Invariant: the journal tells of the file as long as it is there under the name that outlives
//! processes, and of nothing that is not durable. The file gets that name when it is noted, and
//! what is given up is removed first and forgotten then: a crash in between leaves a word of a file
//! that is gone, and never a file that nobody knows of. Only an intent without its file means
//! something, so it is taken back first.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use estafette::delivery::TransferId;
use estafette::pipeline::{Committed, Journal, Progress, SinkError, Summary};
use rustix::fs::Mode;

use super::home::{Home, Named, Temporary};
use super::limits::write_error;
use super::note::{Intent, Note, Writing};
use super::publish::{Taking, give_back};
use super::seen;
use super::sparse;

#[derive(Debug)]
pub(super) struct Partial {
    journal: Journal,
    transfer: TransferId,
    file: File,
    noted: Writing,
    /// Set once the file's own name is durable.
    anchored: bool,
}

impl Partial {
    /// Makes a new file and notes it: what an earlier attempt noted is forgotten.
    pub(super) fn create(
        home: &Home,
        transfer: TransferId,
        mode: Mode,
        journal: Journal,
    ) -> std::io::Result<Self> {
        let (name, file) = home.create_file(transfer, Temporary::Part, mode)?;
        let named = named(home, &name, file.metadata())?;
        let noted = Writing::nothing(named, None);
        let partial = Self { journal, transfer, file, noted, anchored: false };
        let kept = partial
            .note(Note::Writing(partial.noted.clone()))
            .and_then(|()| home.keep(&name, partial.name()));
        if kept.is_err() {
            // It goes with this process at the latest.
            let _ = home.remove(&name);
        }
        kept.map(|()| partial)
    }

    /// A file that an earlier attempt left, verified to have this `progress`, and locked.
    pub(super) fn reopened(
        transfer: TransferId,
        file: File,
        note: &Note,
        progress: &Progress,
        journal: Journal,
    ) -> Self {
        let Progress { chunks, length, ref digest } = *progress;
        let noted = Writing {
            file: note.file().clone(),
            chunks,
            length,
            digest: digest.to_bytes(),
            staged: note.staged().cloned(),
        };
        Self { journal, transfer, file, noted, anchored: true }
    }

    /// Goes back to before the content was unpacked, and to before `note` if it is an intent.
    pub(super) fn go_back(&mut self, home: &Home, note: &Note) -> Result<(), SinkError> {
        if let Note::Intent(intent) = note {
            if intent.reserved {
                give_back(home, &intent.target);
            }
            self.say(home, Note::Writing(self.noted.clone()))?;
            home.uncomplete(self.name()).map_err(|error| self.failed(home, error))?;
        }
        // Noted until it is gone for good.
        if let Some(staged) = self.noted.staged.clone() {
            if !home.remove_kept(&staged) {
                let error = std::io::Error::other(
                    "an earlier attempt has unpacked it, and that can't be removed",
                );
                return Err(SinkError::Write { what: home.place(staged.name.as_bytes()), error });
            }
            home.sync().map_err(|error| self.failed(home, error))?;
            self.noted.staged = None;
        }
        Ok(())
    }

    /// Returns `true` if no later attempt can go on with it.
    pub(super) fn is_passing(&self) -> bool {
        self.journal.is_passing()
    }

    pub(super) fn name(&self) -> &str {
        &self.noted.file.name
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Makes durable what was written, and notes what of it has no hole.
    pub(super) fn checkpoint(&mut self, home: &Home, progress: &Progress) -> Result<(), SinkError> {
        if self.is_passing() {
            return Ok(());
        }
        let failed = |error| {
            write_error(home, home.place(self.noted.file.name.as_bytes()), progress.length, error)
        };
        // It may end in a hole.
        sparse::extend(&self.file, progress.length).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        if !self.anchored {
            home.sync().map_err(failed)?;
        }
        self.anchored = true;
        let Progress { chunks, length, ref digest } = *progress;
        self.noted = Writing { chunks, length, digest: digest.to_bytes(), ..self.noted.clone() };
        self.say(home, Note::Writing(self.noted.clone()))
    }

    /// Makes the folder that the content is unpacked into, which is to go when it is not finished.
    pub(super) fn unpack_into(&mut self, home: &Home) -> Result<(String, File), SinkError> {
        let failed =
            |error| write_error(home, home.place(self.noted.file.name.as_bytes()), 0, error);
        let (name, root) = home.create_tree(self.transfer, Temporary::Tree).map_err(failed)?;
        let staged = named(home, &name, root.metadata()).map_err(failed)?;
        self.noted.staged = Some(staged.clone());
        let kept = self
            .say(home, Note::Writing(self.noted.clone()))
            .and_then(|()| home.keep(&name, &staged.name).map_err(failed));
        if kept.is_err() {
            // It goes with this process at the latest.
            let _ = home.remove(&name);
        }
        kept.map(|()| (staged.name, root))
    }

    /// Notes the rename to `target` that comes next. All that it makes visible must be durable.
    pub(super) fn intend(
        &self,
        home: &Home,
        target: &[u8],
        taking: Taking,
        summary: &Summary,
        committed: Committed,
    ) -> Result<(), SinkError> {
        let Writing { file, staged, .. } = self.noted.clone();
        let folder = Some(home.id().map_err(|error| self.failed(home, error))?);
        self.say(
            home,
            Note::Intent(Intent {
                file,
                staged,
                target: target.to_vec(),
                summary: *summary,
                committed,
                reserved: taking == Taking::Reserved,
                folder,
            }),
        )
    }

    /// Leaves it to a later attempt, which need not read what is noted if nothing lies behind it.
    pub(super) fn leave(self) {
        if self.file.metadata().is_ok_and(|there| there.len() == self.noted.length) {
            seen::leave(&self.file);
        }
    }

    /// Removes and forgets it.
    pub(super) fn discard(self, home: &Home) {
        // As soon as its file is gone, the next attempt would note its own, which is not what is to
        // be forgotten.
        let _lock = lock_transfer(self.transfer);
        release(home, &self.journal, &Note::Writing(self.noted.clone()));
    }

    fn failed(&self, home: &Home, error: std::io::Error) -> SinkError {
        write_error(home, home.place(self.name().as_bytes()), 0, error)
    }

    fn say(&self, home: &Home, note: Note) -> Result<(), SinkError> {
        let what = || format!("its note about {}", home.place(self.name().as_bytes()));
        self.note(note).map_err(|error| SinkError::Write { what: what(), error })
    }

    fn note(&self, note: Note) -> std::io::Result<()> {
        write_note(&self.journal, note)
    }
}

/// The temporary that was just made, as a note tells of it. One that can't be looked at goes.
fn named(home: &Home, name: &str, looked_at: std::io::Result<Metadata>) -> std::io::Result<Named> {
    let made = looked_at.inspect_err(|_| {
        // It goes with this process at the latest.
        let _ = home.remove(name);
    })?;
    Ok(Named { inode: made.ino(), name: Temporary::Keep.named(name) })
}

/// Between reading a note and writing another, and while one is forgotten, a transfer's attempts
/// take turns.
pub(super) type TransferLock = MutexGuard<'static, ()>;

pub(super) fn lock_transfer(transfer: TransferId) -> TransferLock {
    static LOCKS: [Mutex<()>; 16] = [const { Mutex::new(()) }; 16];
    LOCKS[usize::from(transfer.as_bytes()[0] % 16)].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what a note tells of, and the note after it, so that nothing stays that nobody knows of.
/// Under the transfer's lock. Returns whether nothing of it is kept any more: else the note stays,
/// too, and so it can be tried again.
pub(super) fn release(home: &Home, journal: &Journal, noted: &Note) -> bool {
    let place = home.place(noted.file().name.as_bytes());
    // Not an intent any more: without its file, that would tell that it was carried out. And
    // nothing to go on with.
    if let Err(error) = write_note(
        journal,
        Note::Writing(Writing::nothing(noted.file().clone(), noted.staged().cloned())),
    ) {
        tracing::error!(
            %place, %error,
            "the note about a delivery that was given up can't be changed, so its file stays"
        );
        return false;
    }
    if let Note::Intent(intent) = noted
        && intent.reserved
    {
        give_back(home, &intent.target);
    }
    let kept = noted
        .staged()
        .into_iter()
        .chain([noted.file()])
        .filter(|old| !home.remove_kept(old))
        .count();
    if kept > 0 {
        return false;
    }
    // Before the note: after a loss of power nothing may come back that nobody knows of.
    if let Err(error) = home.sync().and_then(|()| journal.clear()) {
        tracing::warn!(
            %place, %error,
            "the note about a delivery that was given up stays until the delivery expires"
        );
    }
    true
}

pub(super) fn write_note(journal: &Journal, note: Note) -> std::io::Result<()> {
    journal.note(&note.encode().map_err(std::io::Error::other)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_temporary_that_can_not_be_looked_at_when_it_is_made_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), Default::default()).unwrap();
        let transfer = TransferId::from_bytes([1; 24]);
        let (file, _open) = home.create_file(transfer, Temporary::Part, Mode::RWXU).unwrap();
        let (tree, _open) = home.create_tree(transfer, Temporary::Tree).unwrap();
        for name in [&file, &tree] {
            named(&home, name, Err(Errno::IO.into())).unwrap_err();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
