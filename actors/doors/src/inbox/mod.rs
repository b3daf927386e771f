//! Arrivals in an inbox of the node itself: those that it remembers, and their content.
//!
//! Invariant: content is given out only as far as it is what arrived: whatever lies there now was
//! compared with the digest of the arrival, and has not changed since, as far as its times tell.

mod content;
#[cfg(feature = "http")]
mod range;
mod taken;

use data_encoding::BASE64URL_NOPAD;
use estafette::node::{Arrival, Processed};
use estafette::{Node, PeerId, TransferId};

pub(crate) use self::content::{Content, ContentError, Contents, PIECE};
#[cfg(feature = "http")]
pub(crate) use self::range::{Asked, Conditions, asked};
pub(crate) use self::taken::Taking;
use crate::room::Held;
use crate::tokens::Pass;

/// A delivery that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) peer: PeerId,
    pub(crate) id: TransferId,
    pub(crate) arrival: Arrival,
}

/// The reason why there is not one delivery of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOne {
    None,
    /// Several senders have used the id.
    Several,
}

/// The place of a delivery in a list, the newest first.
pub(crate) type Place = (u64, PeerId, TransferId);

impl Arrived {
    fn of((peer, id, arrival): (PeerId, TransferId, Arrival)) -> Self {
        Self { peer, id, arrival }
    }

    pub(crate) const fn place(&self) -> Place {
        (self.arrival.at, self.peer, self.id)
    }
}

/// The words where there is none.
pub(crate) const NO_SUCH_ARRIVAL: &str =
    "nothing of this id arrived in this inbox that is remembered: its time may be over";

/// The words for who may not read an inbox.
pub(crate) fn may_not_read(pass: &Pass, inbox: &str) -> String {
    format!(
        "the token {:?} may not read the inbox {inbox:?}: it wants the right read:INBOX, of this \
         door, too",
        pass.name
    )
}

/// The words for who may not say that something in an inbox is processed.
pub(crate) fn may_not_end(pass: &Pass, inbox: &str) -> String {
    format!(
        "the token {:?} may not say that what arrived in the inbox {inbox:?} is processed: it wants \
         the right done:INBOX, of this door, too",
        pass.name
    )
}

/// A sender by its id, or by its name here.
pub(crate) fn sender(node: &Node, given: &str) -> Option<PeerId> {
    given.parse().ok().or_else(|| node.trust().named(given).map(|(id, _)| id))
}

/// Returns `true` if nobody has said yet that it is processed.
pub(crate) const fn is_open(arrival: &Arrival) -> bool {
    matches!(arrival.processed, Processed::No)
}

/// Notes that the application is done with one; `false` if it is not remembered any more. It goes
/// on without who asked, and keeps its place.
pub(crate) async fn note(node: &Node, found: &Arrived, place: Held) -> std::io::Result<bool> {
    let (node, peer, id) = (node.clone(), found.peer, found.id);
    let noted = tokio::spawn(async move {
        let noted = node.processed(peer, id).await;
        drop(place);
        noted
    });
    noted.await.map_err(std::io::Error::other).flatten()
}

/// The place of an arrival in the list, as a text that means nothing to a client.
pub(crate) fn cursor((at, peer, id): Place) -> String {
    let bytes = [&at.to_be_bytes()[..], peer.as_bytes(), id.as_bytes()].concat();
    BASE64URL_NOPAD.encode(&bytes)
}

/// The place that such a text means.
pub(crate) fn place_of(cursor: &str) -> Option<Place> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
    let (at, rest) = bytes.split_first_chunk()?;
    let (peer, id) = rest.split_first_chunk()?;
    let id = TransferId::from_bytes(id.try_into().ok()?);
    Some((u64::from_be_bytes(*at), PeerId::from_bytes(*peer), id))
}

/// The delivery of this id to an inbox, by this sender if one is said.
pub(crate) fn find(
    node: &Node,
    inbox: &str,
    id: TransferId,
    from: Option<PeerId>,
) -> Result<Arrived, NotOne> {
    if let Some(peer) = from {
        let arrival = node.arrival(peer, id).filter(|arrival| arrival.inbox == inbox);
        return arrival.map(|arrival| Arrived { peer, id, arrival }).ok_or(NotOne::None);
    }
    let mut found = node.arrivals_where(2, |_, own, arrival| own == id && arrival.inbox == inbox);
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(NotOne::None),
        (Some(one), true) => Ok(Arrived::of(one)),
        (Some(_), false) => Err(NotOne::Several),
    }
}

/// So many of those that arrived in an inbox and are wanted, the newest first, behind a place.
pub(crate) fn page(
    node: &Node,
    inbox: &str,
    behind: Option<Place>,
    most: usize,
    wanted: impl Fn(&Arrival) -> bool,
) -> Vec<Arrived> {
    let order = |(at, peer, id): Place| (std::cmp::Reverse(at), peer, id);
    let behind = behind.map(order);
    let found = node.arrivals_where(most, |peer, id, arrival| {
        let is_behind = behind.is_none_or(|behind| order((arrival.at, peer, id)) > behind);
        is_behind && arrival.inbox == inbox && wanted(arrival)
    });
    found.into_iter().map(Arrived::of).collect()
}
