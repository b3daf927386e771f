//! How the bytes of one message are read, handled and answered, in the actor's context.

use std::sync::Arc;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Context, Handler, Message};
use tokio::sync::oneshot;

use super::{Came, Teller};
use crate::remote::error::RemoteError;
use crate::remote::mailbox::{CallIn, Done, read};
use crate::remote::message::RemoteMessage;
use crate::remote::serving::{Asked, Called, Replies, Reply, Requests};

/// For an actor whose handler's result is the answer.
pub(crate) fn plain<A, M>(actor: &mut A, ctx: &mut Context<A>, body: &[u8], came: Came<'_>)
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: RemoteMessage,
{
    match came {
        Came::Told(teller, done) => told(actor, ctx, read::<M>(body), teller, done),
        Came::Called(CallIn { served, .. }) => {
            if !served.is_wanted() {
                return;
            }
            let span = served.span(M::NAME);
            let _entered = span.enter();
            let message = match read::<M>(body) {
                Ok(message) => message,
                Err(error) => return served.fail(&error),
            };
            // Should the handler panic, `served` is dropped, and says so.
            match handled(actor, ctx, message) {
                Outcome::Now(reply) => served.answer(&reply),
                Outcome::Later(reply) => served.answer_later(reply),
                Outcome::Never => {}
            }
        }
    }
}

/// For an actor that answers by itself.
pub(crate) fn asked<A, M>(actor: &mut A, ctx: &mut Context<A>, body: &[u8], came: Came<'_>)
where
    A: Actor<Context = Context<A>> + Handler<Asked<M>>,
    M: RemoteMessage,
{
    let asked = |served| read::<M>(body).map(|message| Asked { message, reply: Reply::new(served) });
    match came {
        Came::Told(teller, done) => told(actor, ctx, asked(None), teller, done),
        Came::Called(CallIn { served, .. }) => {
            if !served.is_wanted() {
                return;
            }
            let span = served.span(M::NAME);
            let _entered = span.enter();
            match read::<M>(body) {
                Ok(message) => actor.handle(Asked { message, reply: Reply::new(Some(served)) }, ctx).handle(ctx, None),
                Err(error) => served.fail(&error),
            }
        }
    }
}

/// For an actor that takes calls with streams.
pub(crate) fn called<A, M>(actor: &mut A, ctx: &mut Context<A>, body: &[u8], came: Came<'_>)
where
    A: Actor<Context = Context<A>> + Handler<Called<M>>,
    M: RemoteMessage,
{
    // What is told never gets here.
    let Came::Called(CallIn { shape, served, room, coming }) = came else { return };
    let span = served.span(M::NAME);
    let _entered = span.enter();
    let first = match (!shape.streams_requests()).then(|| read::<M>(body)).transpose() {
        Ok(first) => first,
        Err(error) => return served.fail(&error),
    };
    let requests = Requests { first, coming, exchange: Arc::clone(&served.exchange), epoch: served.epoch, call: served.call };
    actor.handle(Called { requests, replies: Replies::new(served, room) }, ctx).handle(ctx, None);
}

fn told<A, M>(actor: &mut A, ctx: &mut Context<A>, message: Result<M, RemoteError>, teller: &Teller, done: Option<Done>)
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message,
{
    let message = match message {
        Ok(message) => message,
        Err(error) => {
            teller.undelivered(1, &error);
            return done.into_iter().for_each(|done| done.say(true));
        }
    };
    let Some(done) = done else { return actor.handle(message, ctx).handle(ctx, None) };
    match handled(actor, ctx, message) {
        Outcome::Now(_) => done.say(true),
        Outcome::Later(result) => drop(actix::spawn(async move { done.say(result.await.is_ok()) })),
        Outcome::Never => {}
    }
}

/// What an actor's handler gave.
enum Outcome<R> {
    Now(R),
    Later(oneshot::Receiver<R>),
    /// It threw the way to answer away.
    Never,
}

fn handled<A, M>(actor: &mut A, ctx: &mut Context<A>, message: M) -> Outcome<M::Result>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message,
{
    let (answer, mut answered): (OneshotSender<M::Result>, _) = oneshot::channel();
    actor.handle(message, ctx).handle(ctx, Some(answer));
    match answered.try_recv() {
        Ok(result) => Outcome::Now(result),
        Err(oneshot::error::TryRecvError::Empty) => Outcome::Later(answered),
        Err(oneshot::error::TryRecvError::Closed) => Outcome::Never,
    }
}
