//! The TCP bridge: how lanes cross a network.

mod address;
mod tcp;

pub use address::{AddressError, check_address};
pub use tcp::Tcp;
