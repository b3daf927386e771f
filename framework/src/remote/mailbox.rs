//! Mailboxes, which turn the bytes that came for a name into messages for an actor.

use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};

use actix::Recipient;
use futures_util::future::Either;

use super::error::{RemoteError, RemoteErrorKind};
use super::form::Form;
use super::message::{RemoteMessage, Schemas};
use super::serving::{Asked, Called, Replies, Reply, Requests, Served, Traced};
use super::teller::Teller;
use crate::wire::message::Shape;

/// A taker of messages of one type under a name.
pub(crate) trait Mailbox: Send + Sync {
    /// The name of the type.
    fn message(&self) -> &'static str;
    /// Its version.
    fn version(&self) -> u32;
    /// Returns `true` if it takes streams, and only these.
    fn streams(&self) -> bool;
    /// Returns the form of its messages as JSON, if that is known.
    fn schemas(&self) -> Option<&'static Schemas> {
        None
    }
    /// Returns `true` if its actor lives.
    fn is_alive(&self) -> bool;
    /// Returns the error for senders when it does not.
    fn why_dead(&self, name: &str) -> RemoteError;
    /// The `Recipient` or what else it was made of.
    fn as_any(&self) -> &dyn Any;
    /// Hands over a message without an answer.
    fn tell(
        &self,
        body: &[u8],
        teller: &Teller,
        traced: Option<&Traced>,
    ) -> Result<(), RemoteError>;
    /// [`tell`](Self::tell), and says when it was handled. An error: it was not handed over; `done`
    /// has been said.
    fn tell_confirmed(
        &self,
        body: &[u8],
        done: Done,
        traced: Option<&Traced>,
    ) -> Result<(), RemoteError>;
    /// [`tell`](Self::tell) for each: all are handed over, or none. Only where they can be
    /// confirmed.
    fn tell_all(
        &self,
        bodies: &[&[u8]],
        teller: &Teller,
        traced: Option<&Traced>,
    ) -> Result<(), RemoteError> {
        bodies.iter().try_for_each(|body| self.tell(body, teller, traced))
    }
    /// Returns `true` if what was told can be confirmed afterwards.
    fn confirms(&self) -> bool {
        false
    }
    /// Says when all that this teller has told was handled.
    fn confirm(&self, _teller: &Teller, done: Done) {
        done.say(true);
    }
    /// Hands over a call. What can't be handed over is answered with an error.
    fn call(&self, body: &[u8], call: CallIn);
}

/// To be told once whether something was handled. Dropped, it says that the actor died with it.
pub(crate) struct Done(Option<Box<dyn FnOnce(bool) + Send>>);

impl Done {
    pub(crate) fn new(done: impl FnOnce(bool) + Send + 'static) -> Self {
        Self(Some(Box::new(done)))
    }

    pub(crate) fn say(mut self, handled: bool) {
        if let Some(done) = self.0.take() {
            done(handled);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(false);
        }
    }
}

/// A call that came in.
pub(crate) struct CallIn {
    pub(super) shape: Shape,
    pub(super) served: Served,
    pub(super) room: Option<Arc<tokio::sync::Notify>>,
    /// Requests that come later.
    pub(super) coming: Option<tokio::sync::mpsc::UnboundedReceiver<super::exchange::Requested>>,
}

/// The mailbox of an actor that may be started anew: all who send to it follow.
pub(crate) struct Door<M: actix::Message + Send>
where
    M::Result: Send,
{
    recipient: RwLock<Option<Recipient<M>>>,
    /// The fate of its actor when it dies; `None` where nobody starts it anew.
    fate: Option<Arc<Fate>>,
}

/// The fate of an actor that a node runs: to live again when it is dead, or not.
#[derive(Debug, Default)]
pub(crate) struct Fate(AtomicBool);

