//! What was sent and what has arrived: transfers, attempts, windows, acknowledgements, receipts.
//!
//! Sans-I/O: nothing here opens, sleeps, spawns or reads a clock.

mod content;
mod id;

pub use content::{Content, ContentKind, ContentName, NameError};
pub use id::TransferId;
