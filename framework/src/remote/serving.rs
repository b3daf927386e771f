//! An actor's view of a call from another node: the request or the stream of them, and the way to
//! answer.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix::Message;
use futures_util::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, mpsc};

use super::calls::put_or_keep;
use super::error::{RemoteError, RemoteErrorKind};
use super::exchange::{Exchange, Owed, Requested};
use super::form::{Reader, Writer, undecodable};
use super::message::RemoteMessage;
use super::scratch::written;
use crate::store::ledger::Charge;
use crate::wire::codec::decode_message;
use crate::wire::{Along, PeerId, TraceContext};

/// One call that came from a peer, until it is answered. Dropped without an answer, it says that
/// the actor died with it.
pub(super) struct Served {
    pub(super) exchange: Arc<Exchange>,
    pub(super) epoch: u64,
    pub(super) call: u64,
    pub(super) name: Arc<str>,
    pub(super) caller: PeerId,
    pub(super) along: Option<Along>,
    pub(super) over: bool,
    /// The number of calls that had been given up when this one came.
    pub(super) given_up_before: u64,
    /// Its charge on the peer's account here: given back with it, however long its caller has given
    /// it up by then.
    pub(super) _charge: Option<Charge>,
}

impl Served {
    /// Returns `true` if the caller still waits.
    pub(super) fn is_wanted(&self) -> bool {
        // Most are, and that can be told without a lock.
        self.exchange.given_up_calls() == self.given_up_before
            || self.exchange.is_served(self.epoch, self.call)
    }

    /// Returns when it is over: answered, given up, or its link is gone.
    fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let (exchange, epoch, call) = (Arc::clone(&self.exchange), self.epoch, self.call);
        async move { exchange.served_to_the_end(epoch, call).await }
    }

    /// Returns the span that traces what is done for it.
    pub(super) fn span(&self, message: &'static str) -> tracing::Span {
        let along = self.along.as_ref();
        tracing::debug_span!(
            "call", peer = %self.caller.short(), name = %self.name, message,
            traceparent = along.and_then(|along| along.trace.as_ref()).map(tracing::field::display),
            on_behalf = along.and_then(Along::on_behalf),
        )
    }

    fn trace(&self) -> Option<&TraceContext> {
        self.along.as_ref()?.trace.as_ref()
    }

    fn on_behalf(&self) -> Option<&str> {
        self.along.as_ref()?.on_behalf()
    }

    /// Answers when there is a reply; says that the actor died, when there will be none. Waits for
    /// a handler whose caller has given up, too: what is not handled counts.
    pub(super) fn answer_later<R, E>(
        self,
        reply: impl Future<Output = Result<R, E>> + 'static,
        write: Option<Writer<R>>,
    ) where
        R: Serialize + DeserializeOwned + 'static,
        E: 'static,
    {
        actix::spawn(async move {
            if let Ok(reply) = reply.await {
                self.answer(&reply, write);
            }
        });
    }

    /// Answers, natively or with `write`.
    pub(super) fn answer<R: Serialize + DeserializeOwned>(
        mut self,
        reply: &R,
        write: Option<Writer<R>>,
    ) {
        if !self.is_wanted() {
            self.over = true;
            return;
        }
        let put = |body: &[u8]| self.exchange.answer(self.epoch, self.call, Ok(body));
        let put = match write {
            None => written(reply, put).map_err(|error| error.to_string()),
            Some(write) => {
                let mut body = Vec::new();
                write(reply, &mut body).map(|()| put(&body))
            }
        };
        match put {
            Ok(()) => {}
            Err(error) => {
                let name = &self.name;
                let text = format!("{name} has handled it, but its answer can't be sent: {error}");
                self.exchange.answer(
                    self.epoch,
                    self.call,
                    Err(&RemoteError::new(RemoteErrorKind::Unencodable, text)),
                );
            }
        }
        self.over = true;
    }

    pub(super) fn fail(mut self, error: &RemoteError) {
        self.exchange.answer(self.epoch, self.call, Err(error));
        self.over = true;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if !self.over {
            self.exchange.answer(self.epoch, self.call, Err(&died(&self.name)));
        }
    }
}

/// The things that go along with a message without an answer, and what its span tells.
#[derive(Clone)]
pub(crate) struct Traced {
    pub(super) caller: PeerId,
    pub(super) name: Arc<str>,
    pub(super) message: Arc<str>,
    pub(super) along: Along,
    pub(super) is_letter: bool,
}

