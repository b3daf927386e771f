//! The state of deliveries: transfers, attempts, windows, acknowledgements, receipts.
//!
//! Sans-I/O: nothing here opens, sleeps, spawns or reads a clock. The driving contract of each
//! state stands beside it.

pub(crate) mod cancelled;
mod digest;
mod incoming;
mod ranges;
pub(crate) mod receiving;
pub(crate) mod sending;
mod trailer;

pub use crate::wire::{
    Attributes, Content, ContentKind, ContentName, EpochKey, Failure, FailureKind, KeyScope,
    NameError, Receipt, TransferId, TransferIdError, TransferKey,
};
pub use digest::{DigestFold, Subtree};
pub use incoming::{Claim, Incoming, Repair};
pub(crate) use ranges::RangeSet;
pub use trailer::{Trailer, TrailerError};

/// The longest that anything is worth delivering.
pub(crate) const EXPIRY_MOST: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

#[cfg(test)]
mod model_tests;
