//! A node's spool, as long as the node runs: whoever holds a handle of a node that has stopped does
//! not keep its spool from the next one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Change, Hold, Store};

/// Passes everything on to the store, until the lease is up; fails from then on.
#[derive(Debug)]
pub(crate) struct Lease {
    store: RwLock<Option<Arc<dyn Store>>>,
    folder: Option<PathBuf>,
}

/// Ends a lease when it is dropped.
#[derive(Debug)]
pub(crate) struct Term(Arc<Lease>);

impl Lease {
    pub(crate) fn of(store: Arc<dyn Store>) -> (Arc<Self>, Term) {
        let folder = store.folder().map(Path::to_path_buf);
        let lease = Arc::new(Self { store: RwLock::new(Some(store)), folder });
        (Arc::clone(&lease), Term(lease))
    }

    /// Works with the store, which is given back only when this has ended.
    fn with<T>(&self, work: impl FnOnce(&dyn Store) -> io::Result<T>) -> io::Result<T> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let store = store.as_ref().ok_or_else(|| {
            io::Error::other("the node has stopped and has let go of its spool; start it again")
        })?;
        work(store.as_ref())
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        drop(self.0.store.write().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Store for Lease {
    fn load(&self, table: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.with(|store| store.load(table))
    }

    fn each(&self, table: &str, look: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        self.with(|store| store.each(table, look))
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.with(|store| store.put(table, key, value))
    }

    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()> {
        self.with(|store| store.remove(table, key))
    }

    fn find(&self, table: &str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.with(|store| store.find(table, key))
    }

    fn write(&self, changes: Vec<Change>) -> io::Result<()> {
        self.with(|store| store.write(changes))
    }

    fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    fn hold(&self) -> io::Result<Hold> {
        self.with(|store| store.hold())
    }

    fn failure(&self) -> Option<String> {
        // One that was given back is no failure.
        self.with(|store| Ok(store.failure())).ok().flatten()
    }

    fn version(&self) -> io::Result<u128> {
        self.with(|store| store.version())
    }
}
