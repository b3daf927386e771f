//! The bytes that the database lies on, and what has gone wrong with them.
//!
//! redb says of an error that there was one; what to do next depends on which one it was, so it is
//! noted here, below redb.

use std::fmt::{self, Debug, Formatter};
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::{BackendError, StorageBackend};

/// The place of a database: it may have to be opened again.
pub(super) struct Medium {
    /// The name for errors.
    pub(super) name: String,
    open: Box<Open>,
}

type Open = dyn Fn() -> io::Result<Box<dyn StorageBackend>> + Send + Sync;

impl Medium {
    pub(super) fn new<B: StorageBackend>(
        name: String,
        open: impl Fn() -> io::Result<B> + Send + Sync + 'static,
    ) -> Self {
        Self { name, open: Box::new(move || Ok(Box::new(open()?))) }
    }

    pub(super) fn open(&self) -> io::Result<Watched> {
        let backend = (self.open)()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.name)))?;
        Ok(Watched { backend, watch: Arc::default() })
    }
}

impl Medium {
    /// Makes everything durable that was written to it.
    pub(super) fn sync(&self) -> io::Result<()> {
        let backend = self.open()?;
        backend.sync_data().and(backend.close())
    }
}

impl Debug for Medium {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Medium").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The act that was wanted of the medium when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Read,
    Write,
    Sync,
}

/// The last failure.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) act: Act,
    pub(super) kind: ErrorKind,
    pub(super) text: String,
}

#[derive(Debug, Default)]
pub(super) struct Watch {
    trouble: Mutex<Option<Trouble>>,
    shut: RwLock<bool>,
}

impl Watch {
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nothing is written any more when this returns, what is under way included: another one is to
    /// have the medium.
    pub(super) fn shut(&self) {
        *self.shut.write().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Remembers what went wrong elsewhere with the same medium.
    pub(super) fn blame(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
    }

    /// Does what changes the medium, unless it is shut.
    fn change<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let shut = self.shut.read().unwrap_or_else(PoisonError::into_inner);
        if *shut { Err(io::Error::other("this database is shut")) } else { work() }
    }

    fn note<T>(
        &self,
        act: Act,
        done: io::Result<T>,
        what: impl FnOnce() -> String,
    ) -> io::Result<T> {
        done.inspect_err(|error| {
            // A sync that failed stays what is wrong, whatever fails after it.
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            if trouble.as_ref().is_none_or(|trouble| trouble.act != Act::Sync) {
                *trouble =
                    Some(Trouble { act, kind: error.kind(), text: format!("{}: {error}", what()) });
            }
        })
    }
}

/// A medium that remembers what went wrong.
#[derive(Debug)]
pub(super) struct Watched {
    backend: Box<dyn StorageBackend>,
    pub(super) watch: Arc<Watch>,
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        self.watch.note(Act::Read, self.backend.len(), || "asking for its length".to_owned())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let done = self.backend.read(offset, out);
        self.watch.note(Act::Read, done, || format!("reading {} bytes at {offset}", out.len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.watch.change(|| {
            self.watch.note(Act::Write, self.backend.set_len(len), || {
                format!("making it {len} bytes long")
            })
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.watch.change(|| {
            self.watch
                .note(Act::Sync, self.backend.sync_data(), || "syncing it to the disk".to_owned())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let what = || format!("writing {} bytes at {offset}", data.len());
        self.watch.change(|| self.watch.note(Act::Write, self.backend.write(offset, data), what))
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    // The spool's folder is locked as a whole, so nobody else has the database.
    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, start: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(start == Bound::Included(CONSISTENT_BYTE))
    }
}

/// The lock whose holder (redb's design, "lock bytes") vouches for a database that was not closed.
/// A salvage reads one all the same, and has its own checksums to vouch for what it finds; nothing
/// else asks.
const CONSISTENT_BYTE: u64 = (1 << 62) + 4;
