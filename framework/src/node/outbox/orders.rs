//! Orders that change a delivery of the outbox. Invariant: an order is answered when its effect is
//! durable.

use std::sync::Arc;
use std::time::Instant;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use tokio::sync::oneshot;

use super::{Held, Outbox, OutboxError, OutboxState, TABLE, Written, write_to};
use crate::delivery::{FailureKind, TransferId};
use crate::node::session::signals;
use crate::node::transfer::TransferState;
use crate::store::Change;

/// Do this with one delivery; answered with the id it has from then on.
#[derive(Debug, Message)]
#[rtype(result = "Result<TransferId, OutboxError>")]
pub(crate) struct Order {
    pub(crate) id: TransferId,
    pub(crate) what: OrderKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderKind {
    Retry,
    Cancel,
    /// Cancel it only if nobody else may have it.
    Recall,
    Drop,
}

impl Handler<Order> for Outbox {
    type Result = ResponseFuture<Result<TransferId, OutboxError>>;

    fn handle(&mut self, Order { id, what }: Order, ctx: &mut Context<Self>) -> Self::Result {
        let id = self.meant(id);
        let obeyed = self.obey(id, what, ctx);
        self.try_what_is_due(ctx);
        Box::pin(async move {
            match obeyed? {
                Obeyed::Done => Ok(id),
                Obeyed::Writing(id, written) => {
                    written.await.map_err(|_| OutboxError::None)??;
                    Ok(id)
                }
                Obeyed::Ending(state) => match state.outcome().await {
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

/// What an order waits for.
enum Obeyed {
    Done,
    /// And the id it will have.
    Writing(TransferId, Written),
    /// The try under way ends first.
    Ending(Arc<TransferState>),
}

impl Outbox {
    fn obey(
        &mut self,
        id: TransferId,
        what: OrderKind,
        ctx: &mut Context<Self>,
    ) -> Result<Obeyed, OutboxError> {
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
            OrderKind::Retry if !matches!(held.entry.state, OutboxState::Dead { .. }) => {
                unfit("was delivered already")
            }
            OrderKind::Cancel if !held.entry.is_open() => {
                unfit("is over already; drop it to forget it")
            }
            // A try that was not offered yet hears of it before its first chunk is asked for.
            OrderKind::Recall if held.may_be_elsewhere() => {
                unfit("may be with its relay or its receiver already")
            }
            OrderKind::Cancel | OrderKind::Recall if held.busy => {
                held.cancelled.set(true);
                if let Some(stop) = held.storing.as_mut().and_then(|storing| storing.stop.take()) {
                    // Where that is over already, the record is being written, and removed again.
                    let _ = stop.send(());
                }
                self.hub.do_send(signals::Command { transfer: id, what: signals::Order::Cancel });
                Ok(Obeyed::Ending(Arc::clone(&held.state)))
            }
            OrderKind::Drop if held.entry.is_open() => {
                unfit("is still to be delivered; cancel it instead")
            }
            _ if held.busy => unfit("has ended this very moment; try again"),
            // Its receiver remembers what it has at least as long as the delivery lives: until
            // then, it tells.
            OrderKind::Retry if held.entry.expires > self.shared.clock.now().passed => {
                Ok(Obeyed::Writing(id, self.revive(id, id, ctx)))
            }
            OrderKind::Retry if held.entry.is_package() => unfit(
                "has expired, and a package can't be given longer to live; send the content again",
            ),
            OrderKind::Retry if held.unsure => unfit(
                "has expired, and may have been delivered before: look at the receiver, and send \
                 the content again if it is not there",
            ),
            // It was not delivered. What it is tried as has nothing to do with what the receiver
            // may have forgotten by now.
            OrderKind::Retry => {
                let new = TransferId::random();
                Ok(Obeyed::Writing(new, self.revive(id, new, ctx)))
            }
            OrderKind::Cancel | OrderKind::Recall | OrderKind::Drop => {
                Ok(Obeyed::Writing(id, self.remove(id, ctx)))
            }
        }
    }

    /// Lets a dead letter live, as the delivery `new`: the same one, as long as it has not expired,
    /// or another one that has as long to live as that had.
    fn revive(&mut self, id: TransferId, new: TransferId, ctx: &mut Context<Self>) -> Written {
        let (answer, written) = oneshot::channel();
        let Some(held) = self.entries.get_mut(&id) else { return written };
        let mut entry = held.entry.clone();
        let is_other = new != id;
        if is_other {
            let (now, life) = (
                self.shared.clock.now().passed,
                entry.expires.saturating_sub(entry.created).max(1),
            );
            (entry.created, entry.expires, entry.tries, entry.last_failure) =
                (now, now + life, 0, None);
        }
        entry.state = OutboxState::Stored;
        // Nobody else touches it meanwhile.
        held.busy = true;
        let unsure = held.unsure && !is_other;
        let state = Arc::new(TransferState::stored(new, entry.peer, entry.length));
        let revived = Held { revived: true, unsure, ..Held::new(entry, state) };
        let record = revived.record(new);
        let spool = Arc::clone(&self.spool);
        let written_down = async move {
            let forget =
                is_other.then(|| Change::Remove { table: TABLE, key: id.as_bytes().to_vec() });
            let changes = forget.into_iter().chain([record?]).collect();
            write_to(spool, changes).await
        };
        ctx.spawn(written_down.into_actor(self).map(move |outcome, outbox, ctx| {
            if outcome.is_ok() {
                let (hop, created) = (revived.entry.next_hop(), revived.entry.created);
                // With it goes the room that it was charged with.
                let said = outbox.entries.remove(&id).and_then(|held| held.said);
                outbox.entries.insert(new, Held { said, ..revived });
                outbox.account_for(new);
                outbox.schedule.wait(hop, created, new, Instant::now());
            }
            outbox.set_free(if outcome.is_ok() { new } else { id }, ctx);
            // Whoever asked may be gone.
            let _ = answer.send(outcome);
            outbox.try_what_is_due(ctx);
        }));
        written
    }
}
