//! What is open on a connection: requests whose answers have not ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::watch;

/// The requests of a connection.
#[derive(Debug, Default)]
pub(crate) struct Busy(watch::Sender<Count>);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    open: usize,
    ever: bool,
}

/// A request, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(Arc<Busy>);

/// The body of an answer, whose request is open until it has ended.
#[derive(Debug)]
pub(crate) struct Counted {
    body: Body,
    _open: Open,
}

impl Busy {
    pub(crate) fn begin(self: &Arc<Self>) -> Open {
        self.0.send_modify(|count| *count = Count { open: count.open + 1, ever: true });
        Open(Arc::clone(self))
    }

    /// Waits until nothing has been open for so long: `first`, if nothing ever was.
    pub(crate) async fn idle(&self, first: Duration, later: Duration) {
        let mut changes = self.0.subscribe();
        loop {
            let count = *changes.borrow_and_update();
            let changed = changes.changed();
            if count.open > 0 {
                // Its other end is here.
                let _ = changed.await;
                continue;
            }
            let limit = if count.ever { later } else { first };
            if tokio::time::timeout(limit, changed).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| count.open -= 1);
    }
}

impl Counted {
    pub(crate) fn new(body: Body, open: Open) -> Self {
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
        busy.idle(first, later).await;
        assert_eq!(start.elapsed(), first, "nothing ever was");
        let (one, two) = (busy.begin(), busy.begin());
        let ends = async {
            tokio::time::sleep(Duration::from_secs(1000)).await;
            drop(one);
            tokio::time::sleep(Duration::from_secs(1000)).await;
            drop(Counted::new(Body::empty(), two));
        };
        let start = tokio::time::Instant::now();
        tokio::join!(ends, busy.idle(first, later));
        assert_eq!(start.elapsed(), Duration::from_secs(2060));
    }
}
