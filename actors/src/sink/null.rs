//! An inbox that counts and discards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use estafette::pipeline::{Committed, Inbox, Offer, Placement, Refusal, Sink, SinkError, Summary};
use futures_util::future::BoxFuture;

/// Takes everything and keeps nothing: for measuring what comes before it. Clones share their
/// counts.
#[derive(Clone, Debug, Default)]
pub struct NullSink {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    deliveries: AtomicU64,
}

impl NullSink {
    /// An inbox with its counts at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes taken so far, in all deliveries.
    pub fn bytes(&self) -> u64 {
        self.counts.bytes.load(Ordering::Relaxed)
    }

    /// Deliveries committed so far.
    pub fn deliveries(&self) -> u64 {
        self.counts.deliveries.load(Ordering::Relaxed)
    }
}

impl Inbox for NullSink {
    fn open(&self, _offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for NullSink {
    fn placement(&self) -> Placement {
        Placement::Anywhere
    }

    fn write<'a>(
        &'a mut self,
        _offset: u64,
        bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        self.counts.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(())))
    }

    fn commit<'a>(
        &'a mut self,
        _summary: &'a Summary,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        self.counts.deliveries.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(Committed::default())))
    }

    fn abort(&mut self, _reason: &str) {}
}
