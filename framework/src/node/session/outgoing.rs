//! Carries out what is decided about deliveries to the peer
//! ([`sending`](crate::delivery::sending)): room, offers, stages, sources, news.

mod look;
mod start;

use self::start::NoRoomHere;
use std::sync::Arc;
use std::time::Instant;

use actix::{Addr, Recipient};
use tokio::sync::watch;

use super::signals::{Admitted, Wired};
use super::{Session, Task};
use crate::delivery::sending::{Action, Event, Held, Vouched};
use crate::delivery::{
    Content, ContentKind, Failure, FailureKind, Incoming, KeyScope, Receipt, TransferId,
    TransferKey,
};
use crate::node::disk::DiskThread;
use crate::node::events::{Direction, TransferNews};
use crate::node::lane::{Acknowledged, Forget, Resend, SendingChain, TrailerAgain};
use crate::node::pace::Limiter;
use crate::node::reading::Seat;
use crate::node::rooms::Room;
use crate::node::source_reader::{Gate, Rewind, SourceReader};
use crate::node::transfer::{Outcome, Unsettled};
use crate::pipeline::{
    Balanced, Budget, ChunkerSeat, Compression, Known, Piece, Priority, Source, Transfer,
};
use crate::store::{now, random32};
use crate::wire::{Control, Opening, Ranges, SecretBytes, Suite, printable};

/// A delivery that goes out, with what is held for it.
pub(super) struct OutgoingTransfer {
    pub(super) transfer: Arc<Transfer>,
    pub(super) state: Unsettled,
    pub(super) outlet: Option<Balanced>,
    pub(super) opening: Opening,
    /// Set once the receiver was offered this attempt.
    pub(super) offered: bool,
    /// The coders, and how chunks are compressed, where the delivery says so itself.
    pub(super) asked: (Vec<String>, Option<Compression>),
    content: Content,
    /// The facts about the content that were known before it was offered.
    known: Option<Known>,
    /// The receiver had it before, so nothing of it was sent.
    already_there: bool,
    source: Option<Box<dyn Source>>,
    /// Its part in a content that others may send at the same time, until it is read.
    seat: Option<Seat>,
    limiter: Option<Arc<Limiter>>,
    reader: Option<Addr<SourceReader>>,
    chunker: Option<Recipient<Piece>>,
    thread: Option<Arc<DiskThread>>,
    gate: watch::Sender<Gate>,
    priority: Priority,
    budget: Budget,
    window: usize,
    room: Option<Room>,
    /// Waits for room.
    waiting: Option<Task>,
    /// The ranges that the receiver said it holds.
    held: Ranges,
    /// The receiver's word when it had it: of the delivery, and of what was in the package.
    receipt: Option<(Receipt, Option<Receipt>)>,
    /// The bytes that were done of it when it last moved, and the time of that.
    moved: (u64, Instant),
    began: Instant,
}

impl OutgoingTransfer {
    pub(super) fn id(&self) -> TransferId {
        self.transfer.scope.transfer
    }

    /// Returns `true` if what cuts its content has died before the end.
    pub(super) fn chunker_is_gone(&self) -> bool {
        !self.transfer.is_cut() && self.chunker.as_ref().is_some_and(|chunker| !chunker.connected())
    }
}

impl Session {
    pub(super) fn new_attempt(
        &self,
        id: TransferId,
        attempt: u32,
        stream: u64,
        chunk_size: u32,
        asked: &(Vec<String>, Option<Compression>),
    ) -> Arc<Transfer> {
        let (sender, receiver) = (self.shared.peer(), self.peer);
        let suite = self.link.as_ref().map_or(Suite::XSALSA20_POLY1305, |link| link.suite);
        let scope = KeyScope { transfer: id, attempt, suite, sender, receiver, chunk_size };
        let key = TransferKey::from_bytes(random32());
        let buffers = self.shared.buffers.clone();
        let transfer = Transfer::new(
            scope,
            key,
            stream,
            self.codec_for(asked),
            buffers,
            Incoming::new(1),
            self.signals.clone(),
        );
        // Stages that are not known here, or add too much, fail before the first chunk.
        transfer
            .allow_growth(self.shared.registry.stages().growth(&asked.0, chunk_size).unwrap_or(0));
        transfer
    }

