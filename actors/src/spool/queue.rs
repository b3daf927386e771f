//! The queue of the writer: whole writes, in the order in which they came.
//!
//! Invariant: at most [`Spool::WAITING_LIMIT`] writes with at most [`Spool::WRITE_LIMIT`] bytes
//! wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Spool;
use super::failure::Failure;

/// A change as the database is to see it.
#[derive(Debug)]
pub(super) enum Step {
    Put {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Remove {
        key: Vec<u8>,
    },
    /// Moves a record to the damaged ones, if it is still no good.
    SetAside {
        key: Vec<u8>,
    },
}

impl Step {
    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Remove { key } | Self::SetAside { key } => key,
        }
    }

    /// The bytes that it takes while it waits.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Put { key, value } => key.len() + value.len(),
                Self::Remove { key } | Self::SetAside { key } => key.len(),
            }
    }
}

/// Steps to make all or none, and who wants to hear of it.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) steps: Vec<Step>,
    pub(super) bytes: usize,
    pub(super) answer: oneshot::Sender<Result<(), Failure>>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// There is something to take, or never will be.
    filled: Condvar,
    /// There is room again.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    writes: Vec<Write>,
    bytes: usize,
    closed: bool,
}

impl Waiting {
    fn has_room(&self, bytes: usize) -> bool {
        self.writes.len() < Spool::WAITING_LIMIT && self.bytes + bytes <= Spool::WRITE_LIMIT
    }

    fn push(&mut self, write: Write) {
        self.bytes += write.bytes;
        self.writes.push(write);
    }
}

impl Queue {
    /// Appends `write` when there is room. One that is larger than all the room there is must not
    /// come here.
    pub(super) fn push(&self, write: Write) {
        let mut waiting = self.lock();
        while !waiting.has_room(write.bytes) {
            waiting = self.emptied.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.push(write);
        self.filled.notify_one();
    }

    /// Appends `write` if there is room now; otherwise says how many writes and bytes wait.
    pub(super) fn try_push(&self, write: Write) -> Result<(), (usize, usize)> {
        let mut waiting = self.lock();
        if !waiting.has_room(write.bytes) {
            return Err((waiting.writes.len(), waiting.bytes));
        }
        waiting.push(write);
        self.filled.notify_one();
        Ok(())
    }

    /// Everything that waits, as soon as something does; none when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Write>> {
        let mut waiting = self.lock();
        while waiting.writes.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.bytes = 0;
        let writes = std::mem::take(&mut waiting.writes);
        self.emptied.notify_all();
        Some(writes)
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
