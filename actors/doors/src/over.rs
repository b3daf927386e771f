//! Calls for which a door that closes waits no longer: each ends in a word of that, as its protocol
//! has it. An answer of bytes that has begun has none: it breaks off, so that nobody takes it for
//! whole.

use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::watch;

use crate::status::HANDLED;

const WHY: &str = "the door closes, or opens with other settings: ask again";
/// The code of gRPC of who is not there at the moment.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");
/// The flag of a frame of gRPC-Web that has trailers.
const TRAILERS: u8 = 0x80;

/// The moment from which nothing is waited for.
#[derive(Clone, Debug)]
pub(crate) struct Over(pub(crate) watch::Receiver<bool>);

/// The protocol of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
    GrpcWeb,
}

/// A stream of an answer that ends at that moment.
struct Ending {
    body: Body,
    protocol: Protocol,
    over: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Over {
    pub(crate) async fn wait(mut self) {
        if self.0.wait_for(|is_over| *is_over).await.is_err() {
            // The server ends, and all with it.
            pending().await
        }
    }
}

impl Protocol {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        if kind.starts_with(b"application/grpc-web") {
            Self::GrpcWeb
        } else if kind.starts_with(b"application/grpc") {
            Self::Grpc
        } else {
            Self::Http
        }
    }

    /// The answer to a call that has none yet.
    pub(crate) fn answer(self) -> Response {
        if self == Self::Http {
            let headers =
                [("content-type", "text/plain"), ("retry-after", "1"), (HANDLED, "unknown")];
            return (StatusCode::SERVICE_UNAVAILABLE, headers, format!("{WHY}\n")).into_response();
        }
        let kind = match self {
            Self::GrpcWeb => "application/grpc-web",
            _ => "application/grpc",
        };
        let mut answer = status().into_response();
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        answer
    }

    /// The answer, whose stream ends in a word at that moment.
    pub(crate) fn until(self, over: Over, answer: Response) -> Response {
        let kind = answer.headers().get(header::CONTENT_TYPE);
        let kind = kind.map_or(&b""[..], HeaderValue::as_bytes);
        let is_stream = match self {
            Self::Http => kind.starts_with(b"text/event-stream"),
            Self::Grpc => true,
            // In base64 it would have to be, too.
            Self::GrpcWeb => !kind.starts_with(b"application/grpc-web-text"),
        };
        if !is_stream || answer.body().is_end_stream() {
            return answer;
        }
        let over = Some(Box::pin(over.wait()) as Pin<Box<dyn Future<Output = ()> + Send>>);
        answer.map(|body| Body::new(Ending { body, protocol: self, over }))
    }

    /// The last frame of a stream; one of events has none, and its clients come again.
    fn last(self) -> Option<Frame<Bytes>> {
        match self {
            Self::Http => None,
            Self::Grpc => Some(Frame::trailers(status())),
            Self::GrpcWeb => {
                let text = format!("grpc-status:14\r\ngrpc-message:{WHY}\r\n");
                let mut frame = BytesMut::with_capacity(text.len() + 5);
                frame.put_u8(TRAILERS);
                frame.put_u32(u32::try_from(text.len()).unwrap_or_default());
                frame.put_slice(text.as_bytes());
                Some(Frame::data(frame.freeze()))
            }
        }
    }
}

fn status() -> HeaderMap {
    let message = HeaderValue::from_static(WHY);
    HeaderMap::from_iter([
        (header::HeaderName::from_static("grpc-status"), UNAVAILABLE),
        (header::HeaderName::from_static("grpc-message"), message),
    ])
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(over) = &mut self.over else { return Poll::Ready(None) };
        if over.as_mut().poll(cx).is_pending() {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        // What it is made of goes at once.
        (self.over, self.body) = (None, Body::empty());
        Poll::Ready(self.protocol.last().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.over.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
