//! Makes it durable that a delivery was committed, and says so.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use actix::{Context, Handler};

use super::Session;
use super::signals::{DeliveryRecorded, Inside};
use super::term::{LIFE_MOST, life_of};
use crate::delivery::receiving::{Event, Offer};
use crate::delivery::{ContentKind, Failure, FailureKind, KeyScope, Receipt, TransferId};
use crate::node::blocking::surely;
use crate::node::events::{Direction, NodeEvent, TransferEvent, TransferNews};
use crate::node::memory::{Arrival, RELAYED};
use crate::node::memos::{Memo, MemoKey};
use crate::node::package_sink::inner_key;
use crate::node::shared::NodeShared;
use crate::pipeline::{Committed, Enclosed, Journal};
use crate::store::now;
use crate::wire::{Control, Opening, PeerId};

impl Session {
    /// Makes it durable that a delivery was committed.
    pub(super) fn remember(&mut self, stream: u64) {
        let (Some(known), Some(offer)) =
            (self.incoming.get_mut(&stream), self.receiving.offer(stream))
        else {
            return;
        };
        let Some((summary, committed, processed)) = known.committed.take() else { return };
        let KeyScope { transfer, attempt, .. } = known.transfer.scope;
        let said = |word| known.transfer.key.receipt(transfer, attempt, word, &summary.digest);
        let (mac, processed_mac) = (said("delivered"), said("processed"));
        let Committed { place, files, enclosed, remarks, memo, path, .. } = committed;
        let receipt = Receipt { digest: summary.digest, length: summary.length, place, files, mac };
        let Opening { ref inbox, ref content, .. } = *offer.rest;
        let is_package = content.kind == ContentKind::Package;
        let memo = memo
            .filter(|_| !is_package)
            .map(|memo| MemoKey::new(self.peer, inbox, content).with(memo));
        // Of what is in a package it is told under the id that its sender gave it.
        let whose = enclosed
            .as_ref()
            .map_or((known.id(), self.peer), |enclosed| (enclosed.transfer, enclosed.sender));
        let (moment, life) = (self.shared.clock.now(), life_left(offer, enclosed.as_deref()));
        let arrival = Arrival {
            attempt,
            at: now(),
            expires: moment.certain + life,
            inbox: if is_package { RELAYED.to_owned() } else { inbox.clone() },
            name: content.name.to_string(),
            receipt,
            processed,
            processed_mac: processed_mac.into(),
            carried_by: None,
            packed_by: None,
            passes: Some(moment.passed + life),
            elsewhere: None,
            path,
        };
        let (peer, shared) = (self.peer, Arc::clone(&self.shared));
        let note = Note { shared, peer, transfer, arrival, enclosed, memo };
        let session = self.address.clone();
        self.remark(stream, is_package, whose, remarks);
        actix::spawn(async move {
            // Remembered before it is said: whatever becomes of the word, the delivery is not
            // repeated.
            let remembered = surely(move || note.write()).await;
            let outcome = remembered.map_err(std::io::Error::other).and_then(|outcome| outcome);
            session.do_send(DeliveryRecorded { stream, attempt, outcome });
        });
    }

    /// Says that a delivery was made, now that it is remembered.
    pub(super) fn deliver(&mut self, offer: &Offer<Box<Opening>>) {
        let (stream, transfer) = (offer.stream, offer.transfer);
        let kept = self.incoming.get_mut(&stream).and_then(|known| known.kept.take());
        if let Some((receipt, inside)) = kept {
            self.tell_begun_of(offer);
            let word = inside.as_ref().map(|inside| inside.receipt.clone());
            self.say(Control::Delivered { stream, receipt: receipt.clone(), enclosed: word });
            let is_package = offer.rest.content.kind == ContentKind::Package;
            let (peer, transfer, news) = match inside {
                // It came of who packed it, whoever carried it.
                Some(Inside { sender, transfer, receipt }) => {
                    (sender, transfer, TransferNews::Delivered { receipt })
                }
                None if is_package => {
                    (self.peer, transfer, TransferNews::Relayed { relay: self.shared.peer() })
                }
                None => (self.peer, transfer, TransferNews::Delivered { receipt }),
            };
            self.shared.emit(NodeEvent::Transfer(TransferEvent {
                transfer,
                peer,
                direction: Direction::Incoming,
                news,
            }));
        }
        self.take_out(stream);
        self.settle();
    }

