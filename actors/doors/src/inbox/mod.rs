//! Arrivals in an inbox of the node itself: those that it remembers, and their content.
//!
//! Invariant: content is given out only as far as it is what arrived: whatever lies there now was
//! compared with the digest of the arrival, and has not changed since, as far as its times tell.

mod content;
mod range;

use estafette::node::Arrival;
use estafette::{Node, PeerId, TransferId};

pub(crate) use self::content::{Content, ContentError, Contents, PIECE};
pub(crate) use self::range::{Asked, Conditions, asked};

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
