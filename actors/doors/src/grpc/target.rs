//! The actor behind a method, whichever form its messages have.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use estafette::Node;
use estafette::remote::{
    ActorError, Delivery, Download, JsonDownload, JsonRemote, JsonUpload, Raw, RawReply, Remote,
    RemoteError, RemoteErrorKind, TraceContext, Upload,
};
use futures_util::{FutureExt, StreamExt};

use super::packed::Packed;

/// An actor that is called.
pub(super) enum Target {
    Raw { remote: Remote<Raw>, method: Arc<str> },
    Json(JsonRemote),
    Packed(Remote<Packed>),
}

/// The way of requests to a target.
pub(super) enum Sending {
    Raw { upload: Upload<Raw>, method: Arc<str> },
    Json(JsonUpload),
    Packed(Upload<Packed>),
}

/// The way of replies from a target.
pub(super) enum Replies {
    Raw(Download<RawReply>),
    Json(JsonDownload),
    Packed(Download<Result<Packed, ActorError>>),
}

/// A reply, or the actor's own error in its place.
pub(super) type Replied = Result<Bytes, ActorError>;

/// The messages that a target takes.
#[derive(Clone, Debug)]
pub(super) enum Takes {
    /// Bytes, and for which method they are.
    Raw(Arc<str>),
    /// A type as JSON, by its name and version.
    Json(Arc<str>, u32),
    /// A type that `estafette-build` made of a proto, by its name and version.
    Packed(Arc<str>, u32),
}

fn no_reply() -> RemoteError {
    RemoteError::new(RemoteErrorKind::Cancelled, "the call has no reply")
}

fn raw(method: &Arc<str>, body: Bytes) -> Raw {
    Raw::new(&**method, body)
}

fn text(body: &[u8]) -> &str {
    // Seen to by the form.
    std::str::from_utf8(body).unwrap_or_default()
}

impl Target {
    /// That of a message for an actor, on behalf of a token.
    pub(super) fn new(
        node: &Node,
        to: &str,
        takes: &Takes,
        token: &str,
    ) -> Result<Self, RemoteError> {
        Ok(match takes {
            Takes::Raw(method) => {
                let remote = node.remote(to)?.on_behalf_of(token);
                Self::Raw { remote, method: Arc::clone(method) }
            }
            Takes::Json(message, version) => {
                Self::Json(node.remote_json(to, message, *version)?.on_behalf_of(token))
            }
            Takes::Packed(message, version) => {
                Self::Packed(node.remote_named(to, message, *version)?.on_behalf_of(token))
            }
        })
    }

    /// Waits so long for answers.
    pub(super) fn within(self, limit: Duration) -> Self {
        match self {
            Self::Raw { remote, method } => Self::Raw { remote: remote.within(limit), method },
            Self::Json(remote) => Self::Json(remote.within(limit)),
            Self::Packed(remote) => Self::Packed(remote.within(limit)),
        }
    }

    pub(super) fn traced(self, trace: TraceContext) -> Self {
        match self {
            Self::Raw { remote, method } => Self::Raw { remote: remote.traced(trace), method },
            Self::Json(remote) => Self::Json(remote.traced(trace)),
            Self::Packed(remote) => Self::Packed(remote.traced(trace)),
        }
    }

    pub(super) async fn ask(&self, body: Bytes) -> Result<Replied, RemoteError> {
        Ok(match self {
            Self::Raw { remote, method } => Ok(remote.ask(raw(method, body)).await?.0.into()),
            Self::Json(remote) => Ok(remote.ask(text(&body)).await?.into()),
            Self::Packed(remote) => remote.ask(Packed(body)).await?.map(|reply| reply.0),
        })
    }

    pub(super) async fn tell(&self, body: Bytes) -> Result<(), RemoteError> {
        match self {
            Self::Raw { remote, method } => remote.tell(raw(method, body)).await,
            Self::Json(remote) => remote.tell(text(&body)).await,
            Self::Packed(remote) => remote.tell(Packed(body)).await,
        }
    }

    /// Stores a message, which is delivered once.
    pub(super) async fn deliver(&self, body: Bytes) -> Result<Delivery, RemoteError> {
        match self {
            Self::Raw { remote, method } => remote.deliver(raw(method, body)).await,
            Self::Json(remote) => remote.deliver(text(&body)).await,
            Self::Packed(remote) => remote.deliver(Packed(body)).await,
        }
    }

    pub(super) async fn download(&self, body: Bytes) -> Result<Replies, RemoteError> {
        Ok(match self {
            Self::Raw { remote, method } => Replies::Raw(remote.download(raw(method, body)).await?),
            Self::Json(remote) => Replies::Json(remote.download(text(&body)).await?),
            Self::Packed(remote) => Replies::Packed(remote.download(Packed(body)).await?),
        })
    }

    /// Requests are a stream, and one reply ends the call.
    pub(super) async fn upload(&self) -> Result<(Sending, Replies), RemoteError> {
        match self {
            Self::Raw { remote, method } => {
                let (upload, reply) = remote.upload().await?.split();
                let sending = Sending::Raw { upload, method: Arc::clone(method) };
                Ok((sending, Replies::Raw(reply.ok_or_else(no_reply)?)))
            }
            Self::Json(remote) => {
                let (upload, replies) = remote.upload().await?;
                Ok((Sending::Json(upload), Replies::Json(replies)))
            }
            Self::Packed(remote) => {
                let (upload, reply) = remote.upload().await?.split();
                Ok((Sending::Packed(upload), Replies::Packed(reply.ok_or_else(no_reply)?)))
            }
        }
    }

    pub(super) async fn open(&self) -> Result<(Sending, Replies), RemoteError> {
        match self {
            Self::Raw { remote, method } => {
                let (upload, replies) = remote.open().await?;
                let sending = Sending::Raw { upload, method: Arc::clone(method) };
                Ok((sending, Replies::Raw(replies)))
            }
            Self::Json(remote) => {
                let (upload, replies) = remote.open().await?;
                Ok((Sending::Json(upload), Replies::Json(replies)))
            }
            Self::Packed(remote) => {
                let (upload, replies) = remote.open().await?;
                Ok((Sending::Packed(upload), Replies::Packed(replies)))
            }
        }
    }
}

impl Sending {
    /// One more request; waits while the actor has as many as it can take.
    pub(super) async fn send(&mut self, body: Bytes) -> Result<(), RemoteError> {
        match self {
            Self::Raw { upload, method } => upload.send(raw(method, body)).await,
            Self::Json(upload) => upload.send(text(&body)).await,
            Self::Packed(upload) => upload.send(Packed(body)).await,
        }
    }

    /// There are no more requests.
    pub(super) fn finish(self) {
        match self {
            // Its reply is elsewhere, so it waits for nothing.
            Self::Raw { upload, .. } => drop(upload.finish().now_or_never()),
            Self::Packed(upload) => drop(upload.finish().now_or_never()),
            Self::Json(upload) => upload.finish(),
        }
    }
}

impl Replies {
    pub(super) async fn next(&mut self) -> Option<Result<Replied, RemoteError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Replied, RemoteError>>> {
        Poll::Ready(match self {
            Self::Raw(replies) => {
                ready!(replies.poll_next_unpin(cx)).map(|reply| Ok(Ok(reply?.0.into())))
            }
            Self::Json(replies) => {
                ready!(replies.poll_next_unpin(cx)).map(|reply| Ok(Ok(reply?.into())))
            }
            Self::Packed(replies) => {
                ready!(replies.poll_next_unpin(cx)).map(|reply| Ok(reply?.map(|reply| reply.0)))
            }
        })
    }
}