    /// Something happens to what is sent: it is decided about, and that is done.
    pub(super) fn send(&mut self, event: Event) {
        self.sending.handle(event);
        while let Some(action) = self.sending.poll_action() {
            self.do_outgoing(action);
        }
    }

    fn do_outgoing(&mut self, action: Action) {
        match action {
            Action::SeekRoom(stream) => self.seek_room(stream),
            Action::Offer(stream, said_pause) => self.offer(stream, said_pause),
            Action::Wire(stream) => self.wire(stream),
            Action::Run(stream) => self.run(stream),
            Action::GoOn { stream, trailer } => {
                let held = self.outgoing.get_mut(&stream).map(|out| std::mem::take(&mut out.held));
                self.on_received(stream, &held.unwrap_or_default());
                if trailer {
                    self.pass_to_lanes(&TrailerAgain { stream });
                }
                self.tell_outgoing(stream, TransferNews::Resumed);
            }
            Action::TellWaiting(stream, running) => {
                self.tell_outgoing(stream, TransferNews::Waiting { running })
            }
            Action::Pause { stream, paused } => {
                if let Some(out) = self.outgoing.get(&stream) {
                    out.gate.send_modify(|gate| gate.paused = paused);
                    self.tell_outgoing(
                        stream,
                        if paused { TransferNews::Paused } else { TransferNews::Resumed },
                    );
                }
            }
            Action::Renew { stream, by, attempt, why } => self.renew(stream, by, attempt, why),
            Action::SayFailed(stream, failure) => {
                // What is not stored goes with its process: the receiver need not keep what nobody
                // will go on with.
                let is_final = failure.kind == FailureKind::Shutdown
                    && self.outgoing.get(&stream).is_some_and(|out| !out.state.is_try());
                let said = || {
                    Failure::new(
                        FailureKind::Cancelled,
                        "its sender was stopped, and does not go on with it",
                    )
                };
                self.say(Control::Fail {
                    stream,
                    failure: if is_final { said() } else { failure },
                });
            }
            Action::SayUnknown(stream) => self.say(Control::Unknown { stream }),
            Action::SayDone(stream) => self.say(Control::Done { stream }),
            Action::Deliver(stream) => self.deliver_outgoing(stream),
            Action::Fail(stream, failure) => self.end_outgoing(stream, Err(failure)),
        }
    }

    /// Makes the offer, first or again.
    fn offer(&mut self, stream: u64, said_pause: Option<bool>) {
        self.choose_coding(stream);
        let Some((out, deadline)) =
            self.outgoing.get_mut(&stream).zip(self.sending.deadline(stream))
        else {
            return;
        };
        // Durations travel, by the clock of who sends: the dates of two nodes need not agree.
        let left = deadline.saturating_duration_since(Instant::now()).as_secs().max(1);
        (out.opening.remaining, out.opening.expires) = (left, now().saturating_add(left));
        let opening = out.opening.clone();
        out.offered = true;
        out.state.set_offered();
        self.say(Control::Open(Box::new(self.understood(opening))));
        self.say_pause(stream, said_pause);
    }

    fn seek_room(&mut self, stream: u64) {
        let Some(out) = self.outgoing.get_mut(&stream) else { return };
        let (way, share, wanted, session) = (
            self.shared.rooms.outgoing.clone(),
            self.share_out.clone(),
            (out.priority, out.window),
            self.address.clone(),
        );
        let waiting = actix::spawn(async move {
            let room = way.take(share, wanted, || session.do_send(NoRoomHere { stream })).await;
            session.do_send(Admitted { stream, room });
        });
        out.waiting = Some(Task(waiting.abort_handle()));
    }

