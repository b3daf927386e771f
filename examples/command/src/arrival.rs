//! A delivery that was made here, as it is shown.

use estafette::{Node, PeerId, TransferId};
use serde::{Deserialize, Serialize};

use crate::entry::hex_digest;

/// All times are in seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Arrival {
    /// The beginning of its id, as everywhere.
    pub(crate) transfer: String,
    /// All of its id.
    pub(crate) id: String,
    pub(crate) peer: String,
    /// The name of the peer here.
    pub(crate) peer_name: Option<String>,
    pub(crate) inbox: String,
    pub(crate) name: String,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) blake3: String,
    /// The place in which it lies.
    pub(crate) place: String,
    pub(crate) at: u64,
    /// The time when it may be forgotten.
    pub(crate) expires: u64,
}

impl Arrival {
    pub(crate) fn new(
        node: &Node,
        peer: PeerId,
        id: TransferId,
        arrival: estafette::node::Arrival,
    ) -> Self {
        Self {
            transfer: id.short(),
            id: id.to_string(),
            peer: peer.to_string(),
            peer_name: node.trust().peer(&peer).map(|peer| peer.name),
            inbox: arrival.inbox,
            name: arrival.name,
            files: arrival.receipt.files,
            bytes: arrival.receipt.length,
            blake3: hex_digest(&arrival.receipt),
            place: arrival.receipt.place,
            at: arrival.at,
            expires: arrival.expires,
        }
    }
}
