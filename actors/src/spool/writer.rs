//! The thread that writes: takes all that waits, makes one transaction of it, and tells everybody
//! how it went.
//!
//! Invariant: who is told `Ok` has had a sync after the last byte of its write.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::database::{Opened, Trial, apply, commits, unreadable};
use super::failure::{Failure, guarded, is_full};
use super::medium::{Act, Medium, Trouble};
use super::place::Place;
use super::queue::{Queue, Step, Write};
use super::record;

/// The state that the writer and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) medium: Medium,
    pub(super) queue: Queue,
    pub(super) commits: AtomicU64,
    opened: RwLock<Arc<Opened>>,
    place: Option<Place>,
    /// The reason why nothing more is written.
    dead: OnceLock<Failure>,
}

impl Shared {
    pub(super) fn new(medium: Medium, opened: Opened, place: Option<Place>) -> Self {
        let opened = RwLock::new(Arc::new(opened));
        Self {
            medium,
            queue: Queue::default(),
            commits: AtomicU64::new(0),
            opened,
            place,
            dead: OnceLock::new(),
        }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(&self) {
        while let Some(writes) = self.queue.take() {
            // What is in a file that has no name any more was not kept.
            let outcome = self.commit(&writes).and_then(|()| self.lost().map_or(Ok(()), Err));
            for write in writes {
                // Who does not wait for the answer does not want it.
                let _ = write.answer.send(outcome.clone());
            }
        }
    }

    /// Reads from the database. If it cannot be read any more because of what has happened to it,
    /// it is opened again, once.
    pub(super) fn read<T>(
        &self,
        work: impl Fn(&redb::Database) -> Result<T, redb::Error>,
    ) -> io::Result<T> {
        let opened = self.opened();
        if let Ok(value) = guarded(|| work(&opened.database)) {
            return Ok(value);
        }
        let opened = self.reopen(&opened).map_err(|trial| self.unreadable(&trial))?;
        guarded(|| work(&opened.database))
            .map_err(|text| self.unreadable(&Trial::new(&opened.watch, text)))
    }

    fn opened(&self) -> Arc<Opened> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn commit(&self, writes: &[Write]) -> Result<(), Failure> {
        if let Some(dead) = self.dead.get() {
            return Err(dead.clone());
        }
        let mut opened = self.opened();
        if opened.overlay {
            opened = self.reopen(&opened).map_err(|trial| self.unwritten(&trial, writes))?;
        }
        if opened.overlay {
            let trial = opened.watch.trouble().map_or_else(
                || Trial::Damage("it could not be opened to write".to_owned()),
                Trial::Medium,
            );
            return Err(self.unwritten(&trial, writes));
        }
        let before = guarded(|| commits(&opened.database));
        let steps = writes.iter().flat_map(|write| &write.steps);
        let Err(text) = guarded(|| apply(&opened.database, steps)) else {
            self.commits.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        };
        let trial = Trial::new(&opened.watch, text);
        if trial.is_final() {
            let failure = self.unwritten(&trial, writes);
            // Those who read do it, too, if it does not succeed now, and hear why.
            let _ = self.reopen(&opened);
            return Err(failure);
        }
        match self.reopen(&opened) {
            // What failed came after the commit, when redb tidied up.
            Ok(opened) if before.is_ok_and(|before| self.has_commit(&opened, before + 1)) => {
                self.commits.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
            _ => Err(self.unwritten(&trial, writes)),
        }
    }

    /// Returns `true` if a commit is in a database that was opened again, and on the disk.
    fn has_commit(&self, opened: &Opened, number: u64) -> bool {
        guarded(|| commits(&opened.database)).is_ok_and(|last| last >= number)
            && (!opened.overlay || self.medium.sync().is_ok())
    }

    /// The failure for those whose writes failed; decides if more may be tried.
    fn unwritten(&self, trial: &Trial, writes: &[Write]) -> Failure {
        let (name, steps) =
            (&self.medium.name, writes.iter().map(|write| write.steps.len()).sum::<usize>());
        let bytes: usize = writes.iter().flat_map(|write| &write.steps).map(Step::bytes).sum();
        let what = if steps == 0 {
            name.clone()
        } else {
            format!("{steps} changes ({bytes} bytes) were not kept in {name}")
        };
        let failure = match trial {
            Trial::Medium(Trouble { act: Act::Write, kind, text }) if is_full(*kind) => {
                let text = format!(
                    "{what}: the disk is full ({text}); none of them was made, and the spool goes \
                     on: free some space there"
                );
                Failure::new(ErrorKind::StorageFull, text)
            }
            Trial::Medium(Trouble { act: Act::Read, kind, text }) => {
                Failure::new(*kind, format!("{what}: {text}"))
            }
            Trial::Medium(Trouble { kind, text, .. }) => {
                let then = "what the disk has of the last changes is unknown. Nothing more will \
                            be written to this spool: look after the disk, then start again";
                Failure::new(*kind, format!("{what}: the disk failed ({text}); {then}"))
            }
            Trial::Damage(text) => {
                let then = "Nothing more will be written to this spool; `estafette doctor` can \
                            set the damaged file aside and keep what is readable";
                Failure::new(
                    ErrorKind::InvalidData,
                    format!("{what}: it is damaged ({text}). {then}"),
                )
            }
        };
        if trial.is_final() { self.die(failure) } else { failure }
    }

    /// The reason why nothing more is written, if that is so.
    pub(super) fn failure(&self) -> Option<String> {
        let lost = if self.dead.get().is_none() { self.lost() } else { None };
        self.dead.get().or(lost.as_ref()).map(|failure| failure.text().to_owned())
    }

    /// The reason why nothing more is written, if somebody has taken the files away.
    fn lost(&self) -> Option<Failure> {
        let lost = self.place.as_ref().and_then(Place::lost)?;
        Some(self.die(lost))
    }

    fn die(&self, failure: Failure) -> Failure {
        if self.dead.set(failure.clone()).is_ok() {
            tracing::error!(
                spool = self.medium.name,
                "the spool takes nothing more: {}",
                failure.text()
            );
        }
        failure
    }

    fn unreadable(&self, trial: &Trial) -> io::Error {
        unreadable(&self.medium, trial)
    }

    /// Puts a newly opened database in the place of one that has failed, if nobody else has done
    /// so.
    fn reopen(&self, failed: &Arc<Opened>) -> Result<Arc<Opened>, Trial> {
        let mut place = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&place, failed) {
            return Ok(place.clone());
        }
        failed.watch.shut();
        let opened = if self.dead.get().is_some() {
            Opened::overlay(&self.medium)
        } else {
            self.open_again()
        };
        *place = Arc::new(opened?);
        Ok(place.clone())
    }

    /// Opens the database to read and write, or only to read if the disk does not let it be
    /// written.
    fn open_again(&self) -> Result<Opened, Trial> {
        match Opened::open(&self.medium) {
            Ok((opened, damaged)) => {
                report(&self.medium.name, &damaged);
                Ok(opened)
            }
            Err(Trial::Medium(trouble)) if trouble.act != Act::Read => {
                let opened = Opened::overlay(&self.medium)?;
                opened.watch.blame(trouble);
                Ok(opened)
            }
            Err(trial) => {
                if matches!(trial, Trial::Damage(_)) {
                    self.unwritten(&trial, &[]);
                }
                Opened::overlay(&self.medium).map_err(|_| trial)
            }
        }
    }

    /// Closes the database; the writer and all readers are gone.
    pub(super) fn close(self) {
        let opened = self.opened.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some(opened) = Arc::into_inner(opened) else { return };
        if let (false, Err(error)) = (opened.overlay, guarded(|| Ok(opened.database.close()?))) {
            // Nothing acknowledged is lost: what the close adds makes the next start faster.
            tracing::warn!(
                spool = self.medium.name, %error,
                "the spool was not closed in order, the next start will look it through"
            );
        }
    }
}

/// Tells of records that were set aside.
pub(super) fn report(name: &str, damaged: &[Vec<u8>]) {
    for key in damaged {
        let record = record::name_of(key);
        tracing::error!(
            spool = name,
            record,
            "a record is damaged and was set aside; what it said must be said again"
        );
    }
}
