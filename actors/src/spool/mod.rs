//! A node's durable outbox: what it has to deliver, what has arrived in part, what was delivered.
//!
//! ```text
//! put, remove, write ──┐                            ┌─ one transaction, one commit
//! write_later ─────────┴─▶ queue ─▶ writer thread ──┴─▶ redb ─▶ DIR/state.redb
//!                          bounded   takes all of it            everybody is answered
//! ```
//!
//! The format of what lies in the folder is in `framework/docs/spool-format.md`. A write that was
//! answered with `Ok` is on the disk: all of it, whatever happens to the process or the machine. A
//! disk that is full fails the write and nothing else; a disk that fails to sync, or a folder that
//! is taken away, ends all writing, loudly, since nobody can know what it has kept; reading goes on
//! in both cases.

mod check;
mod database;
mod failure;
mod layout;
mod medium;
mod overlay;
mod place;
mod queue;
mod record;
mod salvage;
mod writer;

use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread::{self, JoinHandle, Thread};

use estafette::node::{Change, Store};
use redb::{ReadableDatabase, ReadableTable, StorageBackend};
use tokio::sync::oneshot;

pub use check::{Damaged, Report};

use database::{Opened, RECORDS, unreadable};
use failure::Failure;
use layout::Folder;
use medium::Medium;
use place::Place;
use queue::{Step, Write};
use writer::{Shared, report};

/// A durable [`Store`] for millions of records, of one process at a time.
#[derive(Debug)]
pub struct Spool {
    /// Both are there until the spool is dropped.
    shared: Option<Arc<Shared>>,
    writer: Option<JoinHandle<()>>,
    /// Locks the folder: dropped after the database.
    folder: Option<Folder>,
}

impl Spool {
    /// The longest key, in bytes.
    pub const KEY_LIMIT: usize = 256;
    /// The longest value, in bytes. What is larger goes to a file in [`Store::folder`].
    pub const VALUE_LIMIT: usize = 1 << 20;
    /// The most bytes that wait to be written, and so the largest write: keys, values, and some
    /// bytes for each change.
    pub const WRITE_LIMIT: usize = 64 << 20;
    /// The most writes that wait to be written.
    pub const WAITING_LIMIT: usize = 1 << 16;

    /// Opens the spool in the folder `dir`, or makes it, for its owner only, in a folder that
    /// exists.
    ///
    /// Every record is verified; a damaged one is set aside, and told of.
    ///
    /// # Errors
    /// When another process has it, a newer version of estafette wrote it, `dir` is no folder or
    /// can't be written, or the database is damaged beyond its values. What to do is in the
    /// error. Nothing in the folder was changed then.
    pub fn open(dir: impl AsRef<Path>) -> io::Result<Self> {
        let folder = Folder::open(dir.as_ref())?;
        Self::start(folder.medium(), Some(folder))
    }

    /// Says why [`Spool::open`] would fail, as far as that can be seen without making or locking
    /// anything: another process may have the spool.
    pub fn look(dir: impl AsRef<Path>) -> io::Result<()> {
        layout::look(dir.as_ref())
    }

    /// Opens or makes a spool without a folder on what `open` returns, whenever it must be opened:
    /// for tests.
    #[doc(hidden)]
    pub fn with_backend<B: StorageBackend>(
        name: &str,
        open: impl Fn() -> io::Result<B> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start(Medium::new(name.to_owned(), open), None)
    }

