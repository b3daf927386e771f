//! News of deliveries that come in.
//!
//! Invariant: of a package for this node it is told what is in it, under the id that its sender gave
//! that, whoever carries it; so nothing is told before it is known, and what was begun so ends so.

use super::Session;
use super::incoming::IncomingTransfer;
use crate::delivery::receiving::Offer;
use crate::delivery::{ContentKind, TransferId};
use crate::node::codecs::codec_of;
use crate::node::events::{Direction, NodeEvent, TransferEvent, TransferNews};
use crate::wire::{Opening, PeerId};

impl IncomingTransfer {
    /// Whose delivery it is, and which, as far as that was told.
    fn told_as(&self, carrier: PeerId) -> (PeerId, TransferId) {
        match self.within.get().filter(|_| !self.untold) {
            Some(inner) => (inner.sender, inner.transfer),
            None => (carrier, self.id()),
        }
    }
}

/// Returns `true` if it is a package for this node, as its offer says.
fn is_for(own: PeerId, opening: &Opening) -> bool {
    opening.content.kind == ContentKind::Package
        && opening.inbox.parse::<PeerId>().is_ok_and(|addressee| addressee == own)
}

/// That it has begun, if that is to be told and known by now.
fn begun(known: &mut IncomingTransfer, rest: &Opening, own: PeerId) -> Option<TransferNews> {
    let inner = known.within.get();
    if !known.untold || (inner.is_none() && is_for(own, rest)) {
        return None;
    }
    let (content, inbox, suite, stages) = match inner {
        Some(inner) => (&inner.content, &inner.inbox, inner.suite, &inner.stages),
        None => (&rest.content, &rest.inbox, rest.suite, &rest.stages),
    };
    let (content, inbox, codec) = (content.clone(), inbox.clone(), codec_of(stages));
    known.untold = false;
    Some(TransferNews::Started { content, inbox, suite, codec })
}

impl Session {
    /// A delivery begins: told at once or, of a package, as soon as it is known what is in it.
    pub(super) fn begin_telling(&mut self, stream: u64) {
        if let Some(known) = self.incoming.get_mut(&stream) {
            known.untold = true;
        }
        self.tell_begun(stream);
    }

    pub(super) fn tell_begun(&mut self, stream: u64) {
        let Some(offer) = self.receiving.offer(stream) else { return };
        let Some(known) = self.incoming.get_mut(&stream) else { return };
        let (transfer, news) = (offer.transfer, begun(known, &offer.rest, self.shared.peer()));
        if let Some(news) = news {
            self.tell_incoming(stream, transfer, news);
        }
    }

    /// The same, of one that has come whole.
    pub(super) fn tell_begun_of(&mut self, offer: &Offer<Box<Opening>>) {
        let Some(known) = self.incoming.get_mut(&offer.stream) else { return };
        if let Some(news) = begun(known, &offer.rest, self.shared.peer()) {
            self.tell_incoming(offer.stream, offer.transfer, news);
        }
    }

    /// Tells news of a delivery that comes in as this transfer.
    pub(super) fn tell_incoming(&self, stream: u64, transfer: TransferId, news: TransferNews) {
        let known = self.incoming.get(&stream);
        let (peer, transfer) =
            known.map_or((self.peer, transfer), |known| known.told_as(self.peer));
        self.shared.emit(NodeEvent::Transfer(TransferEvent {
            transfer,
            peer,
            direction: Direction::Incoming,
            news,
        }));
    }

    pub(super) fn incoming_progress(&mut self) {
        let mut streams: Vec<_> = self.incoming.keys().copied().collect();
        streams.retain(|stream| self.receiving.is_admitted(*stream));
        for stream in streams {
            self.tell_begun(stream);
            let Some(known) = self.incoming.get(&stream).filter(|known| !known.untold) else {
                continue;
            };
            let total = self.receiving.offer(stream).and_then(|offer| offer.rest.content.length);
            let (id, bytes) = (known.id(), known.transfer.done_bytes());
            if known.told.max(1) <= bytes {
                self.tell_incoming(stream, id, TransferNews::Progress { bytes, total });
            }
        }
    }
}
