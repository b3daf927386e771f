//! The TCP bridge: how lanes cross a network.

mod tcp;

pub use tcp::Tcp;
