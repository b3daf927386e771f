//! What was sent and what has arrived: transfers, attempts, windows, acknowledgements, receipts.
//!
//! Sans-I/O: nothing here opens, sleeps, spawns or reads a clock. The driving contract of each state stands beside it.

pub(crate) mod cancelled;
mod content;
mod digest;
mod id;
mod incoming;
mod keys;
mod ranges;
pub(crate) mod receiving;
pub(crate) mod sending;
mod trailer;

pub use crate::wire::{Failure, FailureKind, Receipt};
pub use content::{Content, ContentKind, ContentName, NameError};
pub use digest::{DigestFold, Subtree};
pub use id::{TransferId, TransferIdError};
pub use incoming::{Claim, Incoming, Repair};
pub use keys::{EpochKey, KeyScope, TransferKey};
pub use ranges::RangeSet;
pub use trailer::{Trailer, TrailerError};

#[cfg(test)]
mod model_tests;
