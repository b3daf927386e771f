//! The node: the part of the library that a host embeds.
//!
//! [`Node`] is the handle; behind it an actix system of its own runs the hub (who is connected), a
//! session per peer, lanes on worker threads, a thread at the door for handshakes, and one for the
//! disk of each running transfer.
#![cfg_attr(not(doctest), doc = include_str!("../../docs/node-example.md"))]

mod accept;
mod addresses;
mod arrival;
mod block_on;
mod builder;
mod codecs;
mod coming;
mod config;
mod copy;
mod dialling;
mod disk;
mod door;
mod door_counts;
mod doors;
#[cfg(test)]
mod earlier_tests;
mod events;
mod forget;
mod gate;
mod gather;
mod half_open;
mod handle;
#[cfg(feature = "test-util")]
mod held;
mod hosted;
mod hosting;
mod hub;
mod inspect;
mod invitation;
mod key_error;
mod key_file;
mod key_place;
#[cfg(feature = "schema")]
mod kind_schemas;
mod kinds;
mod lane;
mod letters;
mod link;
mod link_failure;
mod memory;
mod memos;
mod messages;
mod outbox;
mod pace;
mod package;
mod package_sink;
mod partials;
mod path_bytes;
mod race;
mod reading;
mod registry;
mod registry_error;
mod retried;
mod rooms;
mod send_options;
mod session;
mod sessions;
mod shared;
mod snapshot;
mod source_reader;
mod stages;
mod transfer;
mod transport;
mod trust;
mod turns;
pub mod units;
mod ways;
mod write_whole;

pub use crate::store::{Change, FileStore, Hold, MemoryStore, Store, start_thread};
pub(crate) use crate::store::{blocking, clock, lease, ledger};
pub use blocking::blocking;
pub use builder::{NodeBuilder, StartError};
pub use config::{ConfigError, NodeConfig, RelayQuota};
pub use copy::{Copied, Copies, CopyOrder, Copying, CopyingError};
pub use door_counts::{DoorCall, DoorCounts};
pub use doors::{Door, DoorPlace, OpenDoor};
pub use events::{Direction, EventStream, NodeEvent, TransferEvent, TransferNews};
pub use handle::{
    Destination, LettersHandle, Node, OutboxHandle, RelayHandle, SendError, TransferHandle,
};
#[cfg(feature = "test-util")]
pub use held::Held;
pub use hosting::HostError;
pub use inspect::Unreadable;
pub use key_error::KeyFileError;
#[cfg(feature = "schema")]
pub use kind_schemas::KindOf;
pub use kinds::{KindError, Prepared, PreparedFilter};
pub use memory::{Arrival, Processed};
pub use messages::Hosted;
pub use outbox::{OutboxEntry, OutboxError, OutboxState, TakenOut};
pub use pace::Pace;
pub use package::{
    OpenInbox, OpenedInbox, PackError, PackOrder, PackageOffer, PackageReport, Packages, Packed,
    UnpackOrder, Unpacked,
};
pub use registry::StageRegistry;
pub use registry_error::RegistryError;
pub use send_options::SendOptions;
pub use snapshot::{
    ActorSnapshot, Amount, DoorSnapshot, Happening, HappeningKind, LettersSnapshot, LinkSnapshot,
    LinkState, NodeSnapshot, OutboxSnapshot, RelaySnapshot, RoomSnapshot, Severity, Snapshot,
    SpoolSnapshot, StageSnapshot, Totals, TransferKind, TransferPhase, TransferSnapshot,
    WaySnapshot,
};
pub use stages::Stages;
pub use transfer::TransferStatus;
pub use transport::{Connection, Io, Listener, Streamed, Transport};
pub use trust::{
    NameError, NoSuchPeer, TicketId, TicketRecord, Trust, TrustError, TrustedPeer, check_node_name,
    suggested_name,
};
pub use ways::RelayWays;
