//! The state that the doors of one node have together, whichever protocol they speak: room for contents, of
//! which a token has its share once, and what is known of contents.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use estafette::{Node, PeerId};

use crate::inbox::Contents;
use crate::room::{Held, Room};
use crate::sent::Sent;

/// The most streams at once, of answers by HTTP, and of states; a quarter of them by one token.
const STREAMS: usize = 16_384;
/// The most contents that are being sent at once, each of which has a thread that seals it; a
/// quarter of them by one token.
const UPLOADS: usize = 32;
/// The most contents of inboxes that are being read at once, each of which holds a piece of 64
/// KiB; a quarter of them by one token.
const READERS: usize = 256;
/// The most of them that are compared with their digests at once; a quarter of them by one token.
const COMPARED: usize = 8;
/// The most arrivals that are being noted as processed at once; a quarter of them by one token.
const NOTED: usize = 32;
/// The most watches of nodes and actors at once; a quarter of them by one token.
#[cfg(feature = "grpc")]
const WATCHES: usize = 1_024;
/// The most lists of the outbox that are made at once, each of which looks at all of it; a quarter
/// of them by one token.
#[cfg(feature = "grpc")]
const LISTED: usize = 8;

/// The most calls with streams at one peer by one token: three quarters of those that the peer
/// takes of this node.
const CALLS: usize = 96;

/// The doors of all nodes of this process.
static ALL: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

#[derive(Debug)]
pub(crate) struct Shared {
    node: Node,
    pub(crate) streams: Arc<Room>,
    pub(crate) uploads: Arc<Room>,
    pub(crate) readers: Arc<Room>,
    pub(crate) compared: Arc<Room>,
    pub(crate) noted: Arc<Room>,
    #[cfg(feature = "grpc")]
    pub(crate) watches: Arc<Room>,
    #[cfg(feature = "grpc")]
    pub(crate) listed: Arc<Room>,
    pub(crate) contents: Contents,
    pub(crate) sent: Sent,
    /// The calls with streams that are under way, by peer.
    calls: Mutex<HashMap<PeerId, Arc<Room>>>,
}

impl Shared {
    /// The share of all doors of this node.
    pub(crate) fn of(node: &Node) -> Arc<Self> {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|shared| shared.strong_count() > 0);
        // What a node has once tells whether it is the same one.
        let is_of_it = |known: &Arc<Self>| std::ptr::eq(known.node.trust(), node.trust());
        let known = all.iter().filter_map(Weak::upgrade).find(is_of_it);
        known.unwrap_or_else(|| {
            let shared = Arc::new(Self {
                node: node.clone(),
                streams: Room::of(STREAMS),
                uploads: Room::of(UPLOADS),
                readers: Room::of(READERS),
                compared: Room::of(COMPARED),
                noted: Room::of(NOTED),
                #[cfg(feature = "grpc")]
                watches: Room::of(WATCHES),
                #[cfg(feature = "grpc")]
                listed: Room::of(LISTED),
                contents: Contents::default(),
                sent: Sent::default(),
                calls: Mutex::default(),
            });
            all.push(Arc::downgrade(&shared));
            shared
        })
    }

    /// The place of one more call with streams at this peer; `None` if the token has its share of
    /// them. That all have too many, the peer's link knows.
    pub(crate) fn call(&self, peer: PeerId, token: &str) -> Option<Held> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.retain(|_, room| Arc::strong_count(room) > 1);
        calls.entry(peer).or_insert_with(|| Room::shared(usize::MAX, CALLS)).take(token, 1)
    }
}
