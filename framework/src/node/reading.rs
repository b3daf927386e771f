//! Content that several deliveries send at one time: read, cut, hashed and compressed once, and
//! sealed for each of them.
//!
//! Invariant: nobody waits for long for a receiver. What has been made is kept for those who come
//! after, up to a window of bytes; whoever falls behind that reads for itself from there on, and the
//! others have waited for it for a second at one time, and in all for a second and an eighth of the
//! time in which chunks moved, at most.
//!
//! Whichever delivery wants the next chunk first reads it and makes it ready; the others take it
//! from here. Each keeps its own key, credit, acknowledgements and record.

mod kept;
mod making;
mod state;

use self::kept::Kept;
pub(crate) use self::making::Maker;
use self::state::{Look, State};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{Notify, watch};

use super::gate::Gate;
use crate::pipeline::{Codec, Ready, Source, SourceReference, SourceReport, Transfer};

/// Contents that are being sent, or are about to be.
#[derive(Debug)]
pub(crate) struct Readings {
    all: Mutex<HashMap<Key, Weak<Reading>>>,
    kept: Arc<Kept>,
}

/// A reference, as the key of a table.
type Key = (String, Vec<u8>);

/// A delivery's part in a content that others may send at the same time.
#[derive(Debug)]
pub(crate) struct Seat {
    reference: SourceReference,
    reading: Arc<Reading>,
    number: u64,
    kept: Arc<Kept>,
}

/// One content, as long as somebody sends it or is about to.
#[derive(Debug, Default)]
struct Reading {
    state: Mutex<State>,
    changed: Notify,
}

/// The cut of a content into the chunks of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) version: [u8; 32],
    pub(crate) chunk_size: u32,
    pub(crate) codec: Codec,
}

/// A chunk that has only to be sealed.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// None where only the end was left.
    pub(crate) ready: Option<Ready>,
    /// Bytes of content in it.
    pub(crate) length: usize,
    /// The source's last word, if it is the last one.
    pub(crate) report: Option<SourceReport>,
}

/// The next step of a delivery, about its next chunk.
#[derive(Debug)]
pub(crate) enum Next {
    /// It is here.
    Made(Made),
    /// It is to be read: from this source, or, where there is none, from the delivery's own.
    Read(Turn, Option<Box<dyn Source>>),
    /// The delivery reads for itself from here on; from this source, if it stands at the chunk.
    Alone(Option<Box<dyn Source>>),
}

/// The turn of a delivery to read a chunk. Dropped before that is read, it is another one's turn;
/// dropped before it is made, it is the end of reading together.
#[derive(Debug)]
pub(crate) struct Turn {
    reading: Arc<Reading>,
    index: u64,
    /// The round it belongs to: what was begun anew meanwhile is none of its.
    round: u64,
    done: bool,
}

impl Readings {
    /// No content yet. Of those that nobody reads at the moment, `window` bytes are kept in all.
    pub(crate) fn new(window: usize) -> Self {
        Self { all: Mutex::default(), kept: Arc::new(Kept::new(window)) }
    }

    /// A delivery of this content is about to begin.
    pub(crate) fn enter(&self, reference: &SourceReference) -> Seat {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, reading| reading.strong_count() > 0);
        let key = (reference.kind.clone(), reference.data.clone());
        let known = all.get(&key).and_then(Weak::upgrade);
        let is_over = known.as_ref().is_some_and(|known| known.lock().is_over());
        let reading = known.clone().filter(|_| !is_over).unwrap_or_default();
        if known.is_none() || is_over {
            all.insert(key, Arc::downgrade(&reading));
        }
        let number = reading.lock().enter();
        // One that is over may end here, and with it a source: for that nobody waits.
        drop(all);
        drop(known);
        Seat { reference: reference.clone(), reading, number, kept: Arc::clone(&self.kept) }
    }
}

impl Seat {
    /// Returns the reference by which the content can be found again.
    pub(crate) fn reference(&self) -> &SourceReference {
        &self.reference
    }

    /// Begins to read, with the others; false where there are none, or they read other chunks.
    /// While the gate says that it is paused, nobody waits for it.
    pub(crate) fn begin(&self, cut: Cut, gate: watch::Receiver<Gate>) -> bool {
        self.reading.lock().begin(self.number, cut, gate)
    }

    /// The chunk `index`, or what is to be done about it. At most `window` bytes are kept.
    pub(crate) async fn next(&self, index: u64, window: usize) -> Next {
        loop {
            let changed = self.reading.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let look = self.reading.lock().look(self.number, index, window, Instant::now());
            let next = match look {
                Look::Made(made) => Next::Made(made),
                Look::Read { source, round } => {
                    let reading = Arc::clone(&self.reading);
                    Next::Read(Turn { reading, index, round, done: false }, source)
                }
                Look::Alone(source) => Next::Alone(source),
                Look::Wait => {
                    changed.await;
                    continue;
                }
                Look::WaitFor(most) => {
                    // In time or not, it is looked at again.
                    drop(tokio::time::timeout(most, changed).await);
                    continue;
                }
            };
            // Whoever waits for those behind may go on.
            self.reading.changed.notify_waiters();
            return next;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let (source, keeps) = self.reading.lock().leave(self.number);
        self.reading.changed.notify_waiters();
        if keeps {
            self.kept.keep(&self.reading);
        }
        drop(source);
    }
}

impl Reading {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// It takes longer than a chunk does: the others don't wait for that.
    pub(crate) fn takes_long(&self) {
        self.reading.lock().takes_long(self.round, Instant::now());
        self.reading.changed.notify_waiters();
    }

    /// The chunk was read, from this source: others may read the next one while it is made ready.
    pub(crate) fn was_read(&self, source: Box<dyn Source>) {
        let unwanted = self.reading.lock().was_read(self.round, self.index, source);
        self.reading.changed.notify_waiters();
        drop(unwanted);
    }

    /// The chunk is ready.
    pub(crate) fn was_made(mut self, made: Made) {
        self.done = true;
        self.reading.lock().was_made(self.round, self.index, made);
        self.reading.changed.notify_waiters();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.done {
            self.reading.lock().was_left(self.round, self.index);
            self.reading.changed.notify_waiters();
        }
    }
}

impl Made {
    fn bytes(&self) -> usize {
        // A buffer is kept as a whole, whatever the codec made of it.
        self.ready.as_ref().map_or(0, |ready| ready.content.len().max(self.length))
    }
}

impl Cut {
    /// The chunks of a transfer of this version of a content.
    pub(crate) fn of(transfer: &Transfer, version: [u8; 32]) -> Self {
        let codec = transfer.codec.as_ref().map_or(Codec::RAW, |codec| codec.id());
        Self { version, chunk_size: transfer.scope.chunk_size, codec }
    }
}

#[cfg(test)]
mod tests;
