//! Deliveries with a journal, and a spool that dies when it is told to.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use estafette::delivery::{Content, ContentKind, DigestFold, Subtree};
use estafette::node::{MemoryStore, Store};
use estafette::pipeline::{
    Committed, Inbox, Journal, Offer, Progress, Refusal, Resumed, Sink, SinkError, Summary,
};

use crate::harness::{block_on, content, names, offer};

pub(crate) const CHUNK: u32 = 1024;

/// A store in memory whose process can die: from then on nothing is written.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    records: MemoryStore,
    state: Mutex<State>,
    /// The next removal says that it is about to be made, and waits.
    removal: Mutex<Option<Hold>>,
    /// The search after so many says that it has found something, and waits before it tells.
    search: Mutex<Option<(usize, Hold)>>,
}

type Hold = (mpsc::Sender<()>, mpsc::Receiver<()>);

#[derive(Debug, Default)]
struct State {
    changes: usize,
    death: Option<Death>,
    dead: bool,
}

/// The moment at which a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    /// At which change of the spool, from 0.
    pub(crate) at: usize,
    /// Set if this change is made first.
    pub(crate) made: bool,
}

impl Spool {
    /// Lets the process die so many changes from now.
    pub(crate) fn die(&self, death: Death) {
        *self.state.lock().unwrap() = State { changes: 0, death: Some(death), dead: false };
    }

    /// Holds the next removal up: it says so, and is made when it is told to.
    pub(crate) fn hold_removal(&self) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((say, said), (let_go, go)) = (mpsc::channel(), mpsc::channel());
        *self.removal.lock().unwrap() = Some((say, go));
        (said, let_go)
    }

    /// Holds a search up after these: what it has found is told when it is told to, and may not be
    /// so any more.
    pub(crate) fn hold_search(&self, after: usize) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((say, said), (let_go, go)) = (mpsc::channel(), mpsc::channel());
        *self.search.lock().unwrap() = Some((after, (say, go)));
        (said, let_go)
    }

    /// A new process begins; whether the old one died.
    pub(crate) fn revive(&self) -> bool {
        std::mem::take(&mut *self.state.lock().unwrap()).dead
    }

    fn change(&self, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let now = state.death.filter(|death| death.at == state.changes);
        state.changes += 1;
        if !state.dead && now.is_none_or(|death| death.made) {
            change()?;
        }
        state.dead |= now.is_some();
        if state.dead {
            Err(io::Error::new(io::ErrorKind::StorageFull, "the spool is full"))
        } else {
            Ok(())
        }
    }
}

impl Store for Spool {
    fn load(&self, table: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.records.load(table)
    }

    fn find(&self, table: &str, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let found = self.records.find(table, key);
        let held = {
            let mut search = self.search.lock().unwrap();
            let is_due = search
                .as_mut()
                .is_some_and(|(after, _)| std::mem::replace(after, after.saturating_sub(1)) == 0);
            if is_due { search.take() } else { None }
        };
        if let Some((_, (say, go))) = held {
            say.send(()).unwrap();
            go.recv().unwrap();
        }
        found
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.change(|| self.records.put(table, key, value))
    }

    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()> {
        let held = self.removal.lock().unwrap().take();
        if let Some((say, go)) = held {
            say.send(()).unwrap();
            go.recv().unwrap();
        }
        self.change(|| self.records.remove(table, key))
    }
}

/// One delivery, offered as often as it takes.
pub(crate) struct Delivery {
    pub(crate) spool: Arc<Spool>,
    pub(crate) bytes: Vec<u8>,
    kind: ContentKind,
    /// Its description, if that is not its kind and length.
    described: Option<Content>,
    /// 0 for content that can't be told from other content.
    version: u8,
}

