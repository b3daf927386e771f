//! Calls that come in by a door, counted for the node's snapshot.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use estafette::node::{DoorCall, DoorCounts};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::access::Access;

/// Statuses of HTTP, and codes of gRPC, of who is not let in, or for whom there is no room.
const REFUSED: [u16; 4] = [401, 403, 429, 503];
const REFUSED_CALLS: [&[u8]; 3] = [b"7", b"8", b"16"];

/// Counts what comes to all routes of a door of this kind.
pub(crate) fn counted(router: Router, access: &Access, kind: &str) -> Router {
    let counts = access.node().count_door(access.name().unwrap_or(kind), kind);
    router.layer(axum::middleware::from_fn(move |request: Request, next: Next| {
        let counts = Arc::clone(&counts);
        async move { count(counts, request, next).await }
    }))
}

async fn count(counts: Arc<DoorCounts>, request: Request, next: Next) -> Response {
    let call = Arc::new(counts.call());
    let coming = Arc::clone(&call);
    let request = request.map(|body| Body::new(Counted { body, call: coming, is_answer: false }));
    let answer = next.run(request).await;
    let code = answer.headers().get("grpc-status").map(|code| code.as_bytes());
    let is_refused = REFUSED.contains(&answer.status().as_u16())
        || code.is_some_and(|code| REFUSED_CALLS.contains(&code));
    if is_refused {
        counts.refuse();
    }
    answer.map(|body| Body::new(Counted { body, call, is_answer: true }))
}

/// A body whose bytes are counted; its call is open as long as it is there.
struct Counted {
    body: Body,
    call: Arc<DoorCall>,
    is_answer: bool,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            match self.is_answer {
                true => self.call.sent(data.len() as u64),
                false => self.call.received(data.len() as u64),
            }
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
