//! Gives a transfer from the peer its sink.
//!
//! Invariant: what was committed or is remembered is found out before a sink takes anything,
//! whatever ended meanwhile.

use std::sync::Arc;

use actix::{Addr, Recipient};
use tokio::sync::oneshot;

use super::signals::OpenedSink;
use super::term::journal_for;
use crate::delivery::receiving::NoSink;
use crate::delivery::{ContentKind, Failure, FailureKind, Incoming, TransferId};
use crate::node::disk::DiskThread;
use crate::node::outbox::Outbox;
use crate::node::package_sink::{PackageSink, Within};
use crate::node::rooms::{Room, window_for};
use crate::node::shared::NodeShared;
use crate::pipeline::{
    Assembled, AssemblerSeat, Offer, Progress, Refusal, Resumed, Sink, Transfer,
};
use crate::wire::{Opening, PeerId};

/// Asks the inbox for a sink. On the transfer's own thread.
pub(super) fn open_sink(
    shared: &Arc<NodeShared>,
    peer: PeerId,
    described: &Opening,
    seat: Seat,
) -> Result<OpenedSink, NoSink> {
    let journal = journal_for(shared, peer, described)?;
    shared.drop_partials_beyond(peer);
    let is_noted =
        journal.as_ref().is_some_and(|journal| journal.earlier().or(journal.outdated()).is_some());
    if seat.transfer.is_closed() && !is_noted {
        return Ok(OpenedSink::Nothing);
    }
    let journalled = journal.is_some();
    let Opening { transfer, ref content, chunk_size, version, .. } = *described;
    let memo = shared.memos.find(peer, &described.inbox, content);
    let offer =
        Offer { peer, transfer, content: content.clone(), chunk_size, version, memo, journal };
    let mut sink = match ask_inbox(shared, described, &offer, (&seat, is_noted)) {
        Ok(sink) => sink,
        // What is remembered by now is why it is not taken.
        Err(_) if is_remembered(shared, peer, transfer)? => return Ok(OpenedSink::Remembered),
        Err(refusal) => return Err(refused(refusal, &content.kind, journalled)),
    };
    let resumed = match sink.resumed() {
        Resumed::Committed(summary, committed) => {
            return Ok(OpenedSink::Committed { summary, committed });
        }
        Resumed::AlreadyThere(summary, committed) => {
            return Ok(OpenedSink::AlreadyThere { summary, committed });
        }
        Resumed::Chunks(progress) => progress,
        Resumed::Nothing => Progress::default(),
    };
    if is_remembered(shared, peer, transfer)? {
        sink.abort("it was delivered before");
        return Ok(OpenedSink::Remembered);
    }
    let Seat { transfer, owner, room, thread, .. } = seat;
    if journalled {
        let window = window_for(shared.config.window, chunk_size, content.length) as u64
            / u64::from(chunk_size);
        transfer.keep_subtrees();
        transfer.go_on(
            Incoming::resumed(window, resumed.chunks),
            resumed.digest.clone(),
            resumed.length,
        );
    }
    let resumed = journalled.then_some(resumed);
    let (abort, aborted) = oneshot::channel();
    let (metrics, checkpoint) = (shared.metrics.stage("sink"), shared.config.checkpoint);
    let seat = AssemblerSeat {
        transfer,
        sink,
        resumed,
        checkpoint,
        owner,
        aborted,
        metrics,
        thread: Box::new(thread),
    };
    let assembler = shared.registry.stages().start_assembler(seat);
    let assembler = assembler
        .ok_or_else(|| Failure::new(FailureKind::Stage, "the receiver has no assembler"))?;
    Ok(OpenedSink::Running { abort, assembler, room })
}

/// A refusal of the inbox, which looks at its journal first; but that of packages looks at nothing
/// that it has of one: neither what was unpacked, nor what it keeps for somebody else.
fn refused(refusal: Refusal, kind: &ContentKind, journalled: bool) -> NoSink {
    let looked = journalled && *kind != ContentKind::Package;
    NoSink { failure: refusal.into(), looked }
}

/// Returns `true` if it was delivered before. A note and the memory that takes its place are
/// exchanged in one write: what had no note by then is in the memory by now.
fn is_remembered(shared: &NodeShared, peer: PeerId, transfer: TransferId) -> Result<bool, Failure> {
    shared.remembered.look_again(peer, transfer).map_err(|error| {
        Failure::new(FailureKind::Io, format!("the receiver's spool can't be read: {error}"))
    })
}

/// The sink that the inbox opens, or that of packages. `is_noted`: it had begun with it before.
fn ask_inbox(
    shared: &Arc<NodeShared>,
    described: &Opening,
    offer: &Offer,
    (seat, is_noted): (&Seat, bool),
) -> Result<Box<dyn Sink>, Refusal> {
    let Opening { ref inbox, remaining, .. } = *described;
    if offer.content.kind == ContentKind::Package {
        let (outbox, within) = (seat.outbox.clone(), seat.within.clone());
        let sink = PackageSink::open(shared, outbox, offer, (inbox, remaining), within)?;
        return Ok(Box::new(sink));
    }
    match shared.directory.inbox(inbox) {
        Some(inbox) => inbox.open(offer),
        // It may have committed it, and come back.
        None => Err(Refusal::no_inbox(inbox, is_noted)),
    }
}

/// The seat of an assembler: all that it needs besides its sink.
pub(super) struct Seat {
    pub(super) transfer: Arc<Transfer>,
    pub(super) owner: Recipient<Assembled>,
    /// Its room; what is only to end needs none.
    pub(super) room: Option<Room>,
    pub(super) thread: Arc<DiskThread>,
    /// Of a package.
    pub(super) within: Within,
    /// Takes packages for others.
    pub(super) outbox: Option<Addr<Outbox>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_of_a_package_says_nothing_of_what_is_here() {
        let refusal = || Refusal::new("no");
        assert!(!refused(refusal(), &ContentKind::Package, true).looked);
        assert!(refused(refusal(), &ContentKind::Bytes, true).looked);
        assert!(!refused(refusal(), &ContentKind::Bytes, false).looked);
    }
}
