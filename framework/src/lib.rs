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
//! - [`store`]: what is durable, and time
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
//! # Words
//! - **Node**: one process that delivers and receives, named by its key. A **peer** is another
//!   node.
//! - **Trust**: the peers that a node lets in, and the inboxes that each may deliver to. A
//!   **ticket** is a text that adds its holder to it, once or several times.
//! - **Inbox**: a name that deliveries go to. A **sink** takes the content of one delivery; a
//!   **source** gives it.
//! - **Delivery**: content on its way from a source to an inbox, over links, restarts and days. It
//!   is **stored** when its sender's disk has it, **delivered** when it is in effect at the
//!   receiver, **processed** when the receiver's program says so, and **dead** when nobody tries
//!   any more. A **transfer** is the handle of one; an **attempt** is one sealing of it, under a
//!   key of its own. The **receipt** is the receiver's word that it is delivered.
//! - **Outbox**: the stored deliveries of a node. The **spool** is the folder on its disk that
//!   holds them, and all else that outlives the process, in **records**. A **copy** in it takes the
//!   place of a source. A receiver's **note** in it says how far a delivery has come, and before a
//!   rename, as an **intent**, what is about to be made visible.
//! - **Package**: content sealed for a receiver in one file. A **relay** is a node that keeps
//!   packages for others, and can't open them.
//! - **Link**: all connections of two nodes. The **express lane** carries control messages and
//!   messages of actors; **bulk lanes** carry chunks. A **session** is what a node knows of a peer,
//!   link or no link. A **feature** is what both ends of a link have announced. A **transport**
//!   makes connections; the **scheme** of an address says which one.
//! - **Chunk**: a piece of content. A **stage** is an actor that chunks pass; a **transform** is
//!   the function in it; a **coder** is a pair of transforms with a name; a **codec** compresses; a
//!   **suite** seals.
//! - **Credit**: what may be on its way before something comes back, in bytes. A chunk carries its
//!   own, in its **custody**.
//! - **Letter**: a message to an actor that is stored until it is handled.
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
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
pub mod wire;

/// The names that derived code refers to.
#[doc(hidden)]
pub mod __private {
    pub use actix;
    pub use serde;

    pub use crate::remote::{pack, unpack};

    /// `json` in a derive; without the feature it is not there.
    #[cfg(feature = "json")]
    pub const fn needs_the_feature_json() -> bool {
        true
    }

    /// `schema` in a derive; without the feature it is not there.
    #[cfg(feature = "schema")]
    pub fn needs_the_feature_schema<M, R>() -> crate::remote::Schemas
    where
        M: schemars::JsonSchema,
        R: schemars::JsonSchema,
    {
        let text = |schema: schemars::Schema| schema.as_value().to_string();
        crate::remote::Schemas {
            message: text(schemars::schema_for!(M)),
            answer: text(schemars::schema_for!(R)),
        }
    }
}

pub use delivery::{Failure, FailureKind, Receipt, TransferId};
pub use node::{
    Destination, LettersHandle, Node, NodeBuilder, NodeConfig, NodeEvent, OutboxHandle,
    RelayHandle, SendOptions, TransferHandle, TransferNews, TrustedPeer,
};
pub use remote::{Remote, RemoteError, RemoteErrorKind, RemoteMessage};
pub use wire::{Identity, PeerId, Ticket};
