//! The body of a request: how it ended, and what is read of it and not handed on.
//!
//! Invariant: a request that breaks off is told apart from one that ends. (`tonic` takes the reset
//! of a stream for its end.) What all calls have read of messages that are not whole yet is bounded
//! together, since a message of 16 MiB may come byte by byte, and many of them at once; so are
//! answers that their clients do not take.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body as Incoming;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::{ANSWERS_MOST, UNFINISHED_MOST};
use crate::room::{Held, Room};

/// The bytes that all calls of a door have read of messages that are not whole yet; and room for
/// answers that are not taken yet, of which each token has its share.
#[derive(Debug)]
pub(super) struct Unfinished {
    coming: AtomicUsize,
    answers: Arc<Room>,
}

impl Default for Unfinished {
    fn default() -> Self {
        Self { coming: AtomicUsize::default(), answers: Room::of(ANSWERS_MOST) }
    }
}

/// The same of one call, and how its body ended.
#[derive(Debug)]
pub(super) struct Meter {
    all: Arc<Unfinished>,
    /// Whose call it is.
    token: String,
    /// Set if its answer is written as a text of base64.
    is_text: bool,
    mine: AtomicUsize,
    /// The number of messages that are whole.
    wholes: AtomicUsize,
    broke: AtomicBool,
    /// Kept by what is answered.
    place: OnceLock<Arc<Held>>,
}

impl Meter {
    pub(super) fn of(all: &Arc<Unfinished>, token: &str, is_text: bool) -> Arc<Self> {
        let (mine, wholes, broke, place) = Default::default();
        let (all, token) = (Arc::clone(all), token.to_owned());
        Arc::new(Self { all, token, is_text, mine, wholes, broke, place })
    }

    /// Returns `true` if the body ended in an error.
    pub(super) fn broke(&self) -> bool {
        self.broke.load(Ordering::Acquire)
    }

    /// Takes room for so many bytes; `false` if there is none.
    fn take(&self, bytes: usize) -> bool {
        self.mine.fetch_add(bytes, Ordering::Relaxed);
        self.all.coming.fetch_add(bytes, Ordering::Relaxed) + bytes <= UNFINISHED_MOST
    }

    /// Takes room for the one answer of a call, until it is on the wire; false if too many wait.
    /// The answers of a stream take none: one of them waits for its client at a time.
    pub(super) fn answer(&self, bytes: usize) -> bool {
        if bytes < LARGE {
            return true;
        }
        let written = if self.is_text { bytes.div_ceil(3) * 4 } else { bytes };
        match self.all.answers.take(&self.token, written) {
            Some(held) => {
                self.keep(Arc::new(held));
                true
            }
            None => false,
        }
    }

    /// Each answer keeps this place until it is on the wire.
    pub(super) fn keep(&self, place: Arc<Held>) {
        // There is one of a call.
        let _ = self.place.set(place);
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
        self.all.coming.fetch_sub(freed, Ordering::Relaxed);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.all.coming.fetch_sub(*self.mine.get_mut(), Ordering::Relaxed);
    }
}

/// The body of an answer: it keeps its place until it is on the wire, which is long after the body
/// has ended where a client does not read.
pub(super) struct Answer<B> {
    pub(super) body: B,
    pub(super) meter: Arc<Meter>,
}

/// Smaller ones are not worth counting.
const LARGE: usize = 64 << 10;

