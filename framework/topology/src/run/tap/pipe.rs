//! Content that comes from elsewhere as it is read: from a tap, or from a package.

use std::sync::Arc;

use bytes::Bytes;
use estafette::delivery::Content;
use estafette::pipeline::{Committed, Placement, Sink, SinkError, Summary};
use estafette::pipeline::{Source, SourceError, SourceReport};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The error where nobody reads any more.
pub(super) const GONE: &str = "nobody takes what is in the package any more";

enum Part {
    /// Some of it, and the room it takes.
    Bytes(Bytes, OwnedSemaphorePermit),
    End,
    Failed(String),
}

/// The end of a pipe into which content goes. It takes as many bytes as its room has.
#[derive(Debug)]
pub(super) struct Feed {
    parts: UnboundedSender<Part>,
    room: Arc<Semaphore>,
}

/// The other end, which gives it.
#[derive(Debug)]
pub(super) struct PipeSource {
    content: Content,
    parts: UnboundedReceiver<Part>,
    rest: Bytes,
    /// Held with the rest.
    held: Option<Part>,
    ended: bool,
}

/// A pipe for content, with so many bytes of room, which may be shared with others.
pub(super) fn pipe(content: Content, room: Arc<Semaphore>) -> (Feed, PipeSource) {
    let (sender, parts) = unbounded_channel();
    let source = PipeSource { content, parts, rest: Bytes::new(), held: None, ended: false };
    (Feed { parts: sender, room }, source)
}

/// Nobody reads any more, or there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Gone,
    Full,
}

impl Feed {
    /// Takes a copy, if there is room.
    pub(super) fn try_push(&self, bytes: &[u8]) -> Result<(), Refused> {
        let length = u32::try_from(bytes.len()).map_err(|_| Refused::Full)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(length);
        let part = Part::Bytes(Bytes::copy_from_slice(bytes), room.map_err(|_| Refused::Full)?);
        self.parts.send(part).map_err(|_| Refused::Gone)
    }

    async fn push(&self, bytes: &Bytes) -> Result<(), Refused> {
        let length = u32::try_from(bytes.len()).map_err(|_| Refused::Full)?;
        let room = tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(length) => room,
            () = self.parts.closed() => return Err(Refused::Gone),
        };
        let part = Part::Bytes(bytes.clone(), room.map_err(|_| Refused::Gone)?);
        self.parts.send(part).map_err(|_| Refused::Gone)
    }

    /// Returns `true` if nobody reads any more.
    pub(super) fn is_gone(&self) -> bool {
        self.parts.is_closed()
    }

    /// That was all of it.
    pub(super) fn end(&self) {
        // Whoever reads may be gone.
        let _ = self.parts.send(Part::End);
    }

    /// There will be no more, for this reason.
    pub(super) fn fail(&self, why: &str) {
        let _ = self.parts.send(Part::Failed(why.to_owned()));
    }
}

impl PipeSource {
    /// Without its name, which may be one that nobody is to see.
    fn broken(why: String) -> SourceError {
        SourceError::Unsuitable { what: "the content".into(), why }
    }
}

impl Source for PipeSource {
    fn content(&self) -> Content {
        self.content.clone()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(async move {
            while self.rest.is_empty() && !self.ended {
                self.held = None;
                match self.parts.recv().await {
                    Some(Part::Bytes(bytes, room)) => {
                        self.rest = bytes.clone();
                        self.held = Some(Part::Bytes(bytes, room));
                    }
                    Some(Part::End) => self.ended = true,
                    Some(Part::Failed(why)) => return Err(Self::broken(why)),
                    None => return Err(Self::broken("it broke off".into())),
                }
            }
            let count = self.rest.len().min(buffer.len());
            let taken = self.rest.split_to(count);
            if let Some(front) = buffer.get_mut(..count) {
                front.copy_from_slice(&taken);
            }
            Ok(count)
        })
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Ok(SourceReport::default())
    }
}

/// The end of a pipe as a sink: what it is given comes out at the other end, and ends there only
/// when it was verified.
#[derive(Debug)]
pub(super) struct PipeSink(pub(super) Feed);

impl Sink for PipeSink {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(&'a mut self, _: u64, bytes: &'a Bytes) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let pushed = self.0.push(bytes).await;
            pushed.map_err(|_| SinkError::Gone(GONE.into()))
        })
    }

    fn commit<'a>(&'a mut self, _: &'a Summary) -> BoxFuture<'a, Result<Committed, SinkError>> {
        self.0.end();
        Box::pin(std::future::ready(Ok(Committed::default())))
    }

    fn abort(&mut self, reason: &str) {
        self.0.fail(reason);
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes, _) => write!(f, "{} bytes", bytes.len()),
            Self::End => f.write_str("the end"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}
