//! For tests: a network in memory whose faults are drawn from a seed, and two nodes that trust each
//! other on it.
//!
//! ```text
//!  node ─ duplex ─┐                        ┌─ duplex ─ node
//!                 ▼                        ▲
//!            the wire: delays, flips, stalls and cuts, as its `Faults` say
//! ```
//! Invariant: what goes wrong on a connection is decided when it is dialled, by the seed and the
//! number of the connection alone, so that a failure can be had again.

#[cfg(test)]
pub(crate) mod exhaust;
mod network;
mod pair;
mod random;

pub use network::{Connecting, Faults, MemoryTransport, Network};
pub use pair::Pair;
pub use random::Random;
