//! The handle of an actor on another node, for one type of message.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Recipient, ResponseFuture, WrapFuture};
use tracing::Instrument;

use super::calls::{Call, Download, Requesting, Upload};
use super::error::{RemoteError, RemoteErrorKind};
use super::exchange::{Blocked, Deadline, Exchange, Opening, Target};
use super::letters::{Delivery, Letters, Posting, stopped};
use super::message::{RemoteMessage, RemoteResult};
use super::scratch::written;
use crate::wire::codec::{CodecError, decode_message};
use crate::wire::message::{NAME_LIMIT, Shape};
use crate::wire::{Along, TraceContext};

/// The time to wait for an answer, unless [`Remote::within`] sets another.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// An actor on another node, for messages of one type. Cloning it is cheap. Works from any thread
/// and any runtime.
///
/// | way | what is promised |
/// |---|---|
/// | [`tell`](Self::tell) | handled at most once, in the order of the tells of one caller |
/// | [`ask`](Self::ask) | handled at most once; ends in the answer or an error |
/// | [`deliver`](Self::deliver) | stored here and there, handled once, in the order of all letters from this node to that name |
/// | [`download`](Self::download), [`upload`](Self::upload), [`open`](Self::open) | a call with streams, in order, with credit both ways; ends like an ask |
///
/// What is sent and not answered when the link breaks ends in [`RemoteErrorKind::LinkLost`]:
/// whether it was handled is not known, and it is not sent again.
pub struct Remote<M: RemoteMessage> {
    exchange: Arc<Exchange>,
    /// The store of letters; `None` without a spool.
    letters: Option<Arc<Letters>>,
    target: Arc<Target>,
    within: Option<Duration>,
    along: Option<Arc<Along>>,
    of: PhantomData<fn(M)>,
}

fn unencodable(message: &str, error: &CodecError) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Unencodable, format!("a {message} can't be sent: {error}"))
}

impl<M: RemoteMessage> Remote<M> {
    pub(crate) fn new(
        exchange: Arc<Exchange>,
        letters: Option<Arc<Letters>>,
        name: &str,
    ) -> Result<Self, RemoteError> {
        Self::named(exchange, letters, name, (M::NAME, M::VERSION))
    }

    /// For messages of a type of this name and version, of which `M` is another form.
    pub(crate) fn named(
        exchange: Arc<Exchange>,
        letters: Option<Arc<Letters>>,
        name: &str,
        (message, version): (&str, u32),
    ) -> Result<Self, RemoteError> {
        if message.is_empty() || message.len() > NAME_LIMIT || message.chars().any(char::is_control)
        {
            let text = format!(
                "{message:?} can't be the name of a type of message: 1 to {NAME_LIMIT} bytes, no \
                 control characters"
            );
            return Err(RemoteError::new(RemoteErrorKind::NoSuchMessage, text));
        }
        let target = exchange.target(name, message, version)?;
        Ok(Self { exchange, letters, target, within: None, along: None, of: PhantomData })
    }

    /// Waits so long for answers, instead of 30 s. A call with streams, which has no limit of its
    /// own, ends after that, too.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    /// Sends along the trace that messages belong to.
    #[must_use]
    pub fn traced(mut self, trace: TraceContext) -> Self {
        let along = self.along.take().map(Arc::unwrap_or_clone).unwrap_or_default();
        self.along = Some(Arc::new(Along { trace: Some(trace), ..along }));
        self
    }

    /// Says for whom messages are sent: what a door does for the token by which its client came in.
    /// The receiver has it as this node's word ([`Reply::on_behalf`](super::Reply::on_behalf)).
    /// A text that is empty, has characters of control, or is longer than 256 bytes is not said at
    /// all, since a part of it could be the name of somebody else; to nodes of earlier builds,
    /// nothing is.
    #[must_use]
    pub fn on_behalf_of(mut self, who: &str) -> Self {
        let along = self.along.take().map(Arc::unwrap_or_clone).unwrap_or_default();
        self.along = along.on_behalf_of(who).any().map(Arc::new);
        self
    }

    /// The name of the actor.
    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// The name of its node.
    pub fn node(&self) -> &str {
        self.exchange.peer_name()
    }

    /// The name of the type of its messages.
    fn message(&self) -> &str {
        &self.target.message
    }

    /// Sends a message without an answer. Returns when it is on its way: waits for a link, and
    /// while the actor has as many as it may have. One that has to wait is serialised once
    /// more. What does not reach the actor after that is told to
    /// [`on_undelivered`](crate::NodeBuilder::on_undelivered).
    pub async fn tell(&self, message: M) -> Result<(), RemoteError> {
        let blocked = match self.begin_tell(&message) {
            Ok(()) => return Ok(()),
            Err(blocked) => blocked,
        };
        let body = self.to_be_told(&message, blocked)?;
        drop(message);
        let put = || self.exchange.tell(&self.target, &body, self.along.as_deref());
        self.exchange.when_possible(self.target.room(), true, None, put).await
    }

