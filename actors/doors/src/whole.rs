//! Bodies of requests that end only where their client has said so.
//!
//! Invariant: who breaks off a request by HTTP/2 with `NO_ERROR` has not ended it. (`hyper` takes
//! that for the end, since to a client it says that an answer came early.)

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::Version;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// A body whose end is looked at.
#[derive(Debug)]
struct Whole(Body);

/// The request, with a body whose end is one: by HTTP/2, and wherever its length was told.
///
/// By HTTP/1.1 a body in pieces has an end of its own, which `hyper` wants, and of which it does
/// not tell. A layer of the host that wraps bodies has to hand `is_end_stream` on.
pub(crate) fn whole(request: Request) -> Request {
    let tells =
        request.version() == Version::HTTP_2 || request.body().size_hint().exact().is_some();
    if tells { request.map(|body| Body::new(Whole(body))) } else { request }
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        if frame.is_none() && !self.0.is_end_stream() {
            let broke = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Poll::Ready(Some(Err(axum::Error::new(broke))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use futures_util::{StreamExt, stream};

    use super::*;

    #[tokio::test]
    async fn an_end_that_nobody_has_said_is_none() {
        let read = async |version, body| {
            let mut request = Request::new(body);
            *request.version_mut() = version;
            let mut stream = whole(request).into_body().into_data_stream();
            let part = stream.next().await.transpose().ok().flatten();
            (part.unwrap_or_default(), stream.next().await.is_none())
        };
        let pieces = || Body::from_stream(stream::iter([Ok::<_, std::io::Error>("all")]));
        assert_eq!(read(Version::HTTP_2, pieces()).await, ("all".into(), false));
        assert_eq!(read(Version::HTTP_11, pieces()).await, ("all".into(), true));
        for version in [Version::HTTP_2, Version::HTTP_11] {
            assert_eq!(read(version, "all".into()).await, ("all".into(), true));
            assert_eq!(read(version, Body::empty()).await, (Bytes::new(), true));
        }
    }
}