    /// Says what is not as it was sent. Not who carried it: what is in a package is nothing to
    /// them.
    fn remark(
        &mut self,
        stream: u64,
        is_package: bool,
        (transfer, peer): (TransferId, PeerId),
        lines: Vec<String>,
    ) {
        if lines.is_empty() {
            return;
        }
        // What was small enough may not have been told of yet.
        self.tell_begun(stream);
        let ours: Vec<_> =
            lines.iter().filter(|line| !line.starts_with(Committed::SAID)).cloned().collect();
        if !is_package && !ours.is_empty() {
            self.say(Control::Remarks { stream, lines: ours });
        }
        let news = TransferNews::Remarks { lines };
        self.shared.emit(NodeEvent::Transfer(TransferEvent {
            transfer,
            peer,
            direction: Direction::Incoming,
            news,
        }));
    }
}

impl Handler<DeliveryRecorded> for Session {
    type Result = ();

    fn handle(
        &mut self,
        DeliveryRecorded { stream, attempt, outcome }: DeliveryRecorded,
        _: &mut Context<Self>,
    ) {
        let Some(known) =
            self.incoming.get_mut(&stream).filter(|known| known.transfer.scope.attempt == attempt)
        else {
            return;
        };
        let outcome = outcome.map(|kept| known.kept = Some(kept)).map_err(|error| {
            let text =
                format!("it was received, but the receiver's spool could not note that: {error}");
            Failure::new(FailureKind::Io, text)
        });
        self.receive(Event::Remembered(stream, outcome));
    }
}

/// The seconds for which a delivery may come again: as long as its sender said.
fn life_left(offer: &Offer<Box<Opening>>, enclosed: Option<&Enclosed>) -> u64 {
    // Who carries a package may say too little of how long it lives: who made it has said so, too.
    let inside = enclosed.map_or(0, |enclosed| enclosed.life.min(LIFE_MOST));
    let left = offer.deadline.saturating_duration_since(Instant::now()).as_secs();
    life_of(&offer.rest).max(left).max(inside)
}

/// A delivery that was committed, on its way to the memory.
struct Note {
    shared: Arc<NodeShared>,
    peer: PeerId,
    transfer: TransferId,
    arrival: Arrival,
    /// The delivery inside it, if it is a package for this node.
    enclosed: Option<Box<Enclosed>>,
    memo: Option<Memo>,
}

impl Note {
    /// Makes it durable; what its sender is told.
    fn write(self) -> io::Result<(Receipt, Option<Inside>)> {
        let Self { shared, peer, transfer, mut arrival, enclosed, memo } = self;
        let receipt = arrival.receipt.clone();
        let inside = enclosed.as_deref().map(|enclosed| Inside {
            sender: enclosed.sender,
            transfer: enclosed.transfer,
            receipt: enclosed.receipt.clone(),
        });
        if let Some(enclosed) = enclosed {
            let (sender, packed_as) = (enclosed.sender, enclosed.transfer);
            let inner = arrival_of(*enclosed, &arrival, (peer, transfer));
            if shared.remembered.arrival(sender, packed_as).is_none() {
                let journal = Journal::forget(inner_key(sender, packed_as));
                shared.remembered.remember_with(sender, packed_as, inner.clone(), vec![journal])?;
            }
            if sender == peer {
                return Ok((receipt, inside));
            }
            arrival = Arrival {
                carried_by: None,
                packed_by: Some(sender),
                elsewhere: Some(packed_as),
                ..inner
            };
        }
        let changes = memo.map(|memo| shared.memos.keep(memo)).unwrap_or_default();
        shared.remembered.remember_with(peer, transfer, arrival, changes)?;
        Ok((receipt, inside))
    }
}

/// A delivery that came in a package, as one of who packed it; and known by who carried it, who may
/// ask again.
fn arrival_of(
    enclosed: Enclosed,
    package: &Arrival,
    (carrier, transfer): (PeerId, TransferId),
) -> Arrival {
    let Enclosed { sender, receipt, processed_mac, inbox, name, .. } = enclosed;
    let (carried_by, elsewhere) = (sender != carrier).then_some((carrier, transfer)).unzip();
    Arrival {
        receipt,
        processed_mac: processed_mac.into(),
        inbox,
        name,
        carried_by,
        elsewhere,
        ..package.clone()
    }
}