impl Fate {
    /// It will not.
    pub(crate) fn give_up(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl<M: actix::Message + Send> Door<M>
where
    M::Result: Send,
{
    /// Into this mailbox, as long as its actor lives.
    pub(crate) fn to(recipient: Recipient<M>) -> Arc<Self> {
        Arc::new(Self { recipient: RwLock::new(Some(recipient)), fate: None })
    }

    /// Into the mailbox of an actor that is started anew when it dies. Closed at first.
    pub(crate) fn kept(fate: Arc<Fate>) -> Arc<Self> {
        Arc::new(Self { recipient: RwLock::new(None), fate: Some(fate) })
    }

    fn why_dead(&self, name: &str) -> RemoteError {
        match &self.fate {
            Some(fate) if fate.is_given_up() => {
                let text = format!(
                    "the actor {name:?} has ended and is given up: it is not started anew, unless \
                     whoever runs its node hosts it again"
                );
                RemoteError::new(RemoteErrorKind::Died, text)
            }
            Some(_) => {
                let text =
                    format!("the actor {name:?} has died and is being started anew: try again");
                RemoteError::new(RemoteErrorKind::Restarting, text)
            }
            None => RemoteError::new(
                RemoteErrorKind::Died,
                format!("the actor {name:?} has died, or has stopped, and nobody starts it anew"),
            ),
        }
    }

    /// Says when a message that was put in was handled, or that its actor died with it.
    fn confirm(
        self: &Arc<Self>,
        request: impl Future<Output = Result<M::Result, actix::MailboxError>> + 'static,
        done: Done,
    ) where
        M: 'static,
    {
        actix::spawn(async move {
            let handled = request.await.is_ok();
            done.say(handled);
        });
    }

    /// Puts a message in, and says when it was handled. An error: it was not put in; `done` has
    /// been said.
    fn tell_confirmed(
        self: &Arc<Self>,
        message: Result<M, RemoteError>,
        done: Done,
        name: &str,
    ) -> Result<(), RemoteError>
    where
        M: 'static,
    {
        match message.and_then(|message| self.ask(message).ok_or_else(|| self.why_dead(name))) {
            Ok(request) => self.confirm(request, done),
            Err(error) => {
                done.say(true);
                return Err(error);
            }
        }
        Ok(())
    }

    pub(crate) fn reopen(&self, recipient: Recipient<M>) {
        *self.recipient.write().unwrap_or_else(PoisonError::into_inner) = Some(recipient);
    }

    pub(crate) fn recipient(&self) -> Option<Recipient<M>> {
        self.recipient.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_open(&self) -> bool {
        self.recipient
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_some_and(Recipient::connected)
    }

    /// `false` where nobody is there to take it.
    #[allow(clippy::disallowed_methods, reason = "credit bounds what waits in the mailbox")]
    fn put(&self, message: M) -> bool {
        match &*self.recipient.read().unwrap_or_else(PoisonError::into_inner) {
            Some(recipient) if recipient.connected() => {
                recipient.do_send(message);
                true
            }
            _ => false,
        }
    }

    /// Puts it into the mailbox now, before anything that is put in later.
    fn ask(
        &self,
        message: M,
    ) -> Option<impl Future<Output = Result<M::Result, actix::MailboxError>> + use<M>> {
        let door = self.recipient.read().unwrap_or_else(PoisonError::into_inner);
        let request = door.as_ref().filter(|recipient| recipient.connected())?.send(message);
        drop(door);
        if self.fate.is_some() {
            // The mailbox of a hosted actor has no capacity of its own: it is never full.
            return Some(Either::Left(request));
        }
        let mut request = Box::pin(request);
        // A request to a mailbox that is full puts itself in when it is polled first (actix 0.13.5,
        // address/message.rs:75).
        match request.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(Either::Right(Either::Left(std::future::ready(outcome)))),
            Poll::Pending => Some(Either::Right(Either::Right(request))),
        }
    }
}

/// A plain actor: its handler's result is the answer.
pub(crate) struct Plain<M: RemoteMessage, F>(Arc<Door<M>>, Arc<str>, PhantomData<F>);

/// An actor that answers by itself.
pub(crate) struct ByItself<M: RemoteMessage, F>(Arc<Door<Asked<M>>>, Arc<str>, PhantomData<F>);

/// An actor that takes calls with streams.
pub(crate) struct Streams<M: RemoteMessage, F>(Arc<Door<Called<M>>>, Arc<str>, PhantomData<F>);

impl<M: RemoteMessage, F: Form> Plain<M, F> {
    /// Of the actor behind that door, under that name.
    pub(crate) fn new(door: Arc<Door<M>>, name: &str) -> Self {
        Self(door, name.into(), PhantomData)
    }
}

impl<M: RemoteMessage, F: Form> ByItself<M, F> {
    /// Of the actor behind that door, under that name.
    pub(crate) fn new(door: Arc<Door<Asked<M>>>, name: &str) -> Self {
        Self(door, name.into(), PhantomData)
    }
}

impl<M: RemoteMessage, F: Form> Streams<M, F> {
    /// Of the actor behind that door, under that name.
    pub(crate) fn new(door: Arc<Door<Called<M>>>, name: &str) -> Self {
        Self(door, name.into(), PhantomData)
    }
}

/// Reads a message; what is wrong with it, and a panic of its type, is an error.
pub(super) fn read<M: RemoteMessage, F: Form>(body: &[u8]) -> Result<M, RemoteError> {
    read_for::<M, F, _>(body, |message| message)
}

/// Reads a message for `then`, whose own panics go on. Whoever handles it at once does so here:
/// each move costs as much as the reading.
pub(super) fn read_for<M: RemoteMessage, F: Form, T>(
    body: &[u8],
    then: impl FnOnce(M) -> T,
) -> Result<T, RemoteError> {
    let mut is_read = false;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        F::decode::<M>(body).map(|message| {
            is_read = true;
            then(message)
        })
    }));
    match outcome {
        Ok(outcome) => outcome.map_err(|fault| F::undecodable::<M>(&fault)),
        Err(panic) if is_read => resume_unwind(panic),
        // What panicked is in the log.
        Err(_) => {
            let text = format!(
                "a {} can't be read: its type panicked when it was read; see the log",
                M::NAME
            );
            Err(RemoteError::new(RemoteErrorKind::Undecodable, text))
        }
    }
}

fn wrong_way(name: &str, message: &str, how: &str) -> RemoteError {
    RemoteError::new(RemoteErrorKind::NoSuchMessage, format!("{name:?} takes {message} {how}"))
}

