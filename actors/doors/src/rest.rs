//! The rest of a request's body when its answer is there.
//!
//! A client that is still writing when its connection is closed, or its stream reset, may lose the
//! answer: it takes a refusal for a broken connection, and sends all of it again. So the rest is
//! read, and thrown away. Invariant: that has an end, in bytes and in time, and by HTTP/2 nobody who
//! is refused has more of a connection for it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

/// The most bytes that are read before an answer by HTTP/2, and the longest that they are waited
/// for: there are clients that lose the answer to what they have not yet sent (curl 7.88).
const FIRST_MOST: usize = 64 << 10;
const FIRST_WITHIN: Duration = Duration::from_millis(100);
/// The same behind an answer.
const MOST: usize = 32 << 20;
const WITHIN: Duration = Duration::from_secs(5);

/// The place where a body comes back to that nobody wants any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rest(Arc<Mutex<Option<Incoming>>>);

/// A body until then.
#[derive(Debug)]
struct Lent {
    body: Option<Incoming>,
    back: Rest,
}

impl Rest {
    pub(crate) fn lend(&self, body: Incoming) -> Body {
        Body::new(Lent { body: Some(body), back: self.clone() })
    }

    /// Reads what comes at once.
    pub(crate) async fn begin(&self) {
        let Some(body) = self.take() else { return };
        let mut lent = Lent { body: Some(body), back: self.clone() };
        discard(&mut lent, FIRST_MOST, FIRST_WITHIN).await;
    }

    /// Reads what is left, while the answer is on its way.
    pub(crate) fn go_on(self) {
        if let Some(mut body) = self.take() {
            tokio::spawn(async move { discard(&mut body, MOST, WITHIN).await });
        }
    }

    fn take(&self) -> Option<Incoming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Reads so many bytes of a body at most, for so long.
async fn discard(
    body: &mut (impl HttpBody<Data = Bytes> + Unpin),
    mut left: usize,
    within: Duration,
) {
    let read = async {
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(less) = left.checked_sub(length) else { return };
            left = less;
        }
    };
    // What is not there by then is not waited for.
    let _ = tokio::time::timeout(within, read).await;
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.back.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}
