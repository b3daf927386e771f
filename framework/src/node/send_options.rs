//! The options of one transfer.

use super::pace::Pace;
use crate::delivery::TransferId;
use crate::pipeline::{Compression, Priority};
use crate::wire::PeerId;

/// The options of one transfer. An option that is `None` is as the node's configuration says.
#[derive(Clone, Debug, Default)]
pub struct SendOptions {
    /// Bytes per chunk, a power of two from 1 KiB to 4 MiB.
    pub chunk_size: Option<u32>,
    /// The codec for chunks. A receiver that does not have it refuses the delivery.
    pub compression: Option<Compression>,
    /// Names of registered coders that every chunk passes, in this order. The receiver must know
    /// them, too.
    pub stages: Vec<String>,
    /// A relay that keeps it until the receiver comes: a peer that is trusted here and there. It
    /// can neither read nor change it. Needs a spool that has a folder, which keeps the
    /// package, and so a copy of the content.
    pub via: Option<PeerId>,
    /// The time for which it is worth delivering, from 1 s to 30 days.
    pub expiry: Option<std::time::Duration>,
    /// Does not keep it in the spool, even if the node has one: it is lost with the process, and
    /// fails when the receiver can't be reached.
    pub transient: bool,
    /// Keeps a copy of the content in the spool instead of a reference to where it lies, so that
    /// it may change or go once [`Node::send`](crate::Node::send) has returned. It is sealed
    /// for this node alone, and sent while it is made. Needs a spool that has a folder.
    pub copy: bool,
    /// The id of the transfer, where its sender has noted it beforehand: a program that dies while
    /// it sends finds out later, by [`OutboxHandle::entry`](crate::OutboxHandle::entry), whether
    /// it was stored. It must be [random](TransferId::random), and never that of other content:
    /// an id that the outbox has is refused, one that it has forgotten is not, nor is that of a
    /// delivery that is not stored. Default: a random one.
    pub id: Option<TransferId>,
    /// The rate that it keeps to, together with others of its group; also after a restart. Default:
    /// as fast as it goes.
    pub pace: Option<Pace>,
    /// The priority: who goes first where this node's room, its tries and places among its stages
    /// are scarce; also after a restart. Default: [`Priority::Normal`].
    pub priority: Priority,
}
