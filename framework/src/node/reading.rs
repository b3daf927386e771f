//! Content that several deliveries send at one time: read, cut, hashed and compressed once, and
//! sealed for each of them.
//!
//! Invariant: nobody waits for long for a receiver. What has been made is kept for those who come
//! after, up to a window of bytes; whoever falls behind that reads for itself from there on, and the
//! others have waited for it for [`PATIENCE`] and a [`SHARE`] of their time at most, in all.
//!
//! Whichever delivery wants the next chunk first reads it and makes it ready; the others take it
//! from here. Each keeps its own key, credit, acknowledgements and record.

mod making;

pub(crate) use self::making::Maker;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::pipeline::{Codec, Ready, Source, SourceReference, SourceReport, Transfer};

/// The time that the readers of one content wait for each of those behind them, in all.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is added to that: one in so many parts of the time since the first chunk was asked for, so
/// that those who are about equally fast stay together however long the content is.
const SHARE: u32 = 8;

/// Contents that are being sent, or are about to be.
#[derive(Debug, Default)]
pub(crate) struct Readings(Mutex<HashMap<Key, Weak<Reading>>>);

/// A reference, as the key of a table.
type Key = (String, Vec<u8>);

/// A delivery's part in a content that others may send at the same time.
#[derive(Debug)]
pub(crate) struct Seat {
    reference: SourceReference,
    reading: Arc<Reading>,
    number: u64,
}

/// One content, as long as somebody sends it.
#[derive(Debug, Default)]
struct Reading {
    state: Mutex<State>,
    changed: Notify,
}

/// Where a delivery is.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The chunk that it is about to send; none before it has begun.
    next: Option<u64>,
    /// How long others have waited for it.
    waited: Duration,
}

#[derive(Debug, Default)]
struct State {
    seats: BTreeMap<u64, Place>,
    last_number: u64,
    /// What its chunks are of: those who want other ones read for themselves.
    cut: Option<Cut>,
    /// Lent by whoever read first; not here while somebody reads.
    source: Option<Box<dyn Source>>,
    being_read: bool,
    /// The chunk that is read next.
    next: u64,
    /// Chunks that were read, and are being made ready.
    making: BTreeSet<u64>,
    made: BTreeMap<u64, Made>,
    bytes: usize,
    /// When the first chunk was asked for.
    began: Option<Instant>,
    /// Up to when waiting was counted, where somebody waits for those behind.
    waiting: Option<Instant>,
    /// Something failed: everybody reads for itself, and finds out what.
    over: bool,
}

/// Which chunks a delivery is made of.
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

/// What there is for a delivery to do about its next chunk.
#[derive(Debug)]
pub(crate) enum Next {
    /// It is here.
    Made(Made),
    /// It is to be read: from this source, or, where there is none, from the delivery's own.
    Read(Turn, Option<Box<dyn Source>>),
    /// The delivery reads for itself from here on; from this source, if it stands at the chunk.
    Alone(Option<Box<dyn Source>>),
}

enum Look {
    Found(Next),
    Wait,
    /// For whoever is behind.
    WaitFor(Duration),
}

/// The turn of a delivery to read a chunk. Dropped before that is read, it is another one's turn;
/// dropped before it is made, it is the end of reading together.
#[derive(Debug)]
pub(crate) struct Turn {
    reading: Arc<Reading>,
    index: u64,
    done: bool,
}

impl Readings {
    /// A delivery of this content is about to begin.
    pub(crate) fn enter(&self, reference: &SourceReference) -> Seat {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, reading| reading.strong_count() > 0);
        let key = (reference.kind.clone(), reference.data.clone());
        let known = all.get(&key).and_then(Weak::upgrade).filter(|reading| !reading.lock().over);
        let reading = known.unwrap_or_else(|| {
            let reading = Arc::<Reading>::default();
            all.insert(key, Arc::downgrade(&reading));
            reading
        });
        let mut state = reading.lock();
        state.last_number += 1;
        let number = state.last_number;
        state.seats.insert(number, Place::default());
        drop(state);
        Seat { reference: reference.clone(), reading, number }
    }
}

impl Seat {
    /// Where the content can be found again.
    pub(crate) fn reference(&self) -> &SourceReference {
        &self.reference
    }

