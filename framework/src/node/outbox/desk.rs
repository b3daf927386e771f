//! What others ask of the outbox: to take a delivery in, to tell what it holds; and what a receiver says of one.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::{ActorFutureExt, Context, Handler, Message, MessageResult, ResponseActFuture, WrapFuture};

use super::{Held, Outbox, OutboxEntry, OutboxState, write_to};
use crate::delivery::{Content, Failure, FailureKind, TransferId};
use crate::node::handle::TransferState;
use crate::node::hub::{ProcessedWord, ToSession};
use crate::node::session::signals::Noted;
use crate::pipeline::Source;

/// Store this delivery; answered when it is durable.
#[derive(Message)]
#[rtype(result = "Result<(), OutboxError>")]
pub(crate) struct Deposit {
    pub(crate) id: TransferId,
    pub(crate) entry: OutboxEntry,
    pub(crate) source: Option<(Box<dyn Source>, Content)>,
    pub(crate) state: Arc<TransferState>,
}

/// All deliveries, the oldest first.
#[derive(Debug, Message)]
#[rtype(result = "Vec<(TransferId, OutboxEntry)>")]
pub(crate) struct List;

/// The state of one delivery.
#[derive(Debug, Message)]
#[rtype(result = "Option<Arc<TransferState>>")]
pub(crate) struct Find(pub(crate) TransferId);

/// Begin no more tries; answered when the tries that have not begun to run are given up.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Halt;

/// Why the outbox did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// It is full.
    #[error("the outbox holds {limit} deliveries that are still to be delivered, which is all it may; cancel some of them, or wait")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The spool failed: nothing was stored.
    #[error("the delivery could not be stored: {0}")]
    Store(#[from] io::Error),
    /// There is no such delivery.
    #[error("there is no delivery {0} in the outbox")]
    Unknown(TransferId),
    /// It is not in a state for that.
    #[error("the delivery {id} {why}")]
    Unfit {
        /// Which one.
        id: TransferId,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// The node keeps no outbox, or has stopped.
    #[error("the node has no outbox: it was started without a spool, or has been shut down")]
    None,
}

impl Handler<Deposit> for Outbox {
    type Result = ResponseActFuture<Self, Result<(), OutboxError>>;

    fn handle(&mut self, Deposit { id, mut entry, mut source, state }: Deposit, _: &mut Context<Self>) -> Self::Result {
        let limit = self.shared.config.outbox;
        let open = self.entries.values().filter(|held| held.entry.is_open()).count();
        if self.stopping {
            return Box::pin(actix::fut::ready(Err(OutboxError::None)));
        }
        if open >= limit {
            return Box::pin(actix::fut::ready(Err(OutboxError::Full { limit })));
        }
        if self.dormant {
            // Another process makes the first try.
            (entry.tries, source) = (0, None);
        }
        let held = Held { entry, state, source, busy: true, cancelled: Rc::default() };
        let (spool, record) = (Arc::clone(&self.spool), held.record(id));
        self.entries.insert(id, held);
        let stored = async move { write_to(spool, vec![record?]).await };
        Box::pin(stored.into_actor(self).map(move |stored, outbox, ctx| {
            if let Err(error) = stored {
                outbox.entries.remove(&id);
                return Err(error.into());
            }
            if let Some(held) = outbox.entries.get_mut(&id) {
                held.busy = false;
                if held.cancelled.get() {
                    drop(outbox.remove(id, ctx));
                } else {
                    outbox.schedule.wait(held.entry.peer, held.entry.created, id, Instant::now());
                }
            }
            outbox.try_what_is_due(ctx);
            Ok(())
        }))
    }
}

impl Handler<List> for Outbox {
    type Result = MessageResult<List>;

    fn handle(&mut self, _: List, _: &mut Context<Self>) -> Self::Result {
        let mut list: Vec<_> = self.entries.iter().map(|(&id, held)| (id, held.entry.clone())).collect();
        list.sort_by_key(|(id, entry)| (entry.created, *id));
        MessageResult(list)
    }
}

impl Handler<Find> for Outbox {
    type Result = Option<Arc<TransferState>>;

    fn handle(&mut self, Find(id): Find, _: &mut Context<Self>) -> Self::Result {
        self.entries.get(&id).map(|held| Arc::clone(&held.state))
    }
}

impl Handler<ProcessedWord> for Outbox {
    type Result = ();

    fn handle(&mut self, ProcessedWord { peer, transfer, mac }: ProcessedWord, ctx: &mut Context<Self>) {
        let held = self.entries.get_mut(&transfer).filter(|held| held.entry.peer == peer);
        let noted = match held.as_ref().map(|held| &held.entry.state) {
            // A word about what is forgotten, or noted before: it need not be said again.
            None | Some(OutboxState::Processed { .. } | OutboxState::Dead { .. }) => None,
            // It comes again on the next link: the word of the delivery itself is still on its way.
            Some(OutboxState::Stored | OutboxState::Relayed { .. }) => return,
            Some(OutboxState::Delivered { receipt, proof, .. }) => {
                // The comparison takes the same time wherever the bytes differ.
                if blake3::Hash::from_bytes(*proof) != blake3::Hash::from_bytes(mac) {
                    return tracing::warn!(%transfer, "a peer says that a delivery was processed, and can't prove it");
                }
                Some(receipt.clone())
            }
        };
        let (Some(receipt), Some(held)) = (noted, held) else {
            return self.hub.do_send(ToSession(peer, Noted { transfer }));
        };
        held.entry.state = OutboxState::Processed { at: crate::node::trust::now(), receipt };
        let (record, hub) = (held.record(transfer), self.hub.clone());
        self.write(record, ctx, move |outbox, written, _| match written {
            Ok(()) => {
                if let Some(held) = outbox.entries.get(&transfer) {
                    held.state.update(|status| status.processed = true);
                }
                hub.do_send(ToSession(peer, Noted { transfer }));
            }
            Err(error) => tracing::error!(%transfer, %error, "the spool could not note that a delivery was processed"),
        });
    }
}

impl Handler<Halt> for Outbox {
    type Result = ();

    fn handle(&mut self, _: Halt, _: &mut Context<Self>) {
        self.stopping = true;
        for held in self.entries.values().filter(|held| held.entry.is_open() && !held.busy) {
            let text = "the node stopped; the delivery is stored, and goes on when the node is started again";
            held.state.end(Err(Failure::new(FailureKind::Shutdown, text)));
        }
    }
}

impl std::fmt::Debug for Deposit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deposit").field("id", &self.id).finish_non_exhaustive()
    }
}
