//! A temporary file that outlives its process, and the journal that tells of it.
//!
//! Invariant: the journal tells of the file as long as somebody may go on with it, and of nothing that is not durable. What is given up is
//! forgotten first and removed then: a crash in between leaves a file that nobody needs, and never a word of a file that is gone.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use estafette::delivery::{DigestFold, TransferId};
use estafette::pipeline::{Committed, Journal, Progress, SinkError, Summary};
use rustix::fs::Mode;

use super::home::{Home, Named, Temporary};
use super::limits::write_error;
use super::note::{Intent, Note, Writing};

#[derive(Debug)]
pub(super) struct Partial {
    journal: Journal,
    transfer: TransferId,
    file: File,
    noted: Writing,
    /// Whether the file's own name is durable.
    anchored: bool,
}

impl Partial {
    /// Makes a new file and notes it: what an earlier attempt noted is forgotten.
    pub(super) fn create(home: &Home, transfer: TransferId, mode: Mode, journal: Journal) -> std::io::Result<Self> {
        let (name, file) = home.create_file(transfer, Temporary::Keep, mode)?;
        let named = Named { inode: file.metadata()?.ino(), name };
        let digest = DigestFold::default().to_bytes();
        let noted = Writing { file: named, chunks: 0, length: 0, digest, staged: None };
        let partial = Self { journal, transfer, file, noted, anchored: false };
        match partial.note(Note::Writing(partial.noted.clone())) {
            Ok(()) => Ok(partial),
            Err(error) => {
                // Whether it is noted nobody knows; without content it is no loss.
                let _ = home.remove(partial.name());
                Err(error)
            }
        }
    }

    /// A file that an earlier attempt left, verified to have this `progress`, and locked.
    pub(super) fn reopened(transfer: TransferId, file: File, note: &Note, progress: &Progress, journal: Journal) -> Self {
        let Progress { chunks, length, ref digest } = *progress;
        let noted = Writing { file: note.file().clone(), chunks, length, digest: digest.to_bytes(), staged: note.staged().cloned() };
        Self { journal, transfer, file, noted, anchored: true }
    }

    /// Goes back to before the content was unpacked, and to before `note` if it is an intent.
    pub(super) fn go_back(&mut self, home: &Home, note: &Note) -> Result<(), SinkError> {
        if matches!(note, Note::Intent(_)) {
            self.say(home, Note::Writing(self.noted.clone()))?;
        }
        // Noted until it is gone.
        self.noted.staged.take().iter().for_each(|staged| remove(home, staged));
        Ok(())
    }

    pub(super) fn transfer(&self) -> TransferId {
        self.transfer
    }

    pub(super) fn name(&self) -> &str {
        &self.noted.file.name
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Makes durable what was written, and notes what of it has no hole.
    pub(super) fn checkpoint(&mut self, home: &Home, progress: &Progress) -> Result<(), SinkError> {
        let failed = |error| write_error(home, home.place(self.noted.file.name.as_bytes()), progress.length, error);
        self.file.sync_data().map_err(failed)?;
        if !self.anchored {
            home.sync().map_err(failed)?;
        }
        self.anchored = true;
        let Progress { chunks, length, ref digest } = *progress;
        self.noted = Writing { chunks, length, digest: digest.to_bytes(), ..self.noted.clone() };
        self.say(home, Note::Writing(self.noted.clone()))
    }

    /// Notes the folder that the content is unpacked into, which is to go when it is not finished.
    pub(super) fn unpack_into(&mut self, home: &Home, staged: Named) -> Result<(), SinkError> {
        self.noted.staged = Some(staged);
        self.say(home, Note::Writing(self.noted.clone()))
    }

    /// Notes the rename to `target` that comes next. All that it makes visible must be durable.
    pub(super) fn intend(&self, home: &Home, target: &[u8], summary: &Summary, committed: Committed) -> Result<(), SinkError> {
        let Writing { file, staged, .. } = self.noted.clone();
        self.say(home, Note::Intent(Intent { file, staged, target: target.to_vec(), summary: *summary, committed }))
    }

    /// Forgets and removes it.
    pub(super) fn discard(self, home: &Home) {
        let place = home.place(self.name().as_bytes());
        if let Err(error) = self.journal.clear() {
            // Were it removed now, a noted intent would tell that it is committed.
            tracing::error!(%place, %error, "the note about a delivery that was given up can't be removed, so its file stays");
            return;
        }
        let Writing { file, staged, .. } = &self.noted;
        for name in staged.iter().chain([file]) {
            remove(home, name);
        }
    }

    fn say(&self, home: &Home, note: Note) -> Result<(), SinkError> {
        let what = || format!("its note about {}", home.place(self.name().as_bytes()));
        self.note(note).map_err(|error| SinkError::Write { what: what(), error })
    }

    fn note(&self, note: Note) -> std::io::Result<()> {
        self.journal.note(&note.encode().map_err(std::io::Error::other)?)
    }
}

/// Removes a temporary, if it still is what it was.
pub(super) fn remove(home: &Home, named: &Named) {
    let removed = home.is_inode(named.name.as_bytes(), named.inode).and_then(|is| if is { home.remove(&named.name) } else { Ok(()) });
    if let Err(error) = removed {
        tracing::warn!(place = %home.place(named.name.as_bytes()), %error, "could not remove a temporary");
    }
}
