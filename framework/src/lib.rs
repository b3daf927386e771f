//! An actor-based runtime for delivering content between programs: cut into chunks, compressed,
//! encrypted end to end, sent and put together again by actors with mailboxes, each of which can be
//! watched, replaced, or joined by your own.
//!
//! ```text
//!  sender node                                                                receiver node
//!  Source → Chunker → Compressor → Sealer ─┐                        ┌─ Opener → Decompressor → Assembler → Sink
//!                                          ▼                        ▲
//!                                     TCP bridge  ═══ network ═══  TCP bridge
//!                                          ▲                        ▲
//!             NodeSupervisor (wires, watches, restarts) — one on each node — NodeSupervisor
//! ```
//!
//! # Layout
//! The floors of the house, top to bottom; each uses only those below it.
//! - [`node`]: what a host embeds
//! - [`remote`]: typed messages to actors on other nodes, and the names of what a node offers
//! - [`supervise`]: what runs, and what happens when it dies
//! - [`pipeline`]: what flows, and what it flows through
//! - [`delivery`]: what was sent and what has arrived; sans-I/O
//! - [`wire`]: preamble, handshake, frames, control messages, identities, tickets; sans-I/O
//! - `testing` (feature `test-util`): a network in memory with faults from a seed
//!
//! # Two ways to use it
//! - **Content**: [`Node::send`] and [`Node::receive`] deliver files, folders, bytes and streams,
//!   once.
//! - **Messages**: [`Node::host`] or [`Node::register`] gives an actor a name, [`Node::remote`] is
//!   its handle on another node; a serde type with `#[derive(RemoteMessage)]` can be told or asked,
//!   if it reads all that it writes in the same order: not with `skip_serializing_if`, `flatten`,
//!   `untagged` or `tag`, nor nested more than 128 deep ([`RemoteMessage`] says more). See
//!   [`remote`], and `docs/messages.md` for promises, errors and traps.
//!
//! The standard actors are in the crate `estafette-actors`.
//!
//! # A first program
#![cfg_attr(not(doctest), doc = include_str!("../docs/first-program.md"))]

#[cfg(not(unix))]
compile_error!(
    "estafette runs on Unix only: its folders, its spool and its control socket are made of what \
     Unix has"
);

pub mod delivery;
pub mod metrics;
pub mod node;
pub mod pipeline;
pub mod prelude;
pub mod remote;
pub mod store;
pub mod supervise;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod wire;

/// What derived code names.
#[doc(hidden)]
pub mod __private {
    pub use actix;

    /// `json` in a derive; without the feature it is not there.
    #[cfg(feature = "json")]
    pub const fn needs_the_feature_json() -> bool {
        true
    }
}

pub use delivery::{Failure, FailureKind, Receipt, TransferId};
pub use node::{
    Destination, Node, NodeBuilder, NodeConfig, NodeEvent, SendOptions, TransferHandle,
    TransferNews, TrustedPeer,
};
pub use remote::{Remote, RemoteError, RemoteErrorKind, RemoteMessage};
pub use wire::{Identity, PeerId, Ticket};
