//! Content that a client sends, as the node reads it: part by part, at the node's pace, and at a
//! pace of its own that keeps no place for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The longest wait, all together, for each [`LEAST`] bytes of content: who sends a byte a second
/// keeps no place.
const SENDS_WITHIN: Duration = Duration::from_secs(60);
pub(crate) const LEAST: usize = 64 << 10;

/// The longest key of content, or of a message, in bytes.
pub(crate) const KEY_MOST: usize = 255;

/// The pace of who sends content: what the node takes is no time of the client's.
#[derive(Debug)]
pub(crate) struct Pace {
    left: Duration,
    come: usize,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self { left: SENDS_WITHIN, come: 0 }
    }

    /// The next of what comes; `None` if it comes too late.
    pub(crate) async fn next<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        let began = Instant::now();
        let next = tokio::time::timeout(self.left, next).await.ok()?;
        self.left = self.left.saturating_sub(began.elapsed());
        Some(next)
    }

    /// So many bytes have come.
    pub(crate) const fn came(&mut self, bytes: usize) {
        self.come += bytes;
        if self.come >= LEAST {
            *self = Self::new();
        }
    }

    /// The words for who is too slow.
    pub(crate) fn too_slow() -> String {
        format!(
            "the content came too slowly, {LEAST} bytes in {} s are the least",
            SENDS_WITHIN.as_secs()
        )
    }
}

/// Content as the node reads it. Only an end that was said is one.
#[derive(Debug)]
pub(crate) struct Fed {
    parts: mpsc::Receiver<Option<Bytes>>,
    rest: Bytes,
    ended: bool,
}

impl Fed {
    /// Content whose parts are given to the sender; `None` is its end.
    pub(crate) fn of(parts: usize) -> (mpsc::Sender<Option<Bytes>>, Self) {
        let (sender, parts) = mpsc::channel(parts);
        (sender, Self { parts, rest: Bytes::new(), ended: false })
    }
}

impl AsyncRead for Fed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() && !self.ended {
            match std::task::ready!(self.parts.poll_recv(cx)) {
                Some(Some(part)) => self.rest = part,
                Some(None) => self.ended = true,
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}