    /// Gives up what is stored and does not run yet: it goes on when the node is started again.
    pub(super) fn put_off_stored(&mut self) {
        let runs = |stream| self.link.is_some() && self.sending.is_running(stream);
        let idle =
            self.outgoing.iter().filter(|(stream, out)| out.state.is_try() && !runs(**stream));
        let idle: Vec<_> = idle.map(|(&stream, _)| stream).collect();
        for stream in idle {
            self.fail(stream, Failure::new(FailureKind::Shutdown, "the sender is shutting down"));
        }
    }

    /// Puts off what is stored and does not move while others wait for room here: it is tried again
    /// later.
    pub(super) fn put_off_stalled(&mut self) {
        let (stall, now) = (self.shared.config.stall, Instant::now());
        let others_wait = self.shared.rooms.outgoing.waiting() > 0;
        let (sending, mut stalled) = (&self.sending, Vec::new());
        for (&stream, out) in
            self.outgoing.iter_mut().filter(|(_, out)| out.room.is_some() && out.state.is_try())
        {
            let moved = out.transfer.moved_bytes();
            if out.moved.0 != moved || sending.said_pause(stream) == Some(true) {
                out.moved = (moved, now);
            } else if others_wait && now.duration_since(out.moved.1) >= stall {
                stalled.push(stream);
            }
        }
        for stream in stalled {
            let text = format!(
                "{} took nothing of it for {stall:?} while other deliveries waited here; it is \
                 tried again later",
                self.name
            );
            self.fail(stream, Failure::new(FailureKind::Busy, text));
        }
    }

    pub(super) fn on_accept(&mut self, stream: u64, limit: u64, received: &Ranges, trailer: bool) {
        let mut held = Held { whole: true, some: !received.is_empty(), trailer };
        let Some(out) = self.outgoing.get_mut(&stream) else {
            return self.send(Event::Accepted { stream, held });
        };
        held.whole = out.transfer.acknowledged_is_within(received.as_slice());
        out.held = received.clone();
        out.gate.send_modify(|gate| gate.limit = gate.limit.max(limit));
        self.send(Event::Accepted { stream, held });
        self.ensure_lanes();
    }

    /// The receiver does not take it, or gives it up; `looked`: and has looked what it has of it.
    pub(super) fn on_denied(&mut self, stream: u64, failure: Failure, looked: bool) {
        if let Some(out) = self.outgoing.get(&stream) {
            out.state.set_denied(&failure, looked);
        }
        self.send(Event::Denied(stream, failure));
    }

    /// Notes what the receiver could not keep as it was sent.
    pub(super) fn on_remarks(&mut self, stream: u64, lines: Vec<String>) {
        let Some(out) = self.outgoing.get(&stream) else { return };
        let lines: Vec<_> = lines.iter().map(|line| printable(line).to_string()).collect();
        out.state.update(|status| status.remarks.clone_from(&lines));
        self.tell_outgoing(stream, TransferNews::Remarks { lines });
    }