    /// [`tell`](Self::tell) without waiting: what can't be sent now is an error.
    pub fn try_tell(&self, message: &M) -> Result<(), RemoteError> {
        self.begin_tell(message).map_err(|blocked| self.exchange.blocked(blocked))
    }

    /// Tells it, if that can be done now.
    #[inline]
    fn begin_tell(&self, message: &M) -> Result<(), Blocked> {
        // With most nothing goes along, and they are too many for a span each.
        if self.along.is_some() { self.begin_traced(message) } else { self.put_in(message) }
    }

    #[cold]
    fn begin_traced(&self, message: &M) -> Result<(), Blocked> {
        let (peer, name, traceparent) =
            (self.node(), self.name(), self.trace().map(tracing::field::display));
        tracing::debug_span!("tell", peer, name, message = self.message(), traceparent)
            .in_scope(|| self.put_in(message))
    }

    #[inline]
    fn put_in(&self, message: &M) -> Result<(), Blocked> {
        match written(message, |body| self.exchange.tell(&self.target, body, self.along.as_deref()))
        {
            Ok(told) => told,
            Err(error) => Err(Blocked::Never(Box::new(unencodable(self.message(), &error)))),
        }
    }

    /// The bytes of a message that must wait, unless waiting is no use.
    #[cold]
    fn to_be_told(&self, message: &M, blocked: Blocked) -> Result<Vec<u8>, RemoteError> {
        match blocked {
            Blocked::Never(error) => Err(*error),
            Blocked::NoLink | Blocked::Full => self.written(message, <[u8]>::to_vec),
        }
    }

    fn written<T>(&self, message: &M, then: impl FnOnce(&[u8]) -> T) -> Result<T, RemoteError> {
        written(message, then).map_err(|error| unencodable(self.message(), &error))
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Full`] at once when the actor has as many messages as it may have; else
    /// what [`RemoteErrorKind`] lists.
    pub async fn ask(&self, message: M) -> Result<M::Result, RemoteError> {
        let traceparent = self.trace().map(tracing::field::display);
        let span = tracing::debug_span!(
            "ask",
            peer = self.node(),
            name = self.name(),
            message = self.message(),
            traceparent
        );
        async {
            let deadline = self.deadline(Some(ANSWER_WITHIN));
            let begun = self.written(&message, |body| {
                match self.exchange.ask(&self.target, &self.opening(Shape::Ask, body, deadline)) {
                    Ok(begun) => Ok(Ok(begun)),
                    Err(Blocked::NoLink) => Ok(Err(body.to_vec())),
                    Err(blocked) => Err(self.exchange.blocked(blocked)),
                }
            })??;
            drop(message);
            let (begun, answered) = match begun {
                Ok(begun) => begun,
                Err(body) => {
                    let deadline = deadline.map(Deadline::begin);
                    let put = || {
                        self.exchange.ask(&self.target, &self.opening(Shape::Ask, &body, deadline))
                    };
                    self.exchange.when_possible(self.target.room(), false, deadline, put).await?
                }
            };
            let call = Call::new(Arc::clone(&self.exchange), begun);
            let answer = answered.await;
            call.is_over();
            let body = answer.map_err(|_| {
                RemoteError::new(RemoteErrorKind::ShuttingDown, "this node is stopping")
            })??;
            decode_message(&body).map_err(|error| {
                let text = format!(
                    "the answer of {:?} to a {} can't be read: {error}",
                    self.name(),
                    self.message()
                );
                RemoteError::new(RemoteErrorKind::BadReply, text)
            })
        }
        .instrument(span)
        .await
    }

    fn opening<'a>(
        &'a self,
        shape: Shape,
        body: &'a [u8],
        deadline: Option<Deadline>,
    ) -> Opening<'a> {
        Opening { shape, body, along: self.along.as_deref(), deadline }
    }

    fn trace(&self) -> Option<&TraceContext> {
        self.along.as_ref()?.trace.as_ref()
    }

    fn deadline(&self, otherwise: Option<Duration>) -> Option<Deadline> {
        Some(Deadline { after: self.within.or(otherwise)?, until: None })
    }

    /// Stores a message as a letter, which is delivered even if this process ends now, the peer is
    /// away, or the link breaks. Returns when it is durable here; a caller that gives up
    /// waiting for that may have sent it all the same. Letters from one node to another
    /// are handled one after the other, in the order of these calls; whoever waits for nothing but
    /// its turn holds up those behind it.
    ///
    /// # What is promised
    /// The letter ends as processed, or dead with the reason: refused (see [`RemoteErrorKind`]), or
    /// expired after [`NodeConfig::expiry`](crate::NodeConfig::expiry), by the clocks of both
    /// nodes. The receiver stores it once and hands it over once: never twice in one life of
    /// its process, unless the actor panicked, or stopped, while it had it; then it gets it again,
    /// five times in all. A receiver that dies after the handler has returned and before that
    /// is durable hands it over once more when it is started again. So an actor whose work must
    /// not be done twice does it in one transaction with a note of what it has done.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Storage`] where this node has no spool, or that fails;
    /// [`RemoteErrorKind::Full`] when as many are under way to that node as
    /// [`NodeConfig::letters`](crate::NodeConfig::letters) lets; [`RemoteErrorKind::Unencodable`]
    /// above [`LETTER_LIMIT`](super::LETTER_LIMIT) bytes.
    pub async fn deliver(&self, message: M) -> Result<Delivery, RemoteError> {
        let Some(letters) = &self.letters else {
            let text = "this node keeps no letters: start it with a spool, `.spool(…)`, to \
                        deliver messages";
            return Err(RemoteError::new(RemoteErrorKind::Storage, text));
        };
        let body = self.written(&message, <[u8]>::to_vec)?;
        drop(message);
        let (exchange, target, along) =
            (Arc::clone(&self.exchange), Arc::clone(&self.target), self.along.clone());
        let traceparent = self.trace().map(tracing::field::display);
        let span = tracing::debug_span!(
            "deliver",
            peer = self.node(),
            name = self.name(),
            message = self.message(),
            traceparent
        );
        let posted = letters.post(Posting { exchange, target, body, along, key: None });
        async { posted?.await.map_err(|_| stopped())? }.instrument(span).await
    }