    /// Begins to read, with the others; false where there are none, or they read other chunks.
    pub(crate) fn begin(&self, cut: Cut) -> bool {
        let mut state = self.reading.lock();
        // What those have made who are gone is there still.
        let is_alone = state.seats.len() < 2 && state.cut.is_none();
        if state.over || is_alone || *state.cut.get_or_insert(cut) != cut {
            return false;
        }
        state.stand(self.number, 0);
        true
    }

    /// The chunk `index`, or what is to be done about it. At most `window` bytes are kept.
    pub(crate) async fn next(&self, index: u64, window: usize) -> Next {
        loop {
            let changed = self.reading.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let look = self.reading.lock().look(&self.reading, self.number, index, window);
            match look {
                Look::Found(next) => {
                    // Whoever waits for those behind may go on.
                    self.reading.changed.notify_waiters();
                    return next;
                }
                Look::Wait => changed.await,
                // In time or not, it is looked at again.
                Look::WaitFor(most) => drop(tokio::time::timeout(most, changed).await),
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.reading.lock().seats.remove(&self.number);
        self.reading.changed.notify_waiters();
    }
}

impl Reading {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn look(&mut self, reading: &Arc<Reading>, number: u64, index: u64, window: usize) -> Look {
        self.stand(number, index);
        self.began.get_or_insert_with(Instant::now);
        if let Some(made) = self.made.get(&index) {
            return Look::Found(Next::Made(made.clone()));
        }
        if self.over {
            return Look::Found(Next::Alone(None));
        }
        if self.making.contains(&index) || (index == self.next && self.being_read) {
            return Look::Wait;
        }
        if index != self.next {
            return Look::Found(Next::Alone(None));
        }
        if self.seats.len() == 1 {
            // Who comes later finds a new one.
            self.over = true;
            return Look::Found(Next::Alone(self.source.take()));
        }
        while self.bytes >= window
            && let Some((&oldest, _)) = self.made.first_key_value()
        {
            if let Some(left) = self.patience_with(oldest) {
                return Look::WaitFor(left);
            }
            let made = self.made.remove(&oldest);
            self.bytes -= made.map_or(0, |made| made.bytes());
        }
        self.waiting = None;
        self.being_read = true;
        let turn = Turn { reading: Arc::clone(reading), index, done: false };
        Look::Found(Next::Read(turn, self.source.take()))
    }
}

impl State {
    fn stand(&mut self, number: u64, index: u64) {
        self.seats.entry(number).or_default().next = Some(index);
    }

    /// How long those are waited for who still want this chunk; none if nobody is.
    fn patience_with(&mut self, oldest: u64) -> Option<Duration> {
        let now = Instant::now();
        let most = PATIENCE + self.began.map_or(Duration::ZERO, |began| now - began) / SHARE;
        let waited = self.waiting.replace(now).map_or(Duration::ZERO, |since| now - since);
        // What those want who are further behind is gone already.
        let behind = self.seats.values_mut().filter(|at| at.next == Some(oldest));
        let left = behind.map(|at| {
            at.waited += waited;
            most.saturating_sub(at.waited)
        });
        left.filter(|left| !left.is_zero()).min()
    }
}

impl Turn {
    /// The chunk was read, from this source: others may read the next one while it is made ready.
    pub(crate) fn was_read(&self, source: Box<dyn Source>) {
        let mut state = self.reading.lock();
        (state.source, state.being_read) = (Some(source), false);
        state.next += 1;
        state.making.insert(self.index);
        drop(state);
        self.reading.changed.notify_waiters();
    }

    /// The chunk is ready.
    pub(crate) fn was_made(mut self, made: Made) {
        self.done = true;
        let mut state = self.reading.lock();
        state.making.remove(&self.index);
        state.bytes += made.bytes();
        state.made.insert(self.index, made);
        drop(state);
        self.reading.changed.notify_waiters();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut state = self.reading.lock();
        if state.making.remove(&self.index) {
            // A stage failed: each finds out for itself.
            state.over = true;
        } else {
            // Whoever is next reads it of its own source.
            state.being_read = false;
        }
        drop(state);
        self.reading.changed.notify_waiters();
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
