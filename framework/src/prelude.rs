//! The items that most programs need: `use estafette::prelude::*;`.
//!
//! Nothing in it has a name that `actix::prelude` exports, so both can be imported.

pub use crate::delivery::{Failure, FailureKind, Receipt, TransferId};
pub use crate::node::StageRegistry;
pub use crate::node::{
    Destination, Node, NodeConfig, NodeEvent, SendOptions, TransferHandle, TransferNews,
    TrustedPeer,
};
pub use crate::pipeline::{
    Chunk, Compressed, Inbox, Outlet, Parcel, Pipeline, Sealed, Sink, Source, Transform,
    TransformError,
};
pub use crate::remote::{
    Asked, Called, Presence, Remote, RemoteError, RemoteErrorKind, RemoteMessage, Replies, Reply,
    Requests,
};
pub use crate::wire::{Identity, PeerId, Ticket};
