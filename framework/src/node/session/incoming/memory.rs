//! The memory of a peer, as deliveries ask it.

use super::super::lock;
use crate::delivery::receiving::Memory;
use crate::delivery::{Failure, TransferId};
use crate::node::shared::NodeShared;
use crate::wire::PeerId;

/// The node's memory of a peer.
pub(super) struct Remembered<'a>(pub(super) &'a NodeShared, pub(super) PeerId);

impl Memory for Remembered<'_> {
    fn is_delivered(&mut self, transfer: TransferId) -> bool {
        self.0.remembered.arrival(self.1, transfer).is_some()
    }

    fn given_up(&mut self, transfer: TransferId, attempt: u32) -> Option<Failure> {
        lock(&self.0.given_up).answer((self.1, transfer), attempt)
    }
}
