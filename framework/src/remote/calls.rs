//! The caller's ends of a call with streams.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, mpsc};
use tokio::task::coop::poll_proceed;

use super::error::{RemoteError, RemoteErrorKind};
use super::exchange::{Begun, Blocked, Bundle, Exchange, Owed, Replied, STREAM_ITEM};
use super::form::{Reader, Writer};
use super::message::RemoteMessage;
use super::scratch::written;
use crate::wire::codec::decode_message;

/// Writes one item of a stream, and puts it in; returns it written, if that has to wait. What it is
/// is said of one that can't be sent: a request was not handled then, a reply is of what was.
pub(super) fn put_or_keep<V: Serialize + DeserializeOwned>(
    what: &str,
    value: &V,
    write: Option<Writer<V>>,
    put: impl Fn(&[u8]) -> Result<(), Blocked>,
) -> Result<Option<Vec<u8>>, RemoteError> {
    let put = |body: &[u8]| {
        item_fits(body).map_err(|why| unsent_item(what, &why))?;
        match put(body) {
            Ok(()) => Ok(None),
            Err(Blocked::Never(error)) => Err(*error),
            Err(Blocked::Full | Blocked::NoLink) => Ok(Some(body.to_vec())),
        }
    };
    match write {
        None => written(value, put).map_err(|error| unsent_item(what, &error.to_string()))?,
        Some(write) => {
            let mut body = Vec::new();
            write(value, &mut body).map_err(|why| unsent_item(what, &why))?;
            put(&body)
        }
    }
}

/// An item that can't be sent.
pub(super) fn unsent_item(what: &str, why: &str) -> RemoteError {
    let text = format!("a {what} of the stream can't be sent: {why}");
    RemoteError::new(RemoteErrorKind::Unencodable, text)
}

/// Refuses an item that is too long for a stream.
pub(super) fn item_fits(body: &[u8]) -> Result<(), String> {
    match body.len() {
        0..=STREAM_ITEM => Ok(()),
        more => Err(format!("it has {more} bytes, {STREAM_ITEM} are allowed: send it in several")),
    }
}

/// A call that has begun. Dropped before it is over, it cancels.
pub(super) struct Call {
    exchange: Arc<Exchange>,
    begun: Begun,
    over: AtomicBool,
}

impl Call {
    pub(super) fn new(exchange: Arc<Exchange>, begun: Begun) -> Self {
        Self { exchange, begun, over: AtomicBool::new(false) }
    }

    pub(super) fn is_over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn cancel(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            self.exchange.cancel(&self.begun);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The requests of a call, as they are written. Dropped without [`finish`](Self::finish), it
/// cancels the call.
pub(super) struct Requesting {
    call: Arc<Call>,
    room: Arc<Notify>,
    finished: bool,
}

impl Requesting {
    pub(super) fn new(call: Arc<Call>, room: Arc<Notify>) -> Self {
        Self { call, room, finished: false }
    }

    /// The one request was sent when the call began.
    pub(super) fn holds_all(mut self) {
        self.finished = true;
    }

    pub(super) async fn send(&mut self, body: &[u8]) -> Result<(), RemoteError> {
        let Call { exchange, begun, .. } = &*self.call;
        exchange.when_possible(&self.room, true, None, || exchange.request(begun, body)).await
    }

    pub(super) fn finish(mut self) {
        self.finished = true;
        self.call.exchange.end_requests(&self.call.begun);
    }
}

impl Drop for Requesting {
    fn drop(&mut self) {
        if !self.finished {
            self.call.cancel();
        }
    }
}

impl fmt::Debug for Requesting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requesting").field("call", &self.call.begun.call).finish_non_exhaustive()
    }
}

/// The requests of a call. Dropped without [`finish`](Self::finish), it cancels the call: requests
/// that break off must not pass for all there are.
pub struct Upload<M: RemoteMessage> {
    requesting: Requesting,
    reply: Option<Download<M::Result>>,
    of: PhantomData<fn(M)>,
}

impl<M: RemoteMessage> Upload<M> {
    pub(super) fn new(requesting: Requesting) -> Self {
        Self { requesting, reply: None, of: PhantomData }
    }

