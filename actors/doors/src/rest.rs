//! The rest of a request's body when its answer is there, by HTTP/2.
//!
//! A stream whose request was not read to its end is reset behind its answer, as it may be, and
//! there are clients that lose the answer then (curl 7.88). So what comes at once is read, and
//! thrown away. Invariant: nobody who is refused has more of a connection for that.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

/// The most bytes that are read, and the longest that they are waited for.
const MOST: usize = 64 << 10;
const WITHIN: Duration = Duration::from_millis(100);

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

    /// Reads what is left, if it comes at once.
    pub(crate) async fn read(self) {
        let Some(mut body) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let read = async {
            let mut left = MOST;
            while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(less) = left.checked_sub(length) else { return };
                left = less;
            }
        };
        // What is not there by then is not waited for.
        let _ = tokio::time::timeout(WITHIN, read).await;
    }
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
