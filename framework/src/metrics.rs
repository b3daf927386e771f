//! The counters of every stage.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The counters of one stage, shared by all actors that run it.
#[derive(Debug, Default)]
pub struct StageMetrics {
    chunks: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    busy_nanos: AtomicU64,
    waiting: AtomicI64,
    high_water: AtomicI64,
    panics: AtomicU64,
    restarts: AtomicU64,
}

/// The counters of one stage at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageReport {
    /// The stage's name.
    pub stage: String,
    /// Chunks done.
    pub chunks: u64,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Time spent working, summed over the actors that run it.
    pub busy: Duration,
    /// The most messages that waited at once.
    pub mailbox_high_water: u64,
    /// Panics caught.
    pub panics: u64,
    /// Times an actor of it was started anew.
    pub restarts: u64,
}

impl StageMetrics {
    /// A message was put into the mailbox.
    pub fn enqueued(&self) {
        let waiting = self.waiting.fetch_add(1, Relaxed) + 1;
        self.high_water.fetch_max(waiting, Relaxed);
    }

    /// A message was taken out of the mailbox.
    pub fn dequeued(&self) {
        self.waiting.fetch_sub(1, Relaxed);
    }

    /// The mailbox is gone with all that lay in it.
    pub fn mailbox_emptied(&self) {
        self.waiting.store(0, Relaxed);
    }

    /// One chunk was done.
    pub fn done(&self, bytes_in: usize, bytes_out: usize, busy: Duration) {
        self.chunks.fetch_add(1, Relaxed);
        self.bytes_in.fetch_add(bytes_in as u64, Relaxed);
        self.bytes_out.fetch_add(bytes_out as u64, Relaxed);
        self.worked(busy);
    }

    /// Time was spent on all chunks together: syncing them, say.
    pub fn worked(&self, busy: Duration) {
        self.busy_nanos.fetch_add(u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// A panic was caught.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// An actor was started anew.
    pub fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    /// The counters now.
    pub fn report(&self, stage: &str) -> StageReport {
        StageReport {
            stage: stage.to_owned(),
            chunks: self.chunks.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            busy: Duration::from_nanos(self.busy_nanos.load(Relaxed)),
            mailbox_high_water: u64::try_from(self.high_water.load(Relaxed)).unwrap_or(0),
            panics: self.panics.load(Relaxed),
            restarts: self.restarts.load(Relaxed),
        }
    }
}

/// The counters of all stages of a node, by name, in the order in which they were first asked for.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<Vec<NamedStage>>>);

type NamedStage = (String, Arc<StageMetrics>);

impl Metrics {
    /// The counters of the stage `name`. Names come from registered stages, so there are few.
    pub fn stage(&self, name: &str) -> Arc<StageMetrics> {
        let mut stages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, metrics)) = stages.iter().find(|(known, _)| known == name) {
            return Arc::clone(metrics);
        }
        let metrics = Arc::<StageMetrics>::default();
        stages.push((name.to_owned(), Arc::clone(&metrics)));
        metrics
    }

    /// All counters now.
    pub fn report(&self) -> Vec<StageReport> {
        let stages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stages.iter().map(|(name, metrics)| metrics.report(name)).collect()
    }
}