    /// Sends one request, and takes a stream of replies.
    pub async fn download(&self, request: M) -> Result<Download<M::Result>, RemoteError> {
        let body = self.written(&request, <[u8]>::to_vec)?;
        let (upload, download) = self.begin(Shape::Replies, &body).await?;
        upload.holds_all();
        Ok(download)
    }

    /// Sends a stream of requests, and takes one reply.
    pub async fn upload(&self) -> Result<Upload<M>, RemoteError> {
        let (upload, reply) = self.begin(Shape::Requests, &[]).await?;
        Ok(upload.answered_by(reply))
    }

    /// Sends a stream of requests, and takes a stream of replies; both go on at the same time, and
    /// either may end first.
    pub async fn open(&self) -> Result<(Upload<M>, Download<M::Result>), RemoteError> {
        self.begin(Shape::Both, &[]).await
    }

    async fn begin(
        &self,
        shape: Shape,
        body: &[u8],
    ) -> Result<(Upload<M>, Download<M::Result>), RemoteError> {
        let deadline = self.deadline(None).map(Deadline::begin);
        let opening = self.opening(shape, body, deadline);
        let put = || self.exchange.open(&self.target, &opening);
        let (begun, replies, room) =
            self.exchange.when_possible(self.target.room(), true, deadline, put).await?;
        let call = Arc::new(Call::new(Arc::clone(&self.exchange), begun));
        let requesting = Requesting::new(Arc::clone(&call), room);
        Ok((Upload::new(requesting), Download::new(call, replies)))
    }

    /// A mailbox on this thread, in whose place a local actor's could stand: what is sent to it
    /// goes to the remote actor. Needs a running actix system.
    pub fn recipient(&self) -> Recipient<M>
    where
        M: Unpin,
        M::Result: RemoteResult,
    {
        Proxy { remote: self.clone() }.start().recipient()
    }
}

/// A local actor that passes everything on.
struct Proxy<M: RemoteMessage> {
    remote: Remote<M>,
}

impl<M: RemoteMessage + Unpin> Actor for Proxy<M> {
    type Context = Context<Self>;
}

impl<M: RemoteMessage + Unpin> Handler<M> for Proxy<M>
where
    M::Result: RemoteResult,
{
    type Result = ResponseFuture<M::Result>;

    fn handle(&mut self, message: M, ctx: &mut Context<Self>) -> Self::Result {
        if !M::Result::NOTHING {
            let remote = self.remote.clone();
            return Box::pin(
                async move { remote.ask(message).await.unwrap_or_else(M::Result::failed) },
            );
        }
        match self.remote.begin_tell(&message) {
            Ok(()) => {}
            Err(Blocked::Never(error)) => {
                self.remote.exchange.undelivered_here(&self.remote.target, *error)
            }
            // Whatever comes later waits in the mailbox, so that the order is kept.
            Err(Blocked::NoLink | Blocked::Full) => {
                let remote = self.remote.clone();
                let told = async move {
                    if let Err(error) = remote.tell(message).await {
                        remote.exchange.undelivered_here(&remote.target, error);
                    }
                };
                ctx.wait(told.into_actor(self));
            }
        }
        let nothing = M::Result::failed(RemoteError::new(RemoteErrorKind::Other, String::new()));
        Box::pin(std::future::ready(nothing))
    }
}

// Derived, it would ask for messages that can be cloned.
impl<M: RemoteMessage> Clone for Remote<M> {
    fn clone(&self) -> Self {
        let (exchange, letters, target) =
            (Arc::clone(&self.exchange), self.letters.clone(), Arc::clone(&self.target));
        Self {
            exchange,
            letters,
            target,
            within: self.within,
            along: self.along.clone(),
            of: PhantomData,
        }
    }
}

impl<M: RemoteMessage> fmt::Debug for Remote<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote<{}>({}/{})", self.message(), self.node(), self.name())
    }
}
