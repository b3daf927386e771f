//! The body of a request: how it ended, and what is read of it and not handed on.
//!
//! Invariant: a request that breaks off is told apart from one that ends. (`tonic` takes the reset
//! of a stream for its end.) What all calls have read of messages that are not whole yet is bounded
//! together, since a message of 16 MiB may come byte by byte, and many of them at once; so are
//! answers that their clients do not take.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body as Incoming;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::UNFINISHED_MOST;

/// The bytes that all calls of a door have read of messages that are not whole yet; and the answers
/// that are not taken yet.
#[derive(Debug, Default)]
pub(super) struct Unfinished(AtomicUsize, AtomicUsize);

/// An answer that waits for its client.
#[derive(Debug)]
pub(super) struct Untaken {
    all: Arc<Unfinished>,
    bytes: usize,
}

impl Untaken {
    fn new(all: &Arc<Unfinished>, bytes: usize) -> Self {
        all.1.fetch_add(bytes, Ordering::Relaxed);
        Self { all: Arc::clone(all), bytes }
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        self.all.1.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The same of one call, and how its body ended.
#[derive(Debug)]
pub(super) struct Meter {
    all: Arc<Unfinished>,
    mine: AtomicUsize,
    /// The number of messages that are whole.
    wholes: AtomicUsize,
    broke: AtomicBool,
}

impl Meter {
    pub(super) fn of(all: &Arc<Unfinished>) -> Arc<Self> {
        let (mine, wholes) = Default::default();
        Arc::new(Self { all: Arc::clone(all), mine, wholes, broke: AtomicBool::new(false) })
    }

    /// Returns `true` if the body ended in an error.
    pub(super) fn broke(&self) -> bool {
        self.broke.load(Ordering::Acquire)
    }

    /// Takes room for so many bytes; `false` if there is none.
    fn take(&self, bytes: usize) -> bool {
        self.mine.fetch_add(bytes, Ordering::Relaxed);
        self.all.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= UNFINISHED_MOST
    }

    /// Takes room for an answer, until its client has it; `None` if too many wait.
    pub(super) fn answer(&self, bytes: usize) -> Option<Untaken> {
        let before = self.all.1.load(Ordering::Relaxed);
        let has_room = before == 0 || before + bytes <= UNFINISHED_MOST;
        has_room.then(|| Untaken::new(&self.all, bytes))
    }

    /// The number of the message that has begun to come and is not whole, if one is.
    pub(super) fn begun(&self) -> Option<usize> {
        let has_begun = self.mine.load(Ordering::Relaxed) > 0;
        has_begun.then(|| self.wholes.load(Ordering::Relaxed))
    }

    /// A message of so many bytes is whole.
    pub(super) fn whole(&self, bytes: usize) {
        self.wholes.fetch_add(1, Ordering::Relaxed);
        // What is read behind it in the same frame is a frame at most.
        let taken = |mine: usize| Some(mine.saturating_sub(bytes));
        let before = self.mine.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
        let freed = before.unwrap_or_default().min(bytes);
        self.all.0.fetch_sub(freed, Ordering::Relaxed);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.all.0.fetch_sub(*self.mine.get_mut(), Ordering::Relaxed);
    }
}

/// The body of an answer: what is large in it counts until it is on the wire, which is long after
/// the body has ended where a client does not read.
pub(super) struct Answer {
    pub(super) body: tonic::body::Body,
    pub(super) meter: Arc<Meter>,
}

/// Smaller ones are not worth counting.
const LARGE: usize = 64 << 10;

/// Bytes that count until they are dropped.
struct Counted(Bytes, #[allow(dead_code, reason = "it is dropped with them")] Untaken);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|bytes| {
                    if bytes.len() < LARGE {
                        return bytes;
                    }
                    let untaken = Untaken::new(&self.meter.all, bytes.len());
                    Bytes::from_owner(Counted(bytes, untaken))
                })
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that is metered.
pub(super) struct Metered {
    pub(super) body: Incoming,
    pub(super) meter: Arc<Meter>,
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let failed = match frame {
            None => return Poll::Ready(None),
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                if self.meter.take(length) {
                    return Poll::Ready(Some(Ok(frame)));
                }
                Status::resource_exhausted(format!(
                    "{UNFINISHED_MOST} bytes of messages that have not come to their end are \
                     waiting here already: send less at a time"
                ))
            }
            Some(Err(error)) => Status::cancelled(format!("the request broke off: {error}")),
        };
        self.meter.broke.store(true, Ordering::Release);
        Poll::Ready(Some(Err(failed)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The longest that a request may take that anybody may make.
const BRIEF: Duration = Duration::from_secs(5);

/// The body of a request that anybody may make: it ends within [`BRIEF`], or is given up.
pub(super) struct Brief {
    body: Incoming,
    limit: Pin<Box<Sleep>>,
}

impl Brief {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, limit: Box::pin(sleep(BRIEF)) }
    }
}

impl Body for Brief {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // First of all, lest one who sends without a pause is never looked at.
        if self.limit.as_mut().poll(cx).is_ready() {
            let text = format!("the request is not whole after {BRIEF:?}");
            return Poll::Ready(Some(Err(Status::deadline_exceeded(text))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let broke = |error| Status::cancelled(format!("the request broke off: {error}"));
        Poll::Ready(frame.map(|frame| frame.map_err(broke)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_nobody_takes_are_bounded_until_they_are_dropped() {
        let all = Arc::<Unfinished>::default();
        let (one, two) = (Meter::of(&all), Meter::of(&all));
        let large = one.answer(UNFINISHED_MOST + 1);
        assert!(large.is_some(), "one is told, however large it is");
        assert!(two.answer(1).is_none());
        drop(large);
        let small = two.answer(UNFINISHED_MOST - 1);
        assert!(small.is_some() && one.answer(1).is_some() && one.answer(2).is_none());
        drop(small);
        assert_eq!(all.1.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_unfinished_counts_over_all_calls_until_it_is_whole_or_given_up() {
        let all = Arc::<Unfinished>::default();
        let (one, two) = (Meter::of(&all), Meter::of(&all));
        assert!(one.take(UNFINISHED_MOST - 10) && two.take(10));
        assert!(!two.take(1), "there is no room for more");
        one.whole(UNFINISHED_MOST - 10);
        assert!(two.take(5));
        drop(two);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
        // A message has its own bytes only: those of its head stay until the call is over.
        assert!(one.take(15));
        one.whole(10);
        assert_eq!(all.0.load(Ordering::Relaxed), 5);
        one.whole(100);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }
}
