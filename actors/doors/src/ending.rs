//! A stream that ends when it must, whether or not somebody reads it.
//!
//! Invariant: at that moment all that it is made of is dropped, so that a client which takes nothing
//! keeps neither its call at an actor nor its place. What it is told then waits for it.

use std::mem::replace;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::{Stream, StreamExt};
use tokio::task::AbortHandle;

/// A stream, until something happens.
pub(crate) struct Until<S: Stream> {
    open: Arc<Mutex<Open<S>>>,
    /// The task that waits for it.
    waiting: AbortHandle,
}

enum Open<S: Stream> {
    /// And whoever waits for its next item.
    Reading(S, Option<Waker>),
    /// It has ended, with this last item.
    Last(S::Item),
    Over,
}

/// The items of a stream until `end` is there, which is the last one.
pub(crate) fn until<S>(stream: S, end: impl Future<Output = S::Item> + Send + 'static) -> Until<S>
where
    S: Stream + Unpin + Send + 'static,
    S::Item: Send,
{
    let open = Arc::new(Mutex::new(Open::Reading(stream, None)));
    let read = Arc::downgrade(&open);
    let waiting = tokio::spawn(async move {
        let last = end.await;
        let Some(open) = read.upgrade() else { return };
        let mut open = lock(&open);
        if let Open::Reading(..) = *open
            && let Open::Reading(stream, waker) = replace(&mut *open, Open::Last(last))
        {
            drop((open, stream));
            let _ = waker.map(Waker::wake);
        }
    });
    Until { open, waiting: waiting.abort_handle() }
}

fn lock<T>(open: &Mutex<T>) -> MutexGuard<'_, T> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Stream + Unpin> Stream for Until<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut open = lock(&self.open);
        if let Open::Reading(stream, waker) = &mut *open {
            let next = stream.poll_next_unpin(cx);
            if next.is_pending() {
                *waker = Some(cx.waker().clone());
            } else if let Poll::Ready(None) = next {
                self.waiting.abort();
                let over = replace(&mut *open, Open::Over);
                drop((open, over));
            }
            return next;
        }
        Poll::Ready(match replace(&mut *open, Open::Over) {
            Open::Last(item) => Some(item),
            _ => None,
        })
    }
}

impl<S: Stream> Drop for Until<S> {
    fn drop(&mut self) {
        self.waiting.abort();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use futures_util::stream;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_it_is_made_of_goes_at_its_end_though_nobody_reads_it() {
        let (end, ended) = oneshot::channel();
        let (held, mut gone) = oneshot::channel::<()>();
        let forever = stream::repeat(7).map(move |item| {
            let _kept = &held;
            item
        });
        let mut read = until(forever, async move { ended.await.unwrap() });
        assert_eq!(read.next().await, Some(7));
        end.send(8).unwrap();
        // Nobody reads meanwhile.
        assert!((&mut gone).await.is_err(), "it was dropped, not used");
        assert_eq!((read.next().await, read.next().await), (Some(8), None));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_and_one_that_ended_before_is_over() {
        let (end, ended) = oneshot::channel();
        let mut quiet = until(stream::pending(), async move { ended.await.unwrap() });
        let (next, ()) = tokio::join!(quiet.next(), async { end.send(8).unwrap() });
        assert_eq!((next, quiet.next().await), (Some(8), None));
        let (end, ended) = oneshot::channel();
        let mut short = until(stream::iter([7]), async move { ended.await.unwrap_or(8) });
        assert_eq!((short.next().await, short.next().await), (Some(7), None));
        drop(end);
        tokio::task::yield_now().await;
        assert_eq!(short.next().await, None);
    }
}
