//! A body that is content of an inbox, read as its client takes it.
//!
//! Invariant: a client that takes nothing holds its file no longer than [`WITHIN`], and the piece
//! that it does not take is counted until it is on the wire.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::AbortHandle;

use super::{Content, PIECE};
use crate::room::Held;
use crate::tokens::{Pass, Refusal, Tokens};

/// A client takes so many bytes at least in each such time.
const WITHIN: Duration = Duration::from_secs(60);
const LEAST: u64 = PIECE as u64;

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

pub(crate) struct Taking {
    left: Arc<Mutex<Left>>,
    reading: Option<Reading>,
    timer: AbortHandle,
}

struct Left {
    /// Nothing, if it is given up.
    open: Option<Open>,
    at: u64,
    to: u64,
    /// Set if it was given up since its token is none any more.
    ended: Option<Refusal>,
}

struct Open {
    content: Content,
    place: Arc<Held>,
}

/// A piece, and the place that is taken until it is dropped.
struct Counted(Bytes, #[allow(dead_code, reason = "it is dropped with the piece")] Arc<Held>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Taking {
    /// The bytes from the first of these up to the second, for as long as the token is one.
    pub(crate) fn new(
        content: Content,
        (at, to): (u64, u64),
        place: impl Into<Arc<Held>>,
        tokens: Tokens,
        pass: Pass,
    ) -> Self {
        let open = Some(Open { content, place: place.into() });
        let left = Arc::new(Mutex::new(Left { open, at, to, ended: None }));
        let watched = Arc::clone(&left);
        let timer = tokio::spawn(async move {
            let ended = tokio::select! {
                () = slow(&watched) => None,
                refusal = tokens.ended(&pass) => Some(refusal),
            };
            let mut left = lock(&watched);
            (left.open, left.ended) = (None, ended);
        });
        Self { left, reading: None, timer: timer.abort_handle() }
    }

    /// The refusal of its token, if it was given up for that.
    #[cfg(feature = "grpc")]
    pub(crate) fn ended(&self) -> Option<Refusal> {
        lock(&self.left).ended
    }
}

/// Returns when too little was taken.
async fn slow(left: &Mutex<Left>) {
    let mut before = lock(left).at;
    loop {
        tokio::time::sleep(WITHIN).await;
        let now = lock(left).at;
        if now - before < LEAST {
            return;
        }
        before = now;
    }
}

fn lock(left: &Mutex<Left>) -> MutexGuard<'_, Left> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

impl http_body::Body for Taking {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.reading.is_none() {
            let left = lock(&self.left);
            if left.at == left.to {
                return Poll::Ready(None);
            }
            let Some(Open { content, place }) = &left.open else {
                let text = "the client took too little of it, or its token is none any more";
                return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, text))));
            };
            let (content, place, at) = (content.clone(), Arc::clone(place), left.at);
            let count = PIECE.min(usize::try_from(left.to - at).unwrap_or(PIECE));
            drop(left);
            self.reading = Some(Box::pin(async move {
                let piece = content.piece(at, count).await?;
                Ok(Bytes::from_owner(Counted(piece, place)))
            }));
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let piece = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        Poll::Ready(Some(piece.map(|piece| {
            lock(&self.left).at += piece.len() as u64;
            Frame::data(piece)
        })))
    }

    fn is_end_stream(&self) -> bool {
        let left = lock(&self.left);
        left.at == left.to
    }

    fn size_hint(&self) -> SizeHint {
        let left = lock(&self.left);
        SizeHint::with_exact(left.to - left.at)
    }
}