    /// Starts the chains on all lanes and the chunker on the transfer's own thread.
    fn wire(&mut self, stream: u64) {
        let Some(out) = self.outgoing.get_mut(&stream) else { return };
        out.transfer.set_held(std::mem::take(&mut out.held));
        let suite = out.transfer.scope.suite;
        let codec = out.transfer.codec.as_ref().map(|codec| codec.name().to_owned());
        out.state.update(|status| {
            (status.started, status.suite) = (true, Some(suite));
            status.codec.clone_from(&codec);
        });
        let news = TransferNews::Started {
            content: out.content.clone(),
            inbox: out.opening.inbox.clone(),
            suite,
            codec,
        };
        self.tell_outgoing(stream, news);
        let Some(out) = self.outgoing.get_mut(&stream) else { return };
        let most =
            self.link.as_ref().map_or(1, |link| usize::from(link.lanes)).clamp(1, self.lanes.len());
        let (stages, suite) = (out.asked.0.clone(), out.transfer.scope.suite);
        let asks: Vec<_> = self.lanes[..most]
            .iter()
            .map(|lane| lane.address.send(SendingChain { stages: stages.clone(), suite }))
            .collect();
        let niceness = self.shared.config.bulk_niceness;
        let thread = match out.thread.clone().map_or_else(|| DiskThread::start(niceness), Ok) {
            Ok(thread) => Arc::clone(out.thread.insert(thread)),
            Err(failure) => return self.fail(stream, failure),
        };
        let (transfer, shared, session) =
            (Arc::clone(&out.transfer), Arc::clone(&self.shared), self.address.clone());
        actix::spawn(async move {
            let mut replicas = Vec::new();
            for ask in asks {
                match ask.await {
                    Ok(Ok(replica)) => replicas.push(replica),
                    Ok(Err(error)) => {
                        return session.do_send(Wired { stream, outcome: Err(error.to_string()) });
                    }
                    Err(error) => {
                        return session.do_send(Wired { stream, outcome: Err(error.to_string()) });
                    }
                }
            }
            let outlet = Balanced::new(replicas);
            let seat = ChunkerSeat { transfer, outlet: outlet.clone() };
            let chunker =
                thread.run(move || shared.registry.stages().start_chunker(seat)).await.flatten();
            let outcome = chunker
                .map(|chunker| (outlet, chunker))
                .ok_or_else(|| "the chunker could not be started".to_owned());
            session.do_send(Wired { stream, outcome });
        });
    }

    pub(super) fn on_grant(&mut self, stream: u64, limit: u64) {
        if let Some(out) = self.outgoing.get(&stream) {
            out.gate.send_modify(|gate| gate.limit = gate.limit.max(limit));
        }
    }

    /// The receiver has these, whichever lane their frames are kept on.
    pub(super) fn on_received(&mut self, stream: u64, indices: &Ranges) {
        if self.outgoing.contains_key(&stream) {
            self.pass_to_lanes(&Acknowledged { stream, indices: indices.clone() });
        }
    }

    /// The receiver lost a chunk: its frame is sent again.
    pub(super) fn on_lost(&mut self, stream: u64, index: u64, failure: Option<Failure>) {
        if let Some(out) = self.outgoing.get(&stream) {
            let why = failure.map(|failure| failure.message);
            tracing::warn!(transfer = %out.id(), index, why, "the receiver asks for a chunk again");
            self.pass_to_lanes(&Resend { stream, index });
        }
    }

    pub(super) fn on_delivered(
        &mut self,
        stream: u64,
        receipt: Receipt,
        enclosed: Option<Receipt>,
    ) {
        let Some(out) = self.outgoing.get_mut(&stream) else {
            return self.send(Event::Delivered(stream, Vouched::Unsent));
        };
        let KeyScope { transfer, attempt, .. } = out.transfer.scope;
        let mac = out.transfer.key.receipt(transfer, attempt, "delivered", &receipt.digest);
        let vouched = match out.transfer.sent_digest() {
            _ if blake3::Hash::from_bytes(mac) != blake3::Hash::from_bytes(receipt.mac) => {
                Vouched::Forged
            }
            Some(digest) if digest == receipt.digest => Vouched::Sent,
            Some(_) => Vouched::Other,
            // An earlier delivery has brought it, and its sender can tell that it is the same.
            None if out.known.as_ref().is_some_and(|known| known.digest == receipt.digest) => {
                Vouched::Sent
            }
            None => Vouched::Unsent,
        };
        out.already_there = out.known.is_some() && self.sending.is_offered(stream);
        out.receipt = Some((receipt, enclosed));
        self.send(Event::Delivered(stream, vouched));
    }

