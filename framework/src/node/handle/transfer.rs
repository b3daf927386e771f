//! The handle of whoever sent a delivery.

use std::sync::Arc;

use super::Node;
use crate::delivery::{Failure, FailureKind, Receipt, TransferId};
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
    /// ([`Node::processed`]), or it has failed, or the outbox has forgotten it
    /// ([`FailureKind::Expired`]) or stops ([`FailureKind::Shutdown`]), so that this will not
    /// become known here. For deliveries in the outbox only: others fail at once, since nobody
    /// would remember to wait.
    pub async fn processed(&self) -> Result<Receipt, Failure> {
        if !self.status().stored {
            let text = "the delivery is not in an outbox, so nobody keeps what would prove that \
                        it was processed";
            return Err(Failure::new(FailureKind::Refused, text));
        }
        let mut status = self.state.status.subscribe();
        let mut stopped = self.node.0.stopped.clone();
        let over = |status: &TransferStatus| {
            status.processed || status.forgotten || matches!(status.outcome, Some(Err(_)))
        };
        tokio::select! {
            biased;
            // The sender of the channel is held by this handle.
            _ = status.wait_for(over) => {}
            _ = stopped.wait_for(|stopped| *stopped) => {
                let text = "the node stopped; a receipt that comes later is noted when it is \
                            started again";
                return Err(Failure::new(FailureKind::Shutdown, text));
            }
        }
        let TransferStatus { processed, forgotten, .. } = self.status();
        match self.delivered().await {
            Ok(_) if forgotten && !processed => {
                let text = "it was delivered, and the outbox has forgotten it, since its time is \
                            over or somebody said so: whether its receiver's application is done \
                            with it will not be known here";
                Err(Failure::new(FailureKind::Expired, text))
            }
            outcome => outcome,
        }
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
