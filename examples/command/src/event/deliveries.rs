//! Events of a delivery: that it is stored, and that it has arrived.

use estafette::TransferId;
use estafette::node::OutboxEntry;
use serde::{Deserialize, Serialize};

/// A delivery that the receiver has verified and made durable.
#[derive(Debug, Serialize)]
pub(crate) struct Delivered {
    pub(crate) transfer: String,
    pub(crate) direction: &'static str,
    /// `None` where only its receiver knows it, as of the name.
    pub(crate) inbox: Option<String>,
    pub(crate) name: Option<String>,
    /// The receiver had it from an earlier delivery: nothing was sent.
    pub(crate) already_there: bool,
    /// The suite that sealed its chunks; `None` if nothing was sent, or an earlier process began.
    pub(crate) suite: Option<String>,
    /// The codec that made them smaller; `None` if none did.
    pub(crate) codec: Option<String>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) blake3: String,
    pub(crate) peer: String,
    /// The name of the peer here, if it has one.
    pub(crate) peer_name: Option<String>,
    /// The beginning of its id.
    pub(crate) fingerprint: String,
    pub(crate) place: String,
}

/// A delivery that is in the outbox, durably.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) transfer: String,
    /// All of its id.
    pub(crate) id: String,
    pub(crate) peer: String,
    pub(crate) inbox: String,
    pub(crate) name: String,
    pub(crate) bytes: Option<u64>,
    /// Seconds since the Unix epoch.
    pub(crate) expires: u64,
    /// Set if the content was copied into the spool; else it is to be read where it lies.
    pub(crate) copied: bool,
}

impl Stored {
    pub(crate) fn new(id: TransferId, entry: OutboxEntry) -> Self {
        let copied = entry.file().is_some();
        let OutboxEntry { peer, inbox, name, length, expires, .. } = entry;
        Self {
            transfer: id.short(),
            id: id.to_string(),
            peer: peer.to_string(),
            inbox,
            name,
            bytes: length,
            expires,
            copied,
        }
    }
}

/// A delivery that the receiver takes when there is room.
#[derive(Debug, Serialize)]
pub(crate) struct Waiting {
    pub(crate) transfer: String,
    pub(crate) peer: String,
    /// Deliveries of this node that take the room.
    pub(crate) running: u32,
}

/// The work that a node of a topology still has to do.
#[derive(Debug, Serialize)]
pub(crate) struct StillToDo {
    pub(crate) open: u64,
    pub(crate) dead: u64,
    pub(crate) activity: u64,
    pub(crate) unread: u64,
    pub(crate) held: u64,
}
