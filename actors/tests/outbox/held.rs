//! Tools by which a test stops the world: a source that gives its content when it is told to, and a
//! spool that answers when it may.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use estafette::delivery::Content;
use estafette::node::{Change, Store};
use estafette::pipeline::{Source, SourceError, SourceReport};
use estafette_actors::source::BytesSource;
use estafette_actors::spool::Spool;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, oneshot};

/// Gives its content, and its end when it is told to.
#[derive(Debug)]
pub(crate) struct HeldSource {
    bytes: BytesSource,
    go: Option<oneshot::Receiver<Result<(), SourceError>>>,
}

impl HeldSource {
    pub(crate) fn new(
        name: &str,
        bytes: Vec<u8>,
    ) -> (Self, oneshot::Sender<Result<(), SourceError>>) {
        let (go, held) = oneshot::channel();
        (Self { bytes: BytesSource::new(name, bytes).unwrap(), go: Some(held) }, go)
    }
}

impl Source for HeldSource {
    fn content(&self) -> Content {
        self.bytes.content()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(async move {
            let read = self.bytes.read(buffer).await?;
            if read == 0
                && let Some(go) = self.go.take()
            {
                // Whoever holds it and is gone never lets it go.
                match go.await {
                    Ok(said) => said?,
                    Err(_) => std::future::pending().await,
                }
            }
            Ok(read)
        })
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        self.bytes.finish()
    }
}

/// A spool whose first write of a record of one table waits before it is made, and may fail, or
/// after.
#[derive(Debug)]
pub(crate) struct HeldSpool {
    spool: Spool,
    table: &'static str,
    after: bool,
    reached: Notify,
    answer: Mutex<Option<io::Result<()>>>,
    answered: Condvar,
    held: Mutex<bool>,
}

impl HeldSpool {
    /// Holds a record of the outbox up.
    pub(crate) fn open(folder: &Path) -> Arc<Self> {
        Self::holding(folder, "outbox", false)
    }

    /// Has the memory of a delivery written, and holds the word of it up.
    pub(crate) fn that_remembers_slowly(folder: &Path) -> Arc<Self> {
        Self::holding(folder, "delivered", true)
    }

    /// Holds the memory of a delivery up: it is committed, and not remembered.
    pub(crate) fn that_remembers_late(folder: &Path) -> Arc<Self> {
        Self::holding(folder, "delivered", false)
    }

    fn holding(folder: &Path, table: &'static str, after: bool) -> Arc<Self> {
        let (spool, reached) = (Spool::open(folder).unwrap(), Notify::new());
        Arc::new(Self {
            spool,
            table,
            after,
            reached,
            answer: Mutex::default(),
            answered: Condvar::new(),
            held: Mutex::new(true),
        })
    }

    /// Waits until the write is held up.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn answer(&self, outcome: io::Result<()>) {
        *self.answer.lock().unwrap() = Some(outcome);
        self.answered.notify_all();
    }

    fn wait(&self) -> io::Result<()> {
        let mut answer = self.answer.lock().unwrap();
        while answer.is_none() {
            answer = self.answered.wait(answer).unwrap();
        }
        answer.take().unwrap()
    }
}

impl Store for HeldSpool {
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
        let is_it = changes
            .iter()
            .any(|change| matches!(change, Change::Put { table, .. } if *table == self.table));
        if !is_it || !std::mem::take(&mut *self.held.lock().unwrap()) {
            return self.spool.write(changes);
        }
        if self.after {
            self.spool.write(changes)?;
            self.reached.notify_one();
            return self.wait();
        }
        self.reached.notify_one();
        self.wait()?;
        self.spool.write(changes)
    }

    fn folder(&self) -> Option<&Path> {
        self.spool.folder()
    }
}
