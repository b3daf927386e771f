//! The one task that writes: all that waits goes into one write of the spool, and what depends on
//! it follows when that is durable.
//!
//! Invariant: changes become durable in the order they were put in. What the store refuses is tried
//! again until it takes it, except letters that are still to be accepted: those are refused to
//! their sender.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Letters;
use crate::store::Change;
use crate::store::blocking::surely;

/// Bytes after which a write takes no more changes.
const WRITE: usize = 4 << 20;
/// The wait before a store that failed is tried again.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// Changes that are made together, or not at all.
pub(super) struct Unit {
    pub(super) changes: Vec<Change>,
    pub(super) then: Then,
}

type Made = Box<dyn FnOnce(&Arc<Letters>) + Send>;
type Tried = Box<dyn FnOnce(&Arc<Letters>, Result<(), &io::Error>) + Send>;

/// The work that follows a change.
pub(super) enum Then {
    /// It is made, sooner or later.
    Surely(Made),
    /// It is made now or never.
    Perhaps(Tried),
}

impl Unit {
    fn bytes(&self) -> usize {
        let bytes = |change: &Change| match change {
            Change::Put { key, value, .. } => key.len() + value.len(),
            Change::Remove { key, .. } => key.len(),
        };
        self.changes.iter().map(bytes).sum::<usize>() + 64
    }
}

/// Changes that wait.
#[derive(Default)]
pub(super) struct Waiting {
    units: VecDeque<Unit>,
    /// Some are being written.
    writing: bool,
}

impl Waiting {
    /// The changes of the next write.
    fn take(&mut self) -> Vec<Unit> {
        let mut bytes = 0;
        let fitting = self.units.iter().take_while(|unit| {
            let fits = bytes == 0 || bytes + unit.bytes() <= WRITE;
            bytes += unit.bytes();
            fits
        });
        let count = fitting.count();
        self.writing = count > 0;
        self.units.drain(..count).collect()
    }

    fn put_back(&mut self, units: Vec<Unit>) {
        units.into_iter().rev().for_each(|unit| self.units.push_front(unit));
    }

    /// Returns `true` if all that was put in is durable.
    pub(super) fn is_idle(&self) -> bool {
        self.units.is_empty() && !self.writing
    }
}

/// Ends all waiting when the task does, however it ends.
struct Guard(Arc<Letters>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Writes as long as the node runs.
pub(super) async fn run(letters: Arc<Letters>) {
    let guard = Guard(letters);
    let letters = &guard.0;
    loop {
        let units = letters.waiting().take();
        if units.is_empty() {
            letters.wrote.notify_waiters();
            letters.filled.notified().await;
            continue;
        }
        let changes: Vec<Change> =
            units.iter().flat_map(|unit| unit.changes.iter().cloned()).collect();
        let spool = Arc::clone(&letters.spool);
        let written = surely(move || spool.write(changes))
            .await
            .map_err(io::Error::other)
            .and_then(|written| written);
        match written {
            Ok(()) => units.into_iter().for_each(|unit| match unit.then {
                Then::Surely(then) => then(letters),
                Then::Perhaps(then) => then(letters, Ok(())),
            }),
            Err(error) => {
                refuse(letters, units, &error);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

fn refuse(letters: &Arc<Letters>, units: Vec<Unit>, error: &io::Error) {
    let mut kept = Vec::new();
    for unit in units {
        match unit.then {
            Then::Perhaps(then) => then(letters, Err(error)),
            Then::Surely(_) => kept.push(unit),
        }
    }
    if !kept.is_empty() {
        tracing::error!(
            %error, changes = kept.len(),
            "the spool did not take what has become of letters; it is tried again"
        );
        letters.waiting().put_back(kept);
    }
}

impl Letters {
    /// Has changes made; `then` follows when they are durable.
    pub(super) fn write(
        &self,
        changes: Vec<Change>,
        then: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) {
        self.put_in(Unit { changes, then: Then::Surely(Box::new(then)) });
    }

    /// Has changes made now or never.
    pub(super) fn try_write(
        &self,
        changes: Vec<Change>,
        then: impl FnOnce(&Arc<Self>, Result<(), &io::Error>) + Send + 'static,
    ) {
        self.put_in(Unit { changes, then: Then::Perhaps(Box::new(then)) });
    }

    fn put_in(&self, unit: Unit) {
        self.waiting().units.push_back(unit);
        self.filled.notify_one();
    }
}
