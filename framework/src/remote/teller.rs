//! The peer that told something, and under which number.

use std::sync::Arc;

use super::error::RemoteError;
use super::exchange::Exchange;
use crate::wire::message::Item;

/// The sender of a message, and its number: where to say that it could not be read.
#[derive(Clone)]
pub(crate) struct Teller {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) epoch: u64,
    pub(crate) target: u32,
}

impl Teller {
    /// Returns `true` if both are the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.target == other.target
            && self.epoch == other.epoch
            && Arc::ptr_eq(&self.exchange, &other.exchange)
    }

    /// Tells the peer that messages did not reach their actor.
    pub(in crate::remote) fn undelivered(&self, count: u64, error: &RemoteError) {
        let (code, text) = (error.kind.code(), self.exchange.words(error));
        self.exchange.say(
            self.epoch,
            &Item::Undelivered { target: self.target, count, code, text },
            text.len(),
        );
    }
}
