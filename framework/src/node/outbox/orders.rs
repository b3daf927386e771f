//! Orders that change a delivery of the outbox. Invariant: an order is answered when its effect is
//! durable.

use std::sync::Arc;

use actix::{Context, Handler, Message, ResponseFuture};
use tokio::sync::oneshot;

use super::stored::{Obeyed, OrderKind, WITH_RELAY};
use super::{Outbox, OutboxError, OutboxState, Written};
use crate::delivery::{Failure, FailureKind, TransferId};
use crate::node::transfer::TransferState;

/// Do this with one delivery.
#[derive(Debug, Message)]
#[rtype(result = "Result<Done, OutboxError>")]
pub(crate) struct Order {
    pub(crate) id: TransferId,
    pub(crate) what: OrderKind,
}

/// The effect of an order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// The id of the delivery from then on.
    pub(crate) id: TransferId,
    pub(crate) out: TakenOut,
}

/// The knowledge about a delivery that was taken out of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TakenOut {
    /// It was not delivered, and will not be.
    Undelivered,
    /// All of it was sent before, or an earlier process tried it, and the receiver has not said
    /// whether it has it: it may have been delivered.
    Unsure,
}

impl TakenOut {
    fn of(failure: &Failure) -> Option<Self> {
        match failure.kind {
            FailureKind::Cancelled => Some(Self::Undelivered),
            FailureKind::Unknown => Some(Self::Unsure),
            _ => None,
        }
    }
}

/// Tell that a dead letter has failed, which was told as put off.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), OutboxError>")]
pub(crate) struct GiveUp(pub(crate) TransferId);

impl Handler<GiveUp> for Outbox {
    type Result = Result<(), OutboxError>;

    fn handle(&mut self, GiveUp(id): GiveUp, _: &mut Context<Self>) -> Self::Result {
        let id = self.meant(id);
        let held = self.entries.get(&id).ok_or(OutboxError::Unknown(id))?;
        let OutboxState::Dead { failure, .. } = &held.entry().state else {
            return Err(OutboxError::Unfit { id, why: "is no dead letter" });
        };
        let failure = failure.clone();
        self.tell_dead(id, failure);
        Ok(())
    }
}

impl Handler<Order> for Outbox {
    type Result = ResponseFuture<Result<Done, OutboxError>>;

    fn handle(&mut self, Order { id, what }: Order, ctx: &mut Context<Self>) -> Self::Result {
        // One that was left here by somebody else is told by the id that it was asked for by.
        let obeyed = self.obey(id, what, ctx);
        self.try_what_is_due(ctx);
        Box::pin(async move {
            let (obeyed, state, written) = obeyed?;
            let done = |id, out: Option<TakenOut>| {
                Ok(Done { id, out: out.unwrap_or(TakenOut::Undelivered) })
            };
            match obeyed {
                Obeyed::Done => done(id, None),
                Obeyed::Writing(new) => {
                    written.await.map_err(|_| OutboxError::None)??;
                    let ended = state.status.borrow().outcome.clone();
                    let failure = ended.and_then(Result::err);
                    done(new.unwrap_or(id), failure.as_ref().and_then(TakenOut::of))
                }
                Obeyed::Ending => match state.ended_or_relayed().await {
                    Some(Err(failure)) if failure.kind == FailureKind::Shutdown => {
                        Err(OutboxError::None)
                    }
                    Some(Err(failure)) if TakenOut::of(&failure).is_some() => {
                        done(id, TakenOut::of(&failure))
                    }
                    Some(_) => Err(OutboxError::Unfit {
                        id,
                        why: "was delivered before it could be taken out",
                    }),
                    None => Err(OutboxError::Unfit { id, why: WITH_RELAY }),
                },
            }
        })
    }
}

impl Outbox {
    /// Obeys; what the order waits for, and whoever tells that a change is written.
    fn obey(
        &mut self,
        id: TransferId,
        what: OrderKind,
        ctx: &mut Context<Self>,
    ) -> Result<(Obeyed, Arc<TransferState>, Written), OutboxError> {
        let (at, asked) = (self.at(), id);
        let id = self.meant(id);
        let held = self.entries.get_mut(&id).ok_or(OutboxError::Unknown(asked))?;
        let offered = held.is_offered();
        let (obeyed, actions) = held.stored.obey(what, offered, TransferId::random, at);
        let obeyed = obeyed.map_err(|why| OutboxError::Unfit { id: asked, why })?;
        if matches!(what, OrderKind::Recall | OrderKind::Cancel) {
            // What was recalled in vain, and is cancelled later, is a failure.
            held.recalled = what == OrderKind::Recall;
        }
        let (answer, written) = oneshot::channel();
        if matches!(obeyed, Obeyed::Writing(_)) {
            held.asked = Some(answer);
        }
        let state = Arc::clone(&held.state);
        self.carry_out(id, actions, ctx);
        Ok((obeyed, state, written))
    }
}