    fn deliver_outgoing(&mut self, stream: u64) {
        let Some(out) = self.outgoing.get_mut(&stream) else { return };
        let Some((receipt, enclosed)) = out.receipt.take() else { return };
        if let Some(enclosed) = enclosed {
            out.state.set_enclosed(enclosed);
        }
        let KeyScope { transfer, attempt, .. } = out.transfer.scope;
        out.state.set_proof(out.transfer.key.receipt(
            transfer,
            attempt,
            "processed",
            &receipt.digest,
        ));
        if out.already_there {
            self.tell_already_there(stream);
        }
        self.end_outgoing(stream, Ok(receipt));
    }

    /// Says that nothing of it is sent.
    fn tell_already_there(&mut self, stream: u64) {
        let Some(out) = self.outgoing.get(&stream) else { return };
        let report = out.known.as_ref().map(|known| known.report.clone()).unwrap_or_default();
        out.state.update(|status| status.already_there = true);
        let news = TransferNews::AlreadyThere {
            content: out.content.clone(),
            inbox: out.opening.inbox.clone(),
        };
        self.tell_outgoing(stream, news);
        self.source_was_read(stream, report);
    }

    /// Begins anew under a new key, from the start of the content.
    fn renew(&mut self, stream: u64, by: u64, attempt: u32, why: String) {
        let Some(mut out) = self.outgoing.remove(&stream) else { return };
        out.note_sent();
        let (id, chunk_size) = (out.id(), out.transfer.scope.chunk_size);
        let transfer = self.new_attempt(id, attempt, by, chunk_size, &out.asked);
        tracing::warn!(transfer = %id, attempt, why, "beginning anew");
        self.forget(stream, &out.transfer);
        out.gate.send_modify(|gate| gate.stopped = true);
        out.gate = watch::channel(Gate::default()).0;
        out.begin_with(transfer);
        (out.outlet, out.chunker, out.held) = (None, None, Ranges::EMPTY);
        let unread = match &out.reader {
            Some(reader) => {
                reader.do_send(Rewind { stream: by });
                None
            }
            None => Some(out.opening.version.is_some()),
        };
        self.outgoing.insert(by, out);
        self.tell_outgoing(by, TransferNews::Restarted { attempt, why });
        if let Some(resumable) = unread {
            self.send(Event::Rewound(by, Ok(resumable)));
        }
    }

    fn end_outgoing(&mut self, stream: u64, outcome: Outcome) {
        let Some(out) = self.outgoing.remove(&stream) else { return };
        out.note_sent();
        let outcome = outcome.map_err(|failure| out.state.as_far_as_known(failure));
        self.forget(stream, &out.transfer);
        out.gate.send_modify(|gate| gate.stopped = true);
        let news = match &outcome {
            Ok(receipt) => TransferNews::Delivered { receipt: receipt.clone() },
            Err(failure) => TransferNews::Failed { failure: failure.clone() },
        };
        // What is stored may be tried again, and a package may have come no farther than a relay:
        // its outbox tells how it ends.
        if !out.state.is_try() || (outcome.is_ok() && out.content.kind != ContentKind::Package) {
            self.tell(out.id(), Direction::Outgoing, news);
        }
        out.state.end(outcome);
        self.settle();
    }

    fn forget(&mut self, stream: u64, transfer: &Transfer) {
        transfer.close();
        self.forget_losses(stream);
        self.lanes.iter().for_each(|lane| lane.address.do_send(Forget { stream }));
    }

    fn tell_outgoing(&mut self, stream: u64, news: TransferNews) {
        if let Some(out) = self.outgoing.get(&stream) {
            self.tell(out.id(), Direction::Outgoing, news);
        }
    }

    pub(super) fn outgoing_progress(&self) {
        for (_, out) in self.outgoing.iter().filter(|(stream, _)| self.sending.is_running(**stream))
        {
            let (bytes, total) = (out.transfer.done_bytes(), out.content.length);
            if out.state.progressed(bytes, total) {
                self.tell(out.id(), Direction::Outgoing, TransferNews::Progress { bytes, total });
            }
        }
    }
}

pub(super) fn key_of(transfer: &Transfer) -> SecretBytes {
    SecretBytes::new(*transfer.key.as_bytes())
}
