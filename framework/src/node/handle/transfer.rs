//! The handle of whoever sent a delivery.

use std::sync::Arc;

use super::Node;
use crate::delivery::{Failure, Receipt, TransferId};
use crate::node::events::EventStream;
use crate::node::transfer::{TransferState, TransferStatus};
use crate::wire::PeerId;

/// A delivery under way. Dropping it leaves the delivery as it is.
#[derive(Clone, Debug)]
pub struct TransferHandle {
    pub(super) state: Arc<TransferState>,
    pub(super) node: Node,
}

impl TransferHandle {
    /// Its id.
    pub fn id(&self) -> TransferId {
        self.state.id
    }

    /// Returns the peer to which it goes.
    pub fn peer(&self) -> PeerId {
        self.state.peer
    }

    /// Returns the status of the transfer.
    pub fn status(&self) -> TransferStatus {
        self.state.status.borrow().clone()
    }

    /// Waits until the receiver has verified and committed it, or it has failed at both ends.
    pub async fn delivered(&self) -> Result<Receipt, Failure> {
        self.state.outcome().await
    }

    /// Waits until the receiving application has said that it is done with it
    /// ([`Node::processed`]), or it has failed. For deliveries in the outbox only: others fail
    /// at once, since nobody would remember to wait.
    pub async fn processed(&self) -> Result<Receipt, Failure> {
        if !self.status().stored {
            let text = "the delivery is not in an outbox, so nobody keeps what would prove that \
                        it was processed";
            return Err(Failure::new(crate::delivery::FailureKind::Refused, text));
        }
        let mut status = self.state.status.subscribe();
        let over =
            |status: &TransferStatus| status.processed || matches!(status.outcome, Some(Err(_)));
        // The sender of the channel is held by this handle.
        let _ = status.wait_for(over).await;
        self.delivered().await
    }

    /// Returns the events of the transfer from now on.
    pub fn events(&self) -> EventStream {
        EventStream { only: Some(self.state.id), ..self.node.events() }
    }

    /// Gives it up, at both ends.
    pub fn cancel(&self) {
        self.node.cancel(self.id());
    }

    /// Pauses it.
    pub fn pause(&self) {
        self.node.pause(self.id());
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.node.resume(self.id());
    }
}
