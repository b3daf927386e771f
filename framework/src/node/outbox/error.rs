//! Errors of storing a delivery, and of taking one out.

use std::io;

use crate::delivery::TransferId;
use crate::node::{CopyingError, PackError};

/// An error of an order to the outbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// It is full.
    #[error(
        "the outbox holds {limit} deliveries that are still to be delivered, which is all it may; \
         cancel some of them, or wait"
    )]
    Full {
        /// The limit.
        limit: usize,
    },
    /// Its packages and copies take all the room they may.
    #[error(
        "packages and copies of {used} bytes are in the outbox, and with this one they would pass \
         the {limit} they may take; cancel some, or wait"
    )]
    OverQuota {
        /// Bytes there are.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// There is a delivery of this id already: the same one, or another.
    #[error("the outbox has a delivery of this id already")]
    Known(bool),
    /// The content could not be put into a package.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The content could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyingError),
    /// Somebody took it out meanwhile.
    #[error("the delivery was taken out of the outbox before it was stored")]
    Withdrawn,
    /// The spool failed: nothing was stored.
    #[error("the delivery could not be stored: {0}")]
    Store(#[from] io::Error),
    /// There is no such delivery.
    #[error("there is no delivery {0} in the outbox")]
    Unknown(TransferId),
    /// It is being stored: whether it will be is not known yet.
    #[error("the delivery {0} is being stored at this moment")]
    Storing(TransferId),
    /// It is not in a state for that.
    #[error("the delivery {id} {why}")]
    Unfit {
        /// The id of the delivery.
        id: TransferId,
        /// The reason, and what to do.
        why: &'static str,
    },
    /// The node keeps no outbox, or has stopped.
    #[error("the node has no outbox: it was started without a spool, or has been shut down")]
    None,
}
