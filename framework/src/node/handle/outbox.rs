//! The host's view of its outbox: deliveries that are stored until they are over.

use actix::Addr;

use super::{Node, TransferHandle};
use crate::delivery::TransferId;
use crate::node::outbox::{
    self, Done, Find, FindWithdrawn, List, ListWithdrawn, Look, OrderKind, Outbox, OutboxEntry,
    OutboxError, TakenOut,
};

/// The outbox of a node ([`Node::outbox`]). Without a spool there is none, and what is asked of it
/// fails with [`OutboxError::None`].
#[derive(Clone, Copy, Debug)]
pub struct OutboxHandle<'a>(pub(super) &'a Node);

impl Node {
    /// Returns the outbox: the deliveries that are stored here, and what can be done about them.
    pub fn outbox(&self) -> OutboxHandle<'_> {
        OutboxHandle(self)
    }
}

impl<'a> OutboxHandle<'a> {
    /// The deliveries in the outbox, the oldest first: those still to be delivered, and how others
    /// ended.
    pub async fn list(self) -> Result<Vec<(TransferId, OutboxEntry)>, OutboxError> {
        self.actor()?.send(List).await.map_err(|_| OutboxError::None)
    }

    /// One delivery in the outbox. One that is still being stored is
    /// [`OutboxError::Storing`].
    pub async fn entry(self, id: TransferId) -> Result<OutboxEntry, OutboxError> {
        self.actor()?.send(Look(id)).await.map_err(|_| OutboxError::None)?
    }

    /// A delivery that was taken out while it was still to be delivered, as it was, dead with the
    /// reason. The last 1,024 of this process are remembered, of all together: of more, the oldest
    /// of those that are most, by who packed it, receiver, inbox, and whether its content is kept
    /// here. One that was [recalled](Self::recall) is not; of all others, `None`.
    pub async fn withdrawn(self, id: TransferId) -> Result<Option<OutboxEntry>, OutboxError> {
        self.actor()?.send(FindWithdrawn(id)).await.map_err(|_| OutboxError::None)
    }

    /// The ids of all deliveries that [`withdrawn`](Self::withdrawn) tells of, in no order.
    pub async fn all_withdrawn(self) -> Result<Vec<TransferId>, OutboxError> {
        self.actor()?.send(ListWithdrawn).await.map_err(|_| OutboxError::None)
    }

    /// The handle of a delivery in the outbox, whichever process stored it.
    pub async fn transfer(self, id: TransferId) -> Result<TransferHandle, OutboxError> {
        let state = self.actor()?.send(Find(id)).await.map_err(|_| OutboxError::None)?;
        Ok(TransferHandle { state: state.ok_or(OutboxError::Unknown(id))?, node: self.0.clone() })
    }

    /// Tries a delivery of the outbox now; a dead letter comes to life again. Tells the id it has
    /// from then on: one that has expired becomes another delivery. One of which nobody knows
    /// whether it was delivered before it expired
    /// ([`FailureKind::Unknown`](crate::FailureKind::Unknown)) is refused: its receiver may have
    /// forgotten it, and would take it twice.
    pub async fn retry(self, id: TransferId) -> Result<TransferId, OutboxError> {
        self.order(id, OrderKind::Retry).await.map(|done| done.id)
    }

    /// Tells that a dead letter has [failed](crate::TransferNews::Failed) that was told as put off,
    /// as its host tries it no more ([`tries_again`](super::super::NodeBuilder::tries_again)).
    pub async fn give_up(self, id: TransferId) -> Result<(), OutboxError> {
        self.actor()?.send(outbox::GiveUp(id)).await.map_err(|_| OutboxError::None)?
    }

    /// Takes a delivery out of the outbox that is still to be delivered, and tells what is known of
    /// it then. Where all of it was sent already, this waits for the receiver's
    /// word, for 8 s at most. One that the receiver has, or that is with a relay, which may still
    /// deliver it, stays, and the error is [`OutboxError::Unfit`].
    pub async fn withdraw(self, id: TransferId) -> Result<TakenOut, OutboxError> {
        self.order(id, OrderKind::Cancel).await.map(|done| done.out)
    }

    /// Takes a delivery out of the outbox as long as nobody else can have it: it is with no relay,
    /// no try offers it, and none has sent all of it without being refused. One that an earlier
    /// process tried may have been sent. Otherwise it stays, and the error is
    /// [`OutboxError::Unfit`].
    pub async fn recall(self, id: TransferId) -> Result<(), OutboxError> {
        self.order(id, OrderKind::Recall).await.map(drop)
    }

    /// Forgets a delivery of the outbox that is over, a dead letter too.
    pub async fn forget(self, id: TransferId) -> Result<(), OutboxError> {
        self.order(id, OrderKind::Drop).await.map(drop)
    }

    async fn order(self, id: TransferId, what: OrderKind) -> Result<Done, OutboxError> {
        self.actor()?.send(outbox::Order { id, what }).await.map_err(|_| OutboxError::None)?
    }

    fn actor(self) -> Result<&'a Addr<Outbox>, OutboxError> {
        self.0.0.outbox.as_ref().ok_or(OutboxError::None)
    }
}
