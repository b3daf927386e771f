//! What somebody wants done with a delivery of the outbox. Invariant: an order is answered when what it did is durable.

use std::sync::Arc;
use std::time::Instant;

use actix::{Context, Handler, Message, ResponseFuture};
use tokio::sync::oneshot;

use super::{Outbox, OutboxError, OutboxState, Written};
use crate::delivery::{FailureKind, TransferId};
use crate::node::session::signals;
use crate::node::transfer::TransferState;

/// Do this with one delivery.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), OutboxError>")]
pub(crate) struct Order {
    pub(crate) id: TransferId,
    pub(crate) what: OrderKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderKind {
    Retry,
    Cancel,
    Drop,
}

impl Handler<Order> for Outbox {
    type Result = ResponseFuture<Result<(), OutboxError>>;

    fn handle(&mut self, Order { id, what }: Order, ctx: &mut Context<Self>) -> Self::Result {
        let obeyed = self.obey(id, what, ctx);
        self.try_what_is_due(ctx);
        Box::pin(async move {
            match obeyed? {
                Obeyed::Done => Ok(()),
                Obeyed::Writing(written) => Ok(written.await.map_err(|_| OutboxError::None)??),
                Obeyed::Ending(state) => match state.outcome().await {
                    Err(failure) if failure.kind == FailureKind::Cancelled => Ok(()),
                    Err(failure) if failure.kind == FailureKind::Shutdown => Err(OutboxError::None),
                    _ => Err(OutboxError::Unfit { id, why: "was delivered before it could be taken out" }),
                },
            }
        })
    }
}

/// What an order waits for.
enum Obeyed {
    Done,
    Writing(Written),
    /// The try under way ends first.
    Ending(Arc<TransferState>),
}

impl Outbox {
    fn obey(&mut self, id: TransferId, what: OrderKind, ctx: &mut Context<Self>) -> Result<Obeyed, OutboxError> {
        let held = self.entries.get_mut(&id).ok_or(OutboxError::Unknown(id))?;
        let unfit = |why| Err(OutboxError::Unfit { id, why });
        match what {
            OrderKind::Retry if held.entry.is_open() => {
                self.schedule.hurry(held.entry.next_hop(), held.entry.created, id, Instant::now());
                Ok(Obeyed::Done)
            }
            OrderKind::Retry if held.entry.relayed_for.is_some() && !held.entry.is_open() => {
                unfit("was given up, and only who packed it can send it again")
            }
            OrderKind::Retry if !matches!(held.entry.state, OutboxState::Dead { .. }) => unfit("was delivered already"),
            OrderKind::Cancel if !held.entry.is_open() => unfit("is over already; drop it to forget it"),
            OrderKind::Cancel if held.busy => {
                held.cancelled.set(true);
                if let Some(stop) = held.storing.as_mut().and_then(|storing| storing.stop.take()) {
                    // Where that is over already, the record is being written, and removed again.
                    let _ = stop.send(());
                }
                self.hub.do_send(signals::Command { transfer: id, what: signals::Order::Cancel });
                Ok(Obeyed::Ending(Arc::clone(&held.state)))
            }
            OrderKind::Drop if held.entry.is_open() => unfit("is still to be delivered; cancel it instead"),
            _ if held.busy => unfit("has ended this very moment; try again"),
            OrderKind::Retry => Ok(Obeyed::Writing(self.revive(id, ctx))),
            OrderKind::Cancel | OrderKind::Drop => Ok(Obeyed::Writing(self.remove(id, ctx))),
        }
    }

    /// Gives a dead letter as long to live as it had before.
    fn revive(&mut self, id: TransferId, ctx: &mut Context<Self>) -> Written {
        let (answer, written) = oneshot::channel();
        let Some(held) = self.entries.get_mut(&id) else { return written };
        let before = (held.entry.clone(), Arc::clone(&held.state));
        let (now, life) = (self.shared.clock.now().passed, held.entry.expires.saturating_sub(held.entry.created).max(1));
        if held.entry.expires <= now {
            (held.entry.created, held.entry.expires) = (now, now + life);
        }
        held.state = Arc::new(TransferState::stored(id, held.entry.peer));
        (held.entry.state, held.busy) = (OutboxState::Stored, true);
        held.cancelled.set(false);
        held.revived = true;
        held.account_for(&self.shared);
        let record = held.record(id);
        self.write(record, ctx, move |outbox, outcome, ctx| {
            if let Some(held) = outbox.entries.get_mut(&id) {
                if outcome.is_ok() {
                    outbox.schedule.wait(held.entry.next_hop(), held.entry.created, id, Instant::now());
                } else {
                    (held.entry, held.state) = before;
                }
                outbox.set_free(id, ctx);
            }
            // Whoever asked may be gone.
            let _ = answer.send(outcome);
            outbox.try_what_is_due(ctx);
        });
        written
    }
}
