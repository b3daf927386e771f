//! The requests that are open on a connection: those whose answers have not ended.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The requests of a connection.
#[derive(Debug)]
pub(crate) struct Busy {
    opened: Instant,
    state: Mutex<State>,
    /// Nothing is open any more, and somebody waits for that.
    ended: Notify,
    /// Something was asked.
    began: Notify,
}

#[derive(Debug)]
struct State {
    open: usize,
    /// Set if anything was ever answered to somebody who may ask it.
    ever: bool,
    /// The time when the last one ended.
    since: Instant,
    awaited: bool,
}

/// The mark of an answer that anybody gets: it is no reason to keep a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anybodys;

/// A request, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<Busy>);

/// The body of an answer, whose request is open until it has ended.
#[derive(Debug)]
pub(crate) struct Counted {
    body: Body,
    _open: Option<Open>,
}

impl Default for Busy {
    fn default() -> Self {
        let state = State { open: 0, ever: false, since: Instant::now(), awaited: false };
        let (opened, state) = (state.since, Mutex::new(state));
        Self { opened, state, ended: Notify::new(), began: Notify::new() }
    }
}

impl Busy {
    pub(crate) fn begin(self: &Arc<Self>) -> Open {
        self.state().open += 1;
        self.began.notify_one();
        Open(Arc::clone(self))
    }

    /// Waits until nothing has been open for so long, `later`; on a connection on which nothing was
    /// ever answered but refusals, until nothing is open when it is as old as `first`.
    pub(crate) async fn idle(&self, first: Duration, later: Duration) {
        let called = Instant::now();
        self.until(|state| match state.ever {
            true => state.since.max(called) + later,
            false => self.opened + first,
        })
        .await;
    }

    /// Waits until nothing has been open for so long, beginning now.
    pub(crate) async fn quiet(&self, long: Duration) {
        let called = Instant::now();
        self.until(|state| state.since.max(called) + long).await;
    }

    /// It looks when its time is over, and is woken by no request.
    async fn until(&self, end: impl Fn(&State) -> Instant) {
        loop {
            let until = {
                let mut state = self.state();
                state.awaited = state.open > 0;
                (state.open == 0).then(|| end(&state))
            };
            match until {
                None => self.ended.notified().await,
                Some(until) if until <= Instant::now() => return,
                Some(until) => sleep_until(until).await,
            }
        }
    }

    /// Waits until something was ever asked, for so long at most. One waits at a time.
    pub(crate) async fn asked(&self, within: Duration) {
        // Nothing comes any more then.
        let _ = tokio::time::timeout(within, self.began.notified()).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// The request was answered so. A refusal keeps no connection, taken or not.
    pub(crate) fn answered<B>(self, answer: &Response<B>) -> Option<Self> {
        let is_refused = answer.status().is_client_error()
            || answer.headers().get("grpc-status").is_some_and(|status| status != "0");
        if is_refused {
            return None;
        }
        if answer.extensions().get::<Anybodys>().is_some() {
            return Some(self);
        }
        self.0.state().ever = true;
        Some(self)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open -= 1;
        if state.open == 0 {
            state.since = Instant::now();
            if std::mem::take(&mut state.awaited) {
                self.0.ended.notify_one();
            }
        }
    }
}

impl Counted {
    pub(crate) fn new(body: Body, open: Option<Open>) -> Self {
        Self { body, _open: open }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
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

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_nothing_is_open_for_long_enough() {
        let busy = Arc::new(Busy::default());
        let (first, later) = (Duration::from_secs(10), Duration::from_secs(60));
        let start = tokio::time::Instant::now();
        let _ = tokio::time::timeout(Duration::from_secs(9), busy.idle(first, later)).await;
        busy.idle(first, later).await;
        assert_eq!(start.elapsed(), first, "nothing ever was, whenever that was asked");
        busy.quiet(first).await;
        assert_eq!(start.elapsed(), first * 2, "last words have their time");
        let (one, two) = (busy.begin(), busy.begin());
        let one = one.answered(&Response::new(()));
        let ends = async {
            tokio::time::sleep(Duration::from_secs(1000)).await;
            drop(one);
            tokio::time::sleep(Duration::from_secs(1000)).await;
            drop(Counted::new(Body::empty(), Some(two)));
        };
        let start = tokio::time::Instant::now();
        tokio::join!(ends, busy.idle(first, later));
        assert_eq!(start.elapsed(), Duration::from_secs(2060));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_of_which_every_request_is_refused_is_not_kept_by_them() {
        let answers: [(u16, &[(&str, &str)]); 4] =
            [(401, &[]), (415, &[]), (200, &[("grpc-status", "16")]), (200, &[])];
        for (status, headers) in answers {
            let mut answer = Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(*name, *value);
            }
            let answer = answer.body(()).unwrap_or_default();
            let is_let_in = status == 200 && headers.is_empty();
            let busy = Arc::new(Busy::default());
            let asks = async {
                loop {
                    let open = busy.begin().answered(&answer);
                    assert_eq!(open.is_some(), is_let_in, "whether it is taken or not");
                    drop(open);
                    tokio::time::sleep(Duration::from_secs(3)).await;
                }
            };
            let idle = busy.idle(Duration::from_secs(10), Duration::from_secs(60));
            let start = tokio::time::Instant::now();
            let is_kept = tokio::select! {
                () = idle => false,
                () = asks => true,
                () = tokio::time::sleep(Duration::from_secs(1000)) => true,
            };
            assert_eq!(is_kept, is_let_in, "{answer:?}");
            assert!(is_kept || start.elapsed() == Duration::from_secs(10), "{answer:?}");
        }
    }
}