/// Bytes that keep a place until they are dropped.
struct Kept(Bytes, #[expect(dead_code, reason = "it is dropped with them")] Arc<Held>);

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|bytes| match self.meter.place.get() {
                    Some(place) => Bytes::from_owner(Kept(bytes, Arc::clone(place))),
                    None => bytes,
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
    /// The call of a page whose request it is.
    pub(super) web: Option<Web>,
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
            Some(Err(_)) if self.web.as_ref().is_some_and(Web::is_whole) => {
                Status::invalid_argument("the request is no text of base64, as its type says")
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

/// The mark of a call of a page, which knows whether its request broke off.
#[derive(Clone, Debug, Default)]
pub(super) struct Web(Arc<AtomicBool>);

impl Web {
    /// Returns `true` if nothing of its request is missing so far: a fault in it is its client's.
    pub(super) fn is_whole(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }
}

/// The body of such a request, before it is decoded.
pub(super) struct Raw {
    body: Incoming,
    web: Web,
}

impl Raw {
    pub(super) fn new(body: Incoming, web: &Web) -> Self {
        Self { body, web: web.clone() }
    }
}

impl Body for Raw {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if matches!(frame, Some(Err(_))) {
            self.web.0.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
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
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::future::poll_fn;

    use super::*;
    use crate::room::Room;

    #[test]
    fn answers_that_nobody_takes_have_the_room_of_their_token_until_they_are_dropped() {
        let all = Arc::<Unfinished>::default();
        let call = |token, is_text| Meter::of(&all, token, is_text);
        let share = ANSWERS_MOST / 4;
        let one = call("one", false);
        assert!(one.answer(share - LARGE) && !call("one", false).answer(LARGE + 1));
        assert!(call("one", false).answer(LARGE - 1), "small ones are not worth counting");
        assert!(!call("two", true).answer(share), "its text is longer");
        let others = [call("two", true), call("three", false), call("four", false)];
        assert!(others[0].answer(share / 4 * 3));
        assert!(others[1..].iter().all(|call| call.answer(share)));
        assert!(!call("five", false).answer(LARGE + 1), "there is no more");
        drop(one);
        assert!(call("five", false).answer(LARGE + 1));
    }

    #[tokio::test]
    async fn replies_of_streams_that_nobody_takes_keep_no_answer_out() {
        let (all, mut untaken) = (Arc::<Unfinished>::default(), Vec::new());
        for _ in 0..ANSWERS_MOST >> 20 {
            let reply = axum::body::Body::from(vec![7; 1 << 20]);
            let meter = Meter::of(&all, "one", false);
            let mut body = Answer { body: tonic::body::Body::new(reply), meter };
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            untaken.push((frame.unwrap().unwrap().into_data().unwrap(), body));
        }
        assert!(Meter::of(&all, "one", false).answer(ANSWERS_MOST / 4));
    }

    #[tokio::test]
    async fn content_keeps_its_place_until_it_is_on_the_wire_and_no_room_of_other_answers() {
        let (all, room) = (Arc::<Unfinished>::default(), Room::of(4));
        let meter = Meter::of(&all, "reader", false);
        meter.keep(Arc::new(room.take("reader", 1).unwrap()));
        let content = axum::body::Body::from(vec![7; LARGE]);
        let mut body = Answer { body: tonic::body::Body::new(content), meter };
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let frame = frame.unwrap().unwrap().into_data().unwrap();
        drop(body);
        assert_eq!(frame.len(), LARGE);
        let share = Meter::of(&all, "reader", false).answer(ANSWERS_MOST / 4);
        assert!(share, "it takes no room of other answers");
        assert!(room.take("reader", 1).is_none(), "its client has not taken it");
        drop(frame);
        assert!(room.take("reader", 1).is_some());
    }

    #[test]
    fn what_is_unfinished_counts_over_all_calls_until_it_is_whole_or_given_up() {
        let all = Arc::<Unfinished>::default();
        let (one, two) = (Meter::of(&all, "one", false), Meter::of(&all, "two", false));
        assert!(one.take(UNFINISHED_MOST - 10) && two.take(10));
        assert!(!two.take(1), "there is no room for more");
        one.whole(UNFINISHED_MOST - 10);
        assert!(two.take(5));
        drop(two);
        assert_eq!(all.coming.load(Ordering::Relaxed), 0);
        // A message has its own bytes only: those of its head stay until the call is over.
        assert!(one.take(15));
        one.whole(10);
        assert_eq!(all.coming.load(Ordering::Relaxed), 5);
        one.whole(100);
        assert_eq!(all.coming.load(Ordering::Relaxed), 0);
    }
}
