//! The base of everything durable, timed and bounded: stores, which are small durable tables of
//! records; a clock that goes on; accounts of what peers hold; threads that may fail to start.
//!
//! A node keeps its trust in one store, with the tickets that it gave out. Another store, its
//! spool, holds what it has to deliver, what has arrived in part, and what was delivered.

pub(crate) mod blocking;
pub(crate) mod clock;
mod file_store;
pub(crate) mod lease;
pub(crate) mod ledger;
mod thread;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

pub(crate) use self::clock::now;
pub use self::file_store::FileStore;
pub(crate) use self::file_store::sync_folder;
pub use self::thread::start_thread;

/// The reason why a record can't be read, as far as anybody can tell.
pub(crate) const UNREAD: &str = concat!(
    "it is damaged, or a newer release than ",
    env!("CARGO_PKG_VERSION"),
    " has written it"
);

/// Returns 32 bytes that nobody can guess.
pub(crate) fn random32() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// Records by table and key. A `put` that returned is durable, as far as the store promises.
pub trait Store: Debug + Send + Sync + 'static {
    /// All records of a table.
    fn load(&self, table: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Has all records of a table looked at, one after the other, by what asks nothing of the store
    /// meanwhile. Default: all are [loaded](Self::load) first.
    fn each(&self, table: &str, look: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        self.load(table)?.iter().for_each(|(key, value)| look(key, value));
        Ok(())
    }

    /// Writes one record, new or in place of an older one.
    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()>;

    /// Removes one record; it is no error if there is none.
    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()>;

    /// One record.
    fn find(&self, table: &str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.load(table)?.into_iter().find(|(known, _)| known == key).map(|(_, value)| value))
    }

    /// Makes all of these changes, in this order. A store that is to be a spool makes all of them
    /// or none, whatever happens to its process meanwhile. Default: one after the other.
    fn write(&self, changes: Vec<Change>) -> io::Result<()> {
        changes.into_iter().try_for_each(|change| match change {
            Change::Put { table, key, value } => self.put(table, &key, &value),
            Change::Remove { table, key } => self.remove(table, &key),
        })
    }

    /// A folder for bulk files beside the records. Default: there is none.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// Keeps other processes from changing records while some are read, changed and written again,
    /// until it is dropped. Default: nobody else has this store.
    fn hold(&self) -> io::Result<Hold> {
        Ok(Hold::default())
    }

    /// Returns the reason why the store takes no more changes until its program is started again,
    /// if it has failed. Default: it always takes them.
    fn failure(&self) -> Option<String> {
        None
    }

    /// A value that is another one when records have changed, whoever changed them. Default: nobody
    /// else changes any.
    fn version(&self) -> io::Result<u128> {
        Ok(0)
    }
}

/// One change to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub enum Change {
    /// Writes a record, new or in place of an older one.
    Put {
        /// Its table.
        table: &'static str,
        /// Its key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// Removes a record, if there is one.
    Remove {
        /// Its table.
        table: &'static str,
        /// Its key.
        key: Vec<u8>,
    },
}

/// A store's lock; dropping it frees the lock.
#[derive(Debug, Default)]
pub struct Hold(#[expect(dead_code, reason = "it is there to be dropped")] Option<Box<dyn Lock>>);

/// Anything that frees a lock when it is dropped.
trait Lock: Debug + Send {}
impl<T: Debug + Send> Lock for T {}

impl Hold {
    /// Holds what `lock` locks until it is dropped.
    pub fn new(lock: impl Debug + Send + 'static) -> Self {
        Self(Some(Box::new(lock)))
    }
}

/// Forgets everything with its process.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Records>);

/// (table, key) → value.
type Records = BTreeMap<(String, Vec<u8>), Vec<u8>>;

impl Store for MemoryStore {
    fn load(&self, table: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_table = records.iter().filter(|((name, _), _)| name == table);
        Ok(of_table.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn find(&self, table: &str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(records.get(&(table.to_owned(), key.to_vec())).cloned())
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.insert((table.to_owned(), key.to_vec()), value.to_vec());
        Ok(())
    }

    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(table.to_owned(), key.to_vec()));
        Ok(())
    }

    fn write(&self, changes: Vec<Change>) -> io::Result<()> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            match change {
                Change::Put { table, key, value } => {
                    drop(records.insert((table.to_owned(), key), value))
                }
                Change::Remove { table, key } => drop(records.remove(&(table.to_owned(), key))),
            }
        }
        Ok(())
    }
}