    pub(super) fn answered_by(mut self, reply: Download<M::Result>) -> Self {
        self.reply = Some(reply);
        self
    }

    /// The one request was sent when the call began.
    pub(super) fn holds_all(self) {
        self.requesting.holds_all();
    }

    /// The requests, and the one reply of a call that has one apart from them: for who wants to
    /// hear of a reply that comes before the last request. [`finish`](Self::finish) waits for
    /// nothing then.
    pub fn split(mut self) -> (Self, Option<Download<M::Result>>) {
        let reply = self.reply.take();
        (self, reply)
    }

    /// One more request; waits while the actor has as many as it can take.
    ///
    /// # Errors
    /// The call is over: where replies are a stream, they tell why; else [`finish`](Self::finish)
    /// does.
    pub async fn send(&mut self, request: M) -> Result<(), RemoteError> {
        let Call { exchange, begun, .. } = &*self.requesting.call;
        let put = |body: &[u8]| exchange.request(begun, body);
        let waits = put_or_keep("request", &request, None, put)?;
        drop(request);
        match waits {
            None => Ok(()),
            Some(body) => self.requesting.send(&body).await,
        }
    }

    /// There are no more requests. For a call with one reply, waits for it.
    pub async fn finish(self) -> Result<Option<M::Result>, RemoteError> {
        self.requesting.finish();
        match self.reply {
            Some(mut reply) => futures_util::StreamExt::next(&mut reply).await.transpose(),
            None => Ok(None),
        }
    }
}

/// The replies of a call, as they come. An error is the last thing it gives. Dropped before the
/// end, it cancels the call.
pub struct Download<R> {
    call: Arc<Call>,
    replies: Option<mpsc::UnboundedReceiver<Replied>>,
    /// Replies that came together.
    bundle: Bundle,
    owed: Owed,
    /// Reads them, where they are not native.
    read: Option<Reader<R>>,
}

impl<R> Download<R> {
    pub(super) fn new(call: Arc<Call>, replies: mpsc::UnboundedReceiver<Replied>) -> Self {
        let (bundle, owed) = Default::default();
        Self { call, replies: Some(replies), bundle, owed, read: None }
    }

    /// Replies that are not native.
    #[cfg(feature = "json")]
    pub(super) fn read_by(
        call: Arc<Call>,
        replies: mpsc::UnboundedReceiver<Replied>,
        read: Reader<R>,
    ) -> Self {
        let mut this = Self::new(call, replies);
        this.read = Some(read);
        this
    }

    fn end(&mut self) {
        self.replies = None;
        self.call.is_over();
    }
}

impl<R: DeserializeOwned> Stream for Download<R> {
    type Item = Result<R, RemoteError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(replies) = &mut this.replies else { return Poll::Ready(None) };
        if this.bundle.left() > 0 {
            // Whoever reads one after the other lets others have their turn.
            ready!(poll_proceed(cx)).made_progress();
        } else {
            match ready!(replies.poll_recv(cx)) {
                Some(Ok(bundle)) => this.bundle = bundle,
                over => {
                    this.end();
                    return Poll::Ready(over.and_then(Result::err).map(Err));
                }
            }
        }
        let is_last = this.bundle.left() == 1 && replies.is_empty();
        let Some(body) = this.bundle.next() else { return Poll::Ready(None) };
        if let Some(cost) = this.owed.read(body.len(), is_last) {
            this.call.exchange.credit_replies(&this.call.begun, cost);
        }
        let read = match this.read {
            Some(read) => read(body),
            None => decode_message(body).map_err(|error| {
                let text = format!("a reply can't be read: {error}");
                RemoteError::new(RemoteErrorKind::BadReply, text)
            }),
        };
        if read.is_err() {
            this.replies = None;
        }
        Poll::Ready(Some(read))
    }
}

impl<R> Unpin for Download<R> {}

impl<R> Drop for Download<R> {
    fn drop(&mut self) {
        if self.replies.take().is_some() {
            self.call.cancel();
        }
    }
}

impl<M: RemoteMessage> fmt::Debug for Upload<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("requests", &self.requesting).finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for Download<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("call", &self.call.begun.call).finish_non_exhaustive()
    }
}