impl Delivery {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self { spool: Arc::default(), bytes, kind: ContentKind::Bytes, described: None, version: 1 }
    }

    pub(crate) fn of_kind(kind: ContentKind, bytes: Vec<u8>) -> Self {
        Self { kind, ..Self::of(bytes) }
    }

    /// The same, described in these words.
    pub(crate) fn described(self, content: Content) -> Self {
        Self { described: Some(content), ..self }
    }

    /// The same delivery, of content that has changed.
    pub(crate) fn changed(&self, bytes: Vec<u8>) -> Self {
        Self {
            spool: Arc::clone(&self.spool),
            bytes,
            kind: self.kind.clone(),
            described: None,
            version: self.version + 1,
        }
    }

    /// The same delivery, of content of which nobody can tell whether it has changed.
    pub(crate) fn unversioned(&self) -> Self {
        Self { version: 0, ..self.changed(self.bytes.clone()) }
    }

    /// The same delivery, of content that can be told from other content.
    pub(crate) fn versioned(&self) -> Self {
        Self { version: 1, ..self.changed(self.bytes.clone()) }
    }

    pub(crate) fn journal(&self) -> Journal {
        let spool: Arc<dyn Store> = self.spool.clone();
        Journal::for_tests(
            spool,
            b"lyon's",
            (self.version > 0).then_some([self.version; 32]),
            CHUNK,
        )
        .unwrap()
    }

    pub(crate) fn offer(&self) -> Offer {
        let content = self.described.clone().unwrap_or_else(|| {
            content(self.kind.clone(), "content", Some(self.bytes.len() as u64))
        });
        Offer { chunk_size: CHUNK, journal: Some(self.journal()), ..offer(content) }
    }

    pub(crate) fn open(&self, inbox: &dyn Inbox) -> Result<Box<dyn Sink>, Refusal> {
        inbox.open(&self.offer())
    }

    pub(crate) fn chunks(&self) -> u64 {
        (self.bytes.len() as u64).div_ceil(u64::from(CHUNK))
    }

    /// The progress after so many chunks.
    pub(crate) fn progress(&self, chunks: u64) -> Progress {
        let mut digest = DigestFold::default();
        let mut length = 0;
        for (index, chunk) in (0..chunks).zip(self.bytes.chunks(CHUNK as usize)) {
            digest.insert(index, Subtree::of(index, CHUNK, chunk));
            length += chunk.len() as u64;
        }
        Progress { chunks, length, digest }
    }

    /// Writes these chunks, the last one first.
    pub(crate) fn write(&self, sink: &mut dyn Sink, chunks: Range<u64>) -> Result<(), SinkError> {
        for index in chunks.rev() {
            let start = (index * u64::from(CHUNK)) as usize;
            let chunk = &self.bytes[start..self.bytes.len().min(start + CHUNK as usize)];
            block_on(sink.write(start as u64, &Bytes::copy_from_slice(chunk)))?;
        }
        Ok(())
    }

    pub(crate) fn checkpoint(&self, sink: &mut dyn Sink, chunks: u64) -> Result<(), SinkError> {
        block_on(sink.checkpoint(&self.progress(chunks)))
    }

    /// Checks what the sink says it holds, and tells how many chunks that are; `None` for all of
    /// it, committed.
    pub(crate) fn held(&self, sink: &dyn Sink) -> Option<u64> {
        match sink.resumed() {
            Resumed::Nothing | Resumed::AlreadyThere(..) => Some(0),
            Resumed::Chunks(progress) => {
                let expected = self.progress(progress.chunks);
                assert_eq!(progress.length, expected.length);
                assert_eq!(progress.digest.to_bytes(), expected.digest.to_bytes());
                Some(progress.chunks)
            }
            Resumed::Committed(summary, _) => {
                assert_eq!(summary, self.summary());
                None
            }
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary { length: self.bytes.len() as u64, digest: *blake3::hash(&self.bytes).as_bytes() }
    }

    /// One attempt: goes on with what is here, with a checkpoint half way, and commits.
    pub(crate) fn attempt(&self, inbox: &dyn Inbox) -> Result<Committed, String> {
        let mut sink = self.open(inbox).map_err(|refusal| refusal.to_string())?;
        if let Resumed::Committed(_, committed) = sink.resumed() {
            self.held(&*sink);
            return Ok(committed);
        }
        let from = self.held(&*sink).unwrap();
        let half = from + (self.chunks() - from).div_ceil(2);
        let written = self
            .write(&mut *sink, from..half)
            .and_then(|()| self.checkpoint(&mut *sink, half))
            .and_then(|()| self.write(&mut *sink, half..self.chunks()))
            .and_then(|()| block_on(sink.commit(&self.summary())));
        // Without a word to the sink: what a process that dies leaves. No memo of it outlives that.
        written
            .map(|committed| Committed { memo: None, ..committed })
            .map_err(|error| error.to_string())
    }
}

/// The one temporary of this ending in `folder`.
pub(crate) fn temporary(folder: &Path, ending: &str) -> std::path::PathBuf {
    let mut found = names(folder)
        .into_iter()
        .filter(|name| name.starts_with(".estafette-") && name.ends_with(ending));
    let one = found
        .next()
        .unwrap_or_else(|| panic!("no temporary ends in {ending}: {:?}", names(folder)));
    assert_eq!(found.next(), None);
    folder.join(one)
}
