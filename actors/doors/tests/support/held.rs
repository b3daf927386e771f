//! A spool that writes nothing to its outbox until it may: what a slow disk does.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use estafette::node::{Change, Store};
use estafette_actors::spool::Spool;
use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Held {
    spool: Spool,
    holds: Mutex<bool>,
    changed: Condvar,
    reached: Notify,
}

impl Held {
    pub(crate) fn new(spool: Spool) -> Arc<Self> {
        let (holds, changed, reached) = (Mutex::new(false), Condvar::new(), Notify::new());
        Arc::new(Self { spool, holds, changed, reached })
    }

    /// Holds up what comes from now on.
    pub(crate) fn hold(&self) {
        *self.holds.lock().unwrap() = true;
    }

    /// Lets it go on.
    pub(crate) fn let_go(&self) {
        *self.holds.lock().unwrap() = false;
        self.changed.notify_all();
    }

    /// Waits until something is held up: content that is whole, and sealed.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }
}

/// A test that fails does not wait for what it held.
#[derive(Debug)]
pub(crate) struct Holding(pub(crate) Arc<Held>);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl Store for Held {
    fn load(&self, table: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.spool.load(table)
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.spool.put(table, key, value)
    }

    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()> {
        self.spool.remove(table, key)
    }

    fn write(&self, changes: Vec<Change>) -> io::Result<()> {
        if changes.iter().any(|change| matches!(change, Change::Put { table: "outbox", .. })) {
            let mut holds = self.holds.lock().unwrap();
            if *holds {
                self.reached.notify_one();
            }
            while *holds {
                holds = self.changed.wait(holds).unwrap();
            }
        }
        self.spool.write(changes)
    }

    fn folder(&self) -> Option<&Path> {
        self.spool.folder()
    }
}
