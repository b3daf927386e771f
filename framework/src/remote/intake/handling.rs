//! Reading, handling and answering the bytes of one message, in the actor's context.

use std::mem::needs_drop;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, Context, Handler, Message};
use tokio::sync::oneshot;

use super::{Came, Teller};
use crate::remote::exchange::cost;
use crate::remote::form::Form;
use crate::remote::mailbox::{CallIn, Done, read, read_for};
use crate::remote::message::RemoteMessage;
use crate::remote::serving::{Asked, Called, Replies, Reply, Requests};
use crate::store::ledger::Kind;

/// For an actor whose handler's result is the answer.
pub(crate) fn plain<A, M, F>(actor: &mut A, ctx: &mut Context<A>, body: &[u8], came: Came<'_>)
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: RemoteMessage,
    F: Form,
{
    match came {
        Came::Told(teller, done, _) => {
            told::<A, M, M, F>(actor, ctx, (body, |message| message), teller, done)
        }
        Came::Called(CallIn { served, .. }) => {
            if !served.is_wanted() {
                return;
            }
            let span = served.span(F::name::<M>());
            let _entered = span.enter();
            // Should the handler panic, `served` is dropped, and says so.
            match read_for::<M, F, _>(body, |message| handled(actor, ctx, message)) {
                Ok(Outcome::Now(reply)) => served.answer(&reply, F::writer()),
                Ok(Outcome::Later(reply)) => served.answer_later(reply, F::writer()),
                Ok(Outcome::Never) => {}
                Err(error) => served.fail(&error),
            }
        }
    }
}

/// For an actor that answers by itself.
pub(crate) fn asked<A, M, F>(actor: &mut A, ctx: &mut Context<A>, body: &[u8], came: Came<'_>)
where
    A: Actor<Context = Context<A>> + Handler<Asked<M>>,
    M: RemoteMessage,
    F: Form,
{
    match came {
        Came::Told(teller, done, traced) => {
            let asked = |message| Asked { message, reply: Reply::to_nobody(traced) };
            told::<A, M, Asked<M>, F>(actor, ctx, (body, asked), teller, done);
        }
        Came::Called(CallIn { served, .. }) => {
            if !served.is_wanted() {
                return;
            }
            let span = served.span(F::name::<M>());
            let _entered = span.enter();
            match read::<M, F>(body) {
                Ok(message) => actor
                    .handle(Asked { message, reply: Reply::to(served, F::writer()) }, ctx)
                    .handle(ctx, None),
                Err(error) => served.fail(&error),
            }
        }
    }
}

/// For an actor that takes calls with streams.
pub(crate) fn called<A, M, F>(actor: &mut A, ctx: &mut Context<A>, body: &[u8], came: Came<'_>)
where
    A: Actor<Context = Context<A>> + Handler<Called<M>>,
    M: RemoteMessage,
    F: Form,
{
    // What is told never gets here.
    let Came::Called(CallIn { shape, served, room, coming }) = came else { return };
    let span = served.span(F::name::<M>());
    let _entered = span.enter();
    let first = match (!shape.streams_requests()).then(|| read::<M, F>(body)).transpose() {
        Ok(first) => first,
        Err(error) => return served.fail(&error),
    };
    let requests = Requests::new(first, coming, &served, F::reader());
    actor
        .handle(Called { requests, replies: Replies::new(served, room, F::writer()) }, ctx)
        .handle(ctx, None);
}

/// `read`: the bytes of an `M`, and what makes it the message that the actor handles.
fn told<A, M, H, F>(
    actor: &mut A,
    ctx: &mut Context<A>,
    read: (&[u8], impl FnOnce(M) -> H),
    teller: &Teller,
    done: &mut Option<Done>,
) where
    A: Actor<Context = Context<A>> + Handler<H>,
    M: RemoteMessage,
    H: Message,
    F: Form,
{
    let (body, made) = read;
    // Looked at where it is: most have none, and what is moved about is slow. What has nothing to
    // drop holds no future that goes on.
    if done.is_none() && !needs_drop::<<A as Handler<H>>::Result>() {
        if let Err(error) =
            read_for::<M, F, _>(body, |message| actor.handle(made(message), ctx).handle(ctx, None))
        {
            teller.undelivered(1, &error);
        }
        return;
    }
    // What goes on behind the last one of its batch still counts when that one gives the credit of
    // all back.
    let done = done.take().unwrap_or_else(|| {
        let charge = teller.exchange.account().charge_anyway(Kind::Messages, cost(body.len()));
        Done::new(move |_| drop(charge))
    });
    match read_for::<M, F, _>(body, |message| handled(actor, ctx, made(message))) {
        Ok(Outcome::Now(_)) => done.say(true),
        Ok(Outcome::Later(result)) => {
            drop(actix::spawn(async move { done.say(result.await.is_ok()) }))
        }
        Ok(Outcome::Never) => {}
        Err(error) => {
            teller.undelivered(1, &error);
            done.say(true);
        }
    }
}

/// The outcome of an actor's handler.
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
