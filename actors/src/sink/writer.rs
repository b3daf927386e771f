//! An inbox that writes to any `AsyncWrite`.

use std::sync::Arc;

use bytes::Bytes;
use estafette::pipeline::{Committed, Inbox, Offer, Placement, Refusal, Sink, SinkError, Summary};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::errors::closed;
use crate::tree::printable;

type Writer = Box<dyn AsyncWrite + Send + Unpin>;
type Factory = dyn Fn(&Offer) -> Result<Writer, Refusal> + Send + Sync;

/// Gives each delivery a writer of its own. Made by [`WriterSink::inbox`].
#[derive(Clone)]
pub struct WriterInbox {
    factory: Arc<Factory>,
}

/// Writes one delivery, in order, while it comes.
///
/// What was written can't be taken back: when a delivery fails in the middle, the writer is dropped
/// without being shut down, and whoever is behind it has to tell an abrupt end from a proper one.
/// Commit flushes and shuts down; whether that makes anything durable is the writer's concern.
pub struct WriterSink {
    name: String,
    position: u64,
    writer: Option<Writer>,
}

impl WriterSink {
    /// An inbox that asks `factory` for a writer, or for the reason of a refusal, at each delivery.
    /// `factory` may block.
    pub fn inbox<W, F>(factory: F) -> WriterInbox
    where
        W: AsyncWrite + Send + Unpin + 'static,
        F: Fn(&Offer) -> Result<W, Refusal> + Send + Sync + 'static,
    {
        WriterInbox {
            factory: Arc::new(move |offer| factory(offer).map(|writer| Box::new(writer) as Writer)),
        }
    }

    fn failed(&self, error: std::io::Error) -> SinkError {
        SinkError::Write { what: self.name.clone(), error }
    }

    async fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        if offset != self.position {
            let reason = format!("bytes at {offset} came when those at {} were due", self.position);
            return Err(SinkError::Refused(Refusal::new(reason)));
        }
        let writer = self.writer.as_mut().ok_or_else(closed)?;
        let written = writer.write_all(bytes).await;
        written.map_err(|error| self.failed(error))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    async fn close(&mut self) -> Result<Committed, SinkError> {
        let mut writer = self.writer.take().ok_or_else(closed)?;
        writer.flush().await.map_err(|error| self.failed(error))?;
        writer.shutdown().await.map_err(|error| self.failed(error))?;
        Ok(Committed::default())
    }
}

impl Inbox for WriterInbox {
    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        let writer = (self.factory)(offer)?;
        Ok(Box::new(WriterSink {
            name: printable(offer.content.name.as_bytes()),
            position: 0,
            writer: Some(writer),
        }))
    }
}

impl Sink for WriterSink {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(
        &'a mut self,
        offset: u64,
        bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.append(offset, bytes))
    }

    fn commit<'a>(
        &'a mut self,
        _summary: &'a Summary,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(self.close())
    }

    fn abort(&mut self, _reason: &str) {
        self.writer = None;
    }
}

impl std::fmt::Debug for WriterInbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriterInbox").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for WriterSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriterSink")
            .field("name", &self.name)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
