//! Preamble, handshake, frames, control messages, link state; identity and PeerId.
//!
//! Sans-I/O: nothing here opens, sleeps, spawns or reads a clock.
mod peer_id;
pub use peer_id::PeerId;
