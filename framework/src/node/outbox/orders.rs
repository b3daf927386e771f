//! Orders that change a delivery of the outbox. Invariant: an order is answered when its effect is
//! durable.

use std::sync::Arc;

use actix::{Context, Handler, Message, ResponseFuture};
use tokio::sync::oneshot;

use super::stored::{Obeyed, OrderKind};
use super::{Outbox, OutboxError, Written};
use crate::delivery::{FailureKind, TransferId};
use crate::node::transfer::TransferState;

/// Do this with one delivery; answered with the id it has from then on.
#[derive(Debug, Message)]
#[rtype(result = "Result<TransferId, OutboxError>")]
pub(crate) struct Order {
    pub(crate) id: TransferId,
    pub(crate) what: OrderKind,
}

impl Handler<Order> for Outbox {
    type Result = ResponseFuture<Result<TransferId, OutboxError>>;

    fn handle(&mut self, Order { id, what }: Order, ctx: &mut Context<Self>) -> Self::Result {
        let id = self.meant(id);
        let obeyed = self.obey(id, what, ctx);
        self.try_what_is_due(ctx);
        Box::pin(async move {
            let (obeyed, state, written) = obeyed?;
            match obeyed {
                Obeyed::Done => Ok(id),
                Obeyed::Writing(new) => {
                    written.await.map_err(|_| OutboxError::None)??;
                    Ok(new.unwrap_or(id))
                }
                Obeyed::Ending => match state.outcome().await {
                    Err(failure) if failure.kind == FailureKind::Cancelled => Ok(id),
                    Err(failure) if failure.kind == FailureKind::Shutdown => Err(OutboxError::None),
                    _ => Err(OutboxError::Unfit {
                        id,
                        why: "was delivered before it could be taken out",
                    }),
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
        let at = self.at();
        let held = self.entries.get_mut(&id).ok_or(OutboxError::Unknown(id))?;
        let offered = held.is_offered();
        let (obeyed, actions) = held.stored.obey(what, offered, TransferId::random, at);
        let obeyed = obeyed.map_err(|why| OutboxError::Unfit { id, why })?;
        let (answer, written) = oneshot::channel();
        if matches!(obeyed, Obeyed::Writing(_)) {
            held.asked = Some(answer);
        }
        let state = Arc::clone(&held.state);
        self.carry_out(id, actions, ctx);
        Ok((obeyed, state, written))
    }
}