impl Traced {
    /// Enters the span of what is done for it.
    pub(super) fn enter(&self) -> tracing::span::EnteredSpan {
        let Self { caller, name, message, along, is_letter } = self;
        let (peer, on_behalf) = (caller.short(), along.on_behalf());
        let traceparent = along.trace.as_ref().map(tracing::field::display);
        let span = if *is_letter {
            tracing::debug_span!("letter", %peer, %name, %message, traceparent, on_behalf)
        } else {
            tracing::debug_span!("told", %peer, %name, %message, traceparent, on_behalf)
        };
        span.entered()
    }
}

/// Returns the error for an actor that had a message and will never answer it.
pub(super) fn died(name: &str) -> RemoteError {
    let text = format!(
        "the actor {name:?} panicked or stopped while it had the message; see the log of its node"
    );
    RemoteError::new(RemoteErrorKind::Died, text)
}

/// A question, and the way to answer it: for actors that answer later, or elsewhere, or want the
/// least overhead.
///
/// Registered with [`Node::register_asked`](crate::Node::register_asked).
pub struct Asked<M: RemoteMessage> {
    /// The question.
    pub message: M,
    /// The way to answer it.
    pub reply: Reply<M::Result>,
}

impl<M: RemoteMessage> Message for Asked<M> {
    type Result = ();
}

/// The way to answer one question. Dropped unused, it says that the actor died.
pub struct Reply<R> {
    served: Option<Served>,
    /// The things that go along, where nobody waits for an answer.
    told: Option<Along>,
    /// Writes the answer, where that is not done natively.
    write: Option<Writer<R>>,
}

impl<R: Serialize + DeserializeOwned> Reply<R> {
    pub(super) fn to(served: Served, write: Option<Writer<R>>) -> Self {
        Self { served: Some(served), told: None, write }
    }

    /// Nobody waits for it.
    pub(super) fn to_nobody(traced: Option<&Traced>) -> Self {
        Self { served: None, told: traced.map(|traced| traced.along.clone()), write: None }
    }

    /// Answers.
    pub fn send(mut self, reply: &R) {
        if let Some(served) = self.served.take() {
            served.answer(reply, self.write);
        }
    }

    /// Says that there is no answer.
    pub fn fail(mut self, why: impl Into<String>) {
        if let Some(served) = self.served.take() {
            served.fail(&RemoteError::new(RemoteErrorKind::Other, why));
        }
    }

    /// Returns a future that ends when nobody waits for the answer any more: the caller gave up,
    /// its time is over, or the link to it is gone. At once, where nobody ever did.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<R> {
        let closed = self.served.as_ref().map(Served::closed);
        async move {
            if let Some(closed) = closed {
                closed.await;
            }
        }
    }

    /// Returns the node that asked; `None` where nobody waits for an answer.
    pub fn caller(&self) -> Option<PeerId> {
        self.served.as_ref().map(|served| served.caller)
    }

    /// The trace the question belongs to.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.along()?.trace.as_ref()
    }

    /// Returns for whom it was asked, as the [caller](Self::caller) says: a door says the name of
    /// the token by which its client came in. It is the caller's word, which proves nothing: a node
    /// may say what it likes.
    pub fn on_behalf(&self) -> Option<&str> {
        self.along()?.on_behalf()
    }

    fn along(&self) -> Option<&Along> {
        self.served.as_ref().map_or(self.told.as_ref(), |served| served.along.as_ref())
    }
}

/// A call with a stream of requests, a stream of replies, or both.
///
/// Registered with [`Node::register_calls`](crate::Node::register_calls). Where the caller gives
/// one request only, that is what the stream of requests has; where it waits for one reply only, it
/// takes the first.
pub struct Called<M: RemoteMessage> {
    /// The requests of the call.
    pub requests: Requests<M>,
    /// The way to reply.
    pub replies: Replies<M::Result>,
}

impl<M: RemoteMessage> Message for Called<M> {
    type Result = ();
}

/// The requests of a call, as they come. Ends when the caller has said that there are no more; an
/// error is the last thing it gives. However else they end, that is an error: the caller gave up
/// ([`RemoteErrorKind::Cancelled`]), the link is gone ([`RemoteErrorKind::LinkLost`]), the call was
/// answered before its last request came (`Cancelled`).
pub struct Requests<M> {
    first: Option<M>,
    coming: Option<mpsc::UnboundedReceiver<Requested>>,
    owed: Owed,
    exchange: Arc<Exchange>,
    epoch: u64,
    call: u64,
    /// Reads those that come later, where they are not native.
    read: Option<Reader<M>>,
}

impl<M> Requests<M> {
    pub(super) fn new(
        first: Option<M>,
        coming: Option<mpsc::UnboundedReceiver<Requested>>,
        served: &Served,
        read: Option<Reader<M>>,
    ) -> Self {
        let exchange = Arc::clone(&served.exchange);
        let (epoch, call) = (served.epoch, served.call);
        Self { first, coming, owed: Owed::default(), exchange, epoch, call, read }
    }
}

