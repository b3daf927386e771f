//! Bridges: how lanes cross a network, or the border of a process.

mod address;
mod tcp;
mod unix;

pub use address::{AddressError, check_address};
pub use tcp::Tcp;
pub use unix::Unix;