    fn start(medium: Medium, folder: Option<Folder>) -> io::Result<Self> {
        let (opened, damaged) =
            Opened::open(&medium).map_err(|trial| unreadable(&medium, &trial))?;
        report(&medium.name, &damaged);
        let place = folder.as_ref().map(Place::of).transpose()?;
        let shared = Arc::new(Shared::new(medium, opened, place));
        let writer = thread::Builder::new().name("spool".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.run()
        })?;
        Ok(Self { shared: Some(shared), writer: Some(writer), folder })
    }

    /// Makes all of these changes, in this order, or none, without blocking: the future says when
    /// they are on the disk, and needs no runtime. Changes are made in the order of the calls,
    /// whether their futures are polled or not.
    ///
    /// # Errors
    /// Of kind [`WouldBlock`](ErrorKind::WouldBlock) when as much waits as may: have less in
    /// flight, or try again when something else is done.
    pub fn write_later(&self, changes: Vec<Change>) -> Written {
        let later = steps(changes).and_then(Self::prepare).and_then(|(write, answer)| {
            self.shared().queue.try_push(write).map_err(|(writes, bytes)| {
                let text = format!(
                    "{writes} writes with {bytes} bytes wait for the disk already, at most {} and \
                     {}",
                    Self::WAITING_LIMIT,
                    Self::WRITE_LIMIT
                );
                io::Error::new(ErrorKind::WouldBlock, text)
            })?;
            Ok(answer)
        });
        Written(later.map_err(Some))
    }

    /// The records that were found damaged and set aside.
    pub fn damaged(&self) -> io::Result<Vec<Damaged>> {
        self.shared().read(|database| check::set_aside(&database.begin_read()?))
    }

    fn shared(&self) -> &Shared {
        self.shared.as_ref().expect("there until it is dropped")
    }

    fn make(&self, steps: Vec<Step>) -> io::Result<()> {
        if steps.is_empty() {
            return Ok(());
        }
        let (write, answer) = Self::prepare(steps)?;
        self.shared().queue.push(write);
        wait(Written(Ok(answer)))
    }

    fn prepare(steps: Vec<Step>) -> io::Result<(Write, Answer)> {
        let bytes = steps.iter().map(Step::bytes).sum();
        if bytes > Self::WRITE_LIMIT {
            let text = format!(
                "{} changes with {bytes} bytes are too many for one write, it has at most {}",
                steps.len(),
                Self::WRITE_LIMIT
            );
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        let (sender, answer) = oneshot::channel();
        Ok((Write { steps, bytes, answer: sender }, answer))
    }

    /// Reads a table, and makes something of each record.
    fn range<T>(&self, table: &str, made: impl Fn(&[u8], &[u8]) -> T) -> io::Result<Vec<T>> {
        let [first, end] = record::bounds(table)?;
        let (records, damaged) = self.shared().read(|database| {
            let (mut found, mut damaged) = (Vec::new(), Vec::new());
            let records = database.begin_read()?.open_table(RECORDS)?;
            for entry in ReadableTable::range::<&[u8]>(&records, &first[..]..&end[..])? {
                let (key, stored) = entry?;
                match record::decode_value(key.value(), stored.value()) {
                    Ok(value) => found.push(made(&key.value()[first.len()..], value)),
                    Err(_) => damaged.push(key.value().to_vec()),
                }
            }
            Ok((found, damaged))
        })?;
        self.put_aside(damaged);
        Ok(records)
    }

    /// Sets aside what was found to be damaged.
    fn put_aside(&self, keys: Vec<Vec<u8>>) {
        let Some(shared) = &self.shared else { return };
        if !keys.is_empty() {
            report(&shared.medium.name, &keys);
            // Why a disk takes nothing is told to those who have something to write.
            let _ = self.make(keys.into_iter().map(|key| Step::SetAside { key }).collect());
        }
    }
}

impl Store for Spool {
    fn load(&self, table: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.range(table, |key, value| (key.to_vec(), value.to_vec()))
    }

    fn each(&self, table: &str, look: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        for key in self.range(table, |key, _| key.to_vec())? {
            if let Some(value) = self.find(table, &key)? {
                look(&key, &value);
            }
        }
        Ok(())
    }

    fn find(&self, table: &str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let full = record::encode_key(table, key)?;
        let found = self.shared().read(|database| {
            let records = database.begin_read()?.open_table(RECORDS)?;
            // By the trait: what redb's own method returns would not keep others from reusing its
            // page.
            let stored = ReadableTable::get(&records, &full[..])?;
            Ok(stored.map(|stored| record::decode_value(&full, stored.value()).map(<[u8]>::to_vec)))
        })?;
        match found {
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => {
                self.put_aside(vec![full]);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.make(vec![put(table, key, value)?])
    }

    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()> {
        self.make(vec![Step::Remove { key: record::encode_key(table, key)? }])
    }

    fn write(&self, changes: Vec<Change>) -> io::Result<()> {
        self.make(steps(changes)?)
    }

    fn folder(&self) -> Option<&Path> {
        self.folder.as_ref().map(Folder::bulk)
    }

    fn failure(&self) -> Option<String> {
        self.shared().failure()
    }

    fn version(&self) -> io::Result<u128> {
        Ok(self.shared().commits.load(Ordering::SeqCst).into())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        shared.queue.close();
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!(spool = shared.medium.name, "the spool's writer has panicked");
        }
        if let Some(shared) = Arc::into_inner(shared) {
            shared.close();
        }
    }
}

/// Becomes `Ok` when a write is on the disk.
#[derive(Debug)]
#[must_use = "it says whether the write was kept"]
pub struct Written(Result<Answer, Option<io::Error>>);

type Answer = oneshot::Receiver<Result<(), Failure>>;

impl Future for Written {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.0 {
            Ok(answer) => ready!(Pin::new(answer).poll(context)),
            Err(error) => {
                return Poll::Ready(Err(error
                    .take()
                    .unwrap_or_else(|| io::Error::other("this write has failed before"))));
            }
        };
        Poll::Ready(match outcome {
            Ok(outcome) => outcome.map_err(io::Error::from),
            Err(_) => Err(io::Error::other(
                "the spool's writer is gone; what became of this write is unknown",
            )),
        })
    }
}

fn steps(changes: Vec<Change>) -> io::Result<Vec<Step>> {
    let steps = changes.into_iter().map(|change| match change {
        Change::Put { table, key, value } => put(table, &key, &value),
        Change::Remove { table, key } => Ok(Step::Remove { key: record::encode_key(table, &key)? }),
    });
    steps.collect()
}

fn put(table: &str, key: &[u8], value: &[u8]) -> io::Result<Step> {
    let key = record::encode_key(table, key)?;
    let value = record::encode_value(&key, value)?;
    Ok(Step::Put { key, value })
}

/// Blocks until `written` is done, in a thread of a runtime or not.
fn wait(written: Written) -> io::Result<()> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut written = pin!(written);
    loop {
        match written.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => thread::park(),
        }
    }
}