impl<M: RemoteMessage> Stream for Requests<M> {
    type Item = Result<M, RemoteError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(coming) = &mut this.coming else { return Poll::Ready(None) };
        let Some(next) = std::task::ready!(coming.poll_recv(cx)) else { return Poll::Ready(None) };
        let is_last = coming.is_empty();
        let next = next.and_then(|(body, charge)| {
            drop(charge);
            // Its place is free before it is handled: the window, not the handler, is what bounds
            // those that wait.
            if let Some(cost) = this.owed.read(body.len(), is_last) {
                this.exchange.credit_requests(this.epoch, this.call, cost);
            }
            match this.read {
                None => decode_message(&body).map_err(|error| undecodable::<M>(&error)),
                Some(read) => read(&body),
            }
        });
        if next.is_err() {
            this.coming = None;
        }
        Poll::Ready(Some(next))
    }
}

impl<M> Unpin for Requests<M> {}

/// The way to reply to a call, as often as is needed. Dropped without [`finish`](Self::finish), it
/// says that the actor died.
pub struct Replies<R> {
    served: Option<Served>,
    /// Wakes it when there is room, where there can be more than one reply.
    room: Option<Arc<Notify>>,
    /// Writes replies, where that is not done natively.
    write: Option<Writer<R>>,
}

impl<R: Serialize + DeserializeOwned> Replies<R> {
    pub(super) fn new(served: Served, room: Option<Arc<Notify>>, write: Option<Writer<R>>) -> Self {
        Self { served: Some(served), room, write }
    }

    /// One more reply; waits while the caller has as many as it can take. An error means that the
    /// caller is gone, or takes no more.
    pub async fn send(&mut self, reply: &R) -> Result<(), RemoteError> {
        let over =
            || RemoteError::new(RemoteErrorKind::Cancelled, "the caller takes no more replies");
        let Some(room) = &self.room else {
            self.served.take().ok_or_else(over)?.answer(reply, self.write);
            return Ok(());
        };
        let served = self.served.as_ref().ok_or_else(over)?;
        let (exchange, epoch, call) = (&served.exchange, served.epoch, served.call);
        let put = |body: &[u8]| exchange.reply(epoch, call, body);
        match put_or_keep("reply", reply, self.write, put)? {
            None => Ok(()),
            Some(body) => exchange.when_possible(room, true, None, || put(&body)).await,
        }
    }

    /// There are no more replies.
    pub fn finish(mut self) {
        if let Some(mut served) = self.served.take()
            && self.room.is_some()
        {
            served.over = true;
            served.exchange.end_replies(served.epoch, served.call);
        }
    }

    /// There are no more replies, and this is why.
    pub fn fail(mut self, why: impl Into<String>) {
        if let Some(served) = self.served.take() {
            served.fail(&RemoteError::new(RemoteErrorKind::Other, why));
        }
    }

    /// Returns a future that ends when nobody waits for replies any more: the caller gave up, its
    /// time is over, or the link to it is gone. For a handler that has nothing to say for a while:
    /// one that sends hears of it from [`send`](Self::send).
    ///
    /// ```no_run
    /// # use estafette::remote::Replies;
    /// # async fn next_event() -> u64 { 7 }
    /// async fn follow(mut replies: Replies<u64>) {
    ///     let closed = replies.closed();
    ///     tokio::pin!(closed);
    ///     loop {
    ///         tokio::select! {
    ///             () = &mut closed => return,
    ///             event = next_event() => if replies.send(&event).await.is_err() { return },
    ///         }
    ///     }
    /// }
    /// ```
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<R> {
        let closed = self.served.as_ref().map(Served::closed);
        async move {
            if let Some(closed) = closed {
                closed.await;
            }
        }
    }

    /// Returns the node that called.
    pub fn caller(&self) -> Option<PeerId> {
        self.served.as_ref().map(|served| served.caller)
    }

    /// The trace the call belongs to.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.served.as_ref()?.trace()
    }

    /// Returns for whom it was called, by the word of the [caller](Self::caller); see
    /// [`Reply::on_behalf`].
    pub fn on_behalf(&self) -> Option<&str> {
        self.served.as_ref()?.on_behalf()
    }
}

impl<M: RemoteMessage> fmt::Debug for Asked<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("message", &M::NAME).finish_non_exhaustive()
    }
}

impl<M: RemoteMessage> fmt::Debug for Called<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Called").field("message", &M::NAME).finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for Reply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

impl<M> fmt::Debug for Requests<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("call", &self.call).finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for Replies<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").finish_non_exhaustive()
    }
}