macro_rules! identity {
    ($streams:literal) => {
        fn streams(&self) -> bool {
            $streams
        }
        fn schemas(&self) -> Option<&'static Schemas> {
            M::schemas()
        }
        fn message(&self) -> &'static str {
            F::name::<M>()
        }
        fn version(&self) -> u32 {
            M::VERSION
        }
        fn is_alive(&self) -> bool {
            self.0.is_open()
        }
        fn why_dead(&self, name: &str) -> RemoteError {
            self.0.why_dead(name)
        }
        fn as_any(&self) -> &dyn Any {
            &self.0
        }
    };
}

impl<M: RemoteMessage, F: Form> Mailbox for Plain<M, F> {
    identity!(false);

    fn tell(&self, body: &[u8], _: &Teller, traced: Option<&Traced>) -> Result<(), RemoteError> {
        let _entered = traced.map(Traced::enter);
        if self.0.put(read::<M, F>(body)?) { Ok(()) } else { Err(self.0.why_dead(&self.1)) }
    }

    fn tell_confirmed(
        &self,
        body: &[u8],
        done: Done,
        traced: Option<&Traced>,
    ) -> Result<(), RemoteError> {
        let _entered = traced.map(Traced::enter);
        self.0.tell_confirmed(read::<M, F>(body), done, &self.1)
    }

    fn call(&self, body: &[u8], CallIn { shape, served, .. }: CallIn) {
        if shape != Shape::Ask {
            return served.fail(&wrong_way(
                &self.1,
                F::name::<M>(),
                "one by one, not as a stream: ask it",
            ));
        }
        let span = served.span(F::name::<M>());
        let _entered = span.enter();
        let message = match read::<M, F>(body) {
            Ok(message) => message,
            Err(error) => return served.fail(&error),
        };
        let Some(request) = self.0.ask(message) else {
            return served.fail(&self.0.why_dead(&self.1));
        };
        // Were the request dropped when the caller gives up, its message would wait in the mailbox
        // all the same, and nobody would know.
        served.answer_later(request, F::writer());
    }
}

impl<M: RemoteMessage, F: Form> Mailbox for ByItself<M, F> {
    identity!(false);

    fn tell(&self, body: &[u8], _: &Teller, traced: Option<&Traced>) -> Result<(), RemoteError> {
        let _entered = traced.map(Traced::enter);
        let asked = Asked { message: read::<M, F>(body)?, reply: Reply::to_nobody(traced) };
        if self.0.put(asked) { Ok(()) } else { Err(self.0.why_dead(&self.1)) }
    }

    fn tell_confirmed(
        &self,
        body: &[u8],
        done: Done,
        traced: Option<&Traced>,
    ) -> Result<(), RemoteError> {
        let _entered = traced.map(Traced::enter);
        let asked =
            read::<M, F>(body).map(|message| Asked { message, reply: Reply::to_nobody(traced) });
        self.0.tell_confirmed(asked, done, &self.1)
    }

    fn call(&self, body: &[u8], CallIn { shape, served, .. }: CallIn) {
        if shape != Shape::Ask {
            return served.fail(&wrong_way(
                &self.1,
                F::name::<M>(),
                "one by one, not as a stream: ask it",
            ));
        }
        if !self.0.is_open() {
            return served.fail(&self.0.why_dead(&self.1));
        }
        let span = served.span(F::name::<M>());
        let _entered = span.enter();
        match read::<M, F>(body) {
            // Should it have died just now, the reply is dropped, and says so.
            Ok(message) => _ = self.0.put(Asked { message, reply: Reply::to(served, F::writer()) }),
            Err(error) => served.fail(&error),
        }
    }
}

impl<M: RemoteMessage, F: Form> Mailbox for Streams<M, F> {
    identity!(true);

    fn tell(&self, _: &[u8], _: &Teller, _: Option<&Traced>) -> Result<(), RemoteError> {
        Err(self.never_told())
    }

    fn tell_confirmed(&self, _: &[u8], done: Done, _: Option<&Traced>) -> Result<(), RemoteError> {
        done.say(true);
        Err(self.never_told())
    }

    fn call(&self, body: &[u8], CallIn { shape, served, room, coming }: CallIn) {
        if !self.0.is_open() {
            return served.fail(&self.0.why_dead(&self.1));
        }
        let span = served.span(F::name::<M>());
        let _entered = span.enter();
        let first = match (!shape.streams_requests()).then(|| read::<M, F>(body)).transpose() {
            Ok(first) => first,
            Err(error) => return served.fail(&error),
        };
        let requests = Requests::new(first, coming, &served, F::reader());
        let replies = Replies::new(served, room, F::writer());
        // Where nobody takes it, it is dropped, and says so.
        let _ = self.0.put(Called { requests, replies });
    }
}

impl<M: RemoteMessage, F: Form> Streams<M, F> {
    fn never_told(&self) -> RemoteError {
        wrong_way(&self.1, F::name::<M>(), "in calls that have an answer: open a stream")
    }
}

#[cfg(test)]
mod tests;
