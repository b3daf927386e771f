//! Transfers from the peer.
//!
//! Waiting (for room, for the inbox's word) → Admitted (credit is out) → committed or failed. A broken link leaves
//! everything as it is; the offer comes again, and is answered with what is here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use actix::{AsyncContext, Context, Handler, Recipient};
use tokio::sync::oneshot;

use super::signals::{Kept, Opened, OpenedSink, Room};
use super::term::{LIFE_MOST, deadline, journal_for, life_of};
use super::{Session, Task};
use crate::delivery::{ContentKind, Failure, FailureKind, Incoming, KeyScope, Receipt, TransferId, TransferKey};
use crate::node::carrier::{PackageSink, inner_key};
use crate::node::config::NodeConfig;
use crate::node::disk::DiskThread;
use crate::node::events::{Direction, NodeEvent, TransferEvent, TransferNews};
use crate::node::lane::{Admit, Forget};
use crate::node::ledger::Charge;
use crate::node::memory::{Arrival, Processed, RELAYED, delivery_key};
use crate::node::outbox::AskedAgain;
use crate::node::shared::InQueue;
use crate::node::trust::now;
use crate::pipeline::{
    Assembled, AssemblerSeat, Assembly, Committed, Compression, Enclosed, Offer, Progress, Refusal, Resumed, Sink, Stop, Summary, Transfer,
};
use crate::wire::{Control, Opening, PeerId};

pub(super) struct IncomingTransfer {
    pub(super) transfer: Arc<Transfer>,
    opening: Opening,
    /// When it stops being worth delivering.
    deadline: Instant,
    admitted: bool,
    /// Its sink has committed it: its assembler may go. Only the note of it is still being made durable.
    pub(super) committed: bool,
    paused: bool,
    told: u64,
    abort: Option<oneshot::Sender<Stop>>,
    room: Option<Room>,
    /// Waits for room, then for the inbox's word.
    _opening: Task,
    /// The link it was last offered on.
    offered_on: u64,
    /// Room in the memory of deliveries.
    _remembers: Charge,
    /// What was done of it when it last moved, and when that was.
    moved: (u64, Instant),
    pub(super) said_pause: Option<bool>,
}

impl IncomingTransfer {
    pub(super) fn id(&self) -> TransferId {
        self.transfer.scope.transfer
    }

    /// How long it may come again from now on, in seconds.
    fn life(&self) -> u64 {
        life_of(&self.opening).max(self.deadline.saturating_duration_since(Instant::now()).as_secs())
    }
}

impl Session {
    pub(super) fn on_open(&mut self, opening: Opening, ctx: &mut Context<Self>) {
        let stream = opening.stream;
        if let Some(Arrival { attempt, receipt, inbox, .. }) = self.shared.remembered.arrival(self.peer, opening.transfer) {
            let key = TransferKey::from_bytes(*opening.key.expose());
            let mac = key.receipt(opening.transfer, opening.attempt, "delivered", &receipt.digest);
            tracing::info!(transfer = %opening.transfer, attempt, "offered again after it was delivered");
            let processed = key.receipt(opening.transfer, opening.attempt, "processed", &receipt.digest);
            let is_package = opening.content.kind == ContentKind::Package;
            if !is_package {
                self.renew_proof(opening.transfer, processed);
            }
            if inbox == RELAYED
                && let Some(outbox) = self.shared.outbox.get()
            {
                outbox.do_send(AskedAgain { sender: self.peer, transfer: opening.transfer });
            }
            // A package that was kept for somebody else has no word in it yet.
            let enclosed = (is_package && inbox != RELAYED).then(|| receipt.clone());
            return self.say(Control::Delivered { stream, receipt: Receipt { mac, ..receipt }, enclosed });
        }
        let epoch = self.epoch;
        if let Some(known) = self.incoming.get_mut(&stream) {
            let same = known.opening.transfer == opening.transfer && known.opening.commit == opening.commit;
            if !same {
                return self.reject(stream, Failure::new(FailureKind::Protocol, "the stream is in use by another transfer"));
            }
            (known.offered_on, known.deadline) = (epoch, deadline(opening.remaining));
            return if known.admitted {
                self.accept(stream)
            };
        }
        let older = self.incoming.iter().find(|(_, known)| known.opening.transfer == opening.transfer);
        if let Some((&older, known)) = older {
            if known.opening.attempt >= opening.attempt {
                return self.reject(stream, Failure::new(FailureKind::Protocol, "a newer attempt of this transfer is under way"));
            }
            if known.committed {
                // Its note is being exchanged for the memory of it: an attempt that began now would find neither, and deliver it again.
                return self.reject(stream, Failure::new(FailureKind::Busy, "an earlier attempt has delivered it this moment; ask again"));
            }
            self.suspend_incoming(older, Failure::new(FailureKind::Changed, "the sender begins anew"));
        }
        match self.check(&opening) {
            Ok(remembers) => self.begin(opening, remembers, ctx),
            Err(failure) => self.reject(stream, failure),
        }
    }

    fn reject(&mut self, stream: u64, failure: Failure) {
        tracing::info!(peer = %self.name, reason = failure.message, "a delivery was refused");
        self.say(Control::Reject { stream, failure });
    }

    fn check(&self, opening: &Opening) -> Result<Charge, Failure> {
        let refuse = |kind, text: String| Err(Failure::new(kind, text));
        let inbox = &opening.inbox;
        let parity = if self.shared.peer() < self.peer { 1 } else { 0 };
        if opening.stream % 2 != parity || self.outgoing.contains_key(&opening.stream) {
            return refuse(FailureKind::Protocol, format!("stream {} is not the sender's to use", opening.stream));
        }
        let is_package = opening.content.kind == ContentKind::Package;
        if is_package {
            // What is in it is decided about when it is opened; that it is carried at all, by whom this node trusts.
            if self.shared.trust.peer(&self.peer).is_none() {
                return refuse(FailureKind::Untrusted, "this peer is not trusted here; ask for a ticket".into());
            }
        } else if !self.shared.trust.allows(&self.peer, inbox) {
            return refuse(FailureKind::Untrusted, format!("this peer may not deliver to {inbox:?}; ask its owner for a ticket"));
        }
        if !is_package && self.shared.directory.inbox(inbox).is_none() {
            return refuse(FailureKind::Refused, format!("there is no inbox {inbox:?} here"));
        }
        if !NodeConfig::chunk_size_is_valid(opening.chunk_size) {
            return refuse(
                FailureKind::Protocol,
                format!("a chunk size of {} is not a power of two from 1 KiB to 4 MiB", opening.chunk_size),
            );
        }
        if opening.chunk_size as usize > self.shared.config.window / 2 {
            let most = self.shared.config.window / 2;
            return refuse(FailureKind::Refused, format!("chunks of {} bytes are too large here, {most} is the most", opening.chunk_size));
        }
        if let Err(error) = self.shared.registry.receiving(&opening.stages, opening.suite) {
            return refuse(FailureKind::Stage, format!("the receiver can't undo what was done to the chunks: {error}"));
        }
        // By the sender's own word alone: what the clock of this node says is no reason, since it may be wrong.
        if opening.remaining == 0 {
            return refuse(FailureKind::Expired, "the delivery has expired".into());
        }
        if opening.remaining > LIFE_MOST {
            let text = format!("the delivery is to live for {} seconds more, {LIFE_MOST} is the most", opening.remaining);
            return refuse(FailureKind::Refused, text);
        }
        let key = TransferKey::from_bytes(*opening.key.expose());
        if key.commitment() != opening.commit {
            return refuse(FailureKind::Integrity, "the key of the transfer is not the one committed to".into());
        }
        if !self.draining.is_empty() {
            return refuse(FailureKind::Shutdown, "the receiver is shutting down".into());
        }
        if self.closing || self.incoming.len() >= self.shared.config.transfers_per_peer {
            return refuse(FailureKind::Busy, format!("{} deliveries of this peer are under way already", self.incoming.len()));
        }
        if let Some(why) = self.shared.spool.as_ref().and_then(|spool| spool.failure()) {
            return refuse(
                FailureKind::Busy,
                format!("the receiver's spool has failed, it takes nothing until it is started again: {why}"),
            );
        }
        self.shared.remembered.reserve(self.peer, self.shared.clock.now()).map_err(|full| {
            let text = format!("the receiver remembers as many deliveries as it may, until some expire: {full}; try again later");
            Failure::new(FailureKind::Busy, text)
        })
    }

    /// Waits for room, then asks the inbox on the transfer's own thread.
    fn begin(&mut self, opening: Opening, remembers: Charge, ctx: &mut Context<Self>) {
        let stream = opening.stream;
        let scope = KeyScope {
            transfer: opening.transfer,
            attempt: opening.attempt,
            suite: opening.suite,
            sender: self.peer,
            receiver: self.shared.peer(),
            chunk_size: opening.chunk_size,
        };
        let key = TransferKey::from_bytes(*opening.key.expose());
        let window = window_for(self.shared.config.window, opening.chunk_size, opening.content.length);
        let state = Incoming::new(window as u64 / u64::from(opening.chunk_size));
        let (buffers, signals) = (self.shared.buffers.clone(), self.signals.clone());
        let transfer = Transfer::new(scope, key, stream, Compression::default(), buffers, state, signals);
        let inbox = self.shared.directory.inbox(&opening.inbox);
        let (peer, described) = (self.peer, opening.clone());
        let (shared, session, ours) = (Arc::clone(&self.shared), ctx.address(), Arc::clone(&transfer));
        let share = self.share_in.clone();
        let waiting = actix::spawn(async move {
            let queued = InQueue::at(&shared.waiting_in);
            let share = share.take(window).await;
            let running = Arc::clone(&shared.running_in).acquire_owned().await.expect("the semaphore is never closed");
            let bytes = shared.receiving.take(window).await;
            let room = Room { _bytes: bytes, _running: running, _share: share };
            drop(queued);
            if ours.is_closed() {
                return;
            }
            let transfer = Arc::clone(&ours);
            let thread = match DiskThread::start(shared.config.bulk_niceness) {
                Ok(thread) => thread,
                Err(failure) => return session.do_send(Opened { transfer, outcome: Err(failure) }),
            };
            let (owner, guard) = (session.clone().recipient(), Arc::clone(&thread));
            let addressee = described.inbox.clone();
            let opened = thread.run(move || {
                let journal = journal_for(&shared, peer, &described)?;
                shared.drop_partials_beyond(peer);
                let journalled = journal.is_some();
                let Opening { transfer, content, chunk_size, remaining, .. } = described;
                let offer = Offer { peer, transfer, content, chunk_size, journal };
                let opened = match inbox {
                    _ if offer.content.kind == ContentKind::Package => {
                        PackageSink::open(&shared, shared.outbox.get().cloned(), &offer, (&addressee, remaining))
                            .map(|sink| Box::new(sink) as Box<dyn Sink>)
                    }
                    Some(inbox) => inbox.open(&offer),
                    None => Err(Refusal::new("there is no such inbox any more")),
                };
                let sink = opened.map_err(|refusal| Failure::new(refusal.kind(), refusal.reason))?;
                let resumed = match sink.resumed() {
                    Resumed::Committed(summary, committed) => return Ok(OpenedSink::Committed { summary, committed }),
                    Resumed::Chunks(progress) => progress,
                    Resumed::Nothing => Progress::default(),
                };
                if journalled {
                    let window = window_for(shared.config.window, chunk_size, offer.content.length) as u64 / u64::from(chunk_size);
                    ours.keep_subtrees();
                    ours.go_on(Incoming::resumed(window, resumed.chunks), resumed.digest.clone(), resumed.length);
                }
                let resumed = journalled.then_some(resumed);
                let (abort, aborted) = oneshot::channel();
                let (metrics, checkpoint) = (shared.metrics.stage("sink"), shared.config.checkpoint);
                let seat = AssemblerSeat { transfer: ours, sink, resumed, checkpoint, owner, aborted, metrics, thread: Box::new(guard) };
                let assembler = shared.registry.start_assembler(seat);
                let assembler = assembler.ok_or_else(|| Failure::new(FailureKind::Stage, "the receiver has no assembler"))?;
                Ok(OpenedSink::Running { assembler, abort, room })
            });
            let outcome =
                opened.await.unwrap_or_else(|| Err(Failure::new(FailureKind::Stage, "the receiver's inbox panicked; see its log")));
            session.do_send(Opened { transfer, outcome });
        });
        let incoming = IncomingTransfer {
            transfer,
            deadline: deadline(opening.remaining),
            opening,
            admitted: false,
            committed: false,
            paused: false,
            told: 0,
            abort: None,
            room: None,
            _opening: Task(waiting.abort_handle()),
            offered_on: self.epoch,
            said_pause: None,
            _remembers: remembers,
            moved: (0, Instant::now()),
        };
        self.incoming.insert(stream, incoming);
        self.watch_progress(ctx);
    }

    /// Tells the sender what is here and how far it may go.
    fn accept(&mut self, stream: u64) {
        let Some(known) = self.incoming.get(&stream) else { return };
        let (limit, received) = {
            let mut state = known.transfer.incoming();
            let limit = if known.paused { state.limit() } else { state.open() };
            (limit, state.received_ranges())
        };
        let said_pause = known.said_pause;
        self.say(Control::Accept { stream, limit, received });
        self.say_pause(stream, said_pause);
    }

    pub(super) fn pause_incoming(&mut self, stream: u64, paused: bool) {
        let Some(known) = self.incoming.get_mut(&stream).filter(|known| known.paused != paused) else { return };
        known.paused = paused;
        let (id, admitted) = (known.id(), known.admitted);
        let limit = {
            let mut state = known.transfer.incoming();
            if paused {
                state.pause();
                None
            } else {
                Some(state.open())
            }
        };
        if let Some(limit) = limit.filter(|_| admitted) {
            self.say(Control::Grant { stream, limit });
        }
        self.tell(id, Direction::Incoming, if paused { TransferNews::Paused } else { TransferNews::Resumed });
    }

    fn committed(&mut self, stream: u64, summary: Summary, committed: Committed, ctx: &mut Context<Self>) {
        let Some(known) = self.incoming.get_mut(&stream) else { return };
        known.committed = true;
        let KeyScope { transfer, attempt, .. } = known.transfer.scope;
        let mac = known.transfer.key.receipt(transfer, attempt, "delivered", &summary.digest);
        let Committed { place, files, enclosed, .. } = committed;
        let receipt = Receipt { digest: summary.digest, length: summary.length, place, files, mac };
        let Opening { ref inbox, ref content, .. } = known.opening;
        let is_package = content.kind == ContentKind::Package;
        let (inbox, name) = (if is_package { RELAYED.to_owned() } else { inbox.clone() }, content.name.to_string());
        let processed_mac = known.transfer.key.receipt(transfer, attempt, "processed", &summary.digest).into();
        let (at, processed) = (now(), Processed::No);
        let (carried_by, packed_by) = (None, None);
        let (moment, life) = (self.shared.clock.now(), known.life());
        let (expires, passes, receipt_here) = (moment.certain + life, Some(moment.passed + life), receipt.clone());
        let mut arrival =
            Arrival { attempt, at, expires, inbox, name, receipt: receipt_here, processed, processed_mac, carried_by, packed_by, passes };
        let (word, receipt_of_carrier) = (enclosed.as_ref().map(|enclosed| (enclosed.sender, enclosed.receipt.clone())), receipt);
        let (shared, peer, session) = (Arc::clone(&self.shared), self.peer, ctx.address());
        // Remembered before it is said: whatever becomes of the word, the delivery is not repeated.
        let remember = move || {
            if let Some(enclosed) = enclosed {
                let Enclosed { sender, receipt, processed_mac, inbox, name } = *enclosed;
                // It is a delivery of who packed it; and known by who carried it, who may ask again.
                let carried_by = (sender != peer).then_some(peer);
                arrival = Arrival { receipt, processed_mac: processed_mac.into(), inbox, name, carried_by, ..arrival };
                if shared.remembered.arrival(sender, transfer).is_none() {
                    shared.remembered.remember_with(sender, transfer, arrival.clone(), vec![inner_key(sender, transfer)])?;
                }
                if sender == peer {
                    return Ok((receipt_of_carrier, word));
                }
                arrival = Arrival { carried_by: None, packed_by: Some(sender), ..arrival };
            }
            shared.remembered.remember(peer, transfer, arrival).map(|()| (receipt_of_carrier, word))
        };
        actix::spawn(async move {
            let remembered = tokio::task::spawn_blocking(remember).await;
            let outcome = remembered.map_err(std::io::Error::other).and_then(|outcome| outcome);
            session.do_send(Kept { stream, attempt, outcome });
        });
    }

    pub(super) fn fail_incoming(&mut self, stream: u64, failure: Failure) {
        // What the sender may come back with is kept as far as it is durable.
        let keep = matches!(failure.kind, FailureKind::Shutdown | FailureKind::Unreachable | FailureKind::Busy);
        self.close_incoming(stream, Err(failure), keep);
    }

    /// Ends an attempt that a later one may go on from.
    fn suspend_incoming(&mut self, stream: u64, failure: Failure) {
        self.close_incoming(stream, Err(failure), true);
    }

    fn close_incoming(&mut self, stream: u64, outcome: Result<(PeerId, TransferNews), Failure>, keep: bool) {
        let Some(mut known) = self.incoming.remove(&stream) else { return };
        known.transfer.close();
        if keep && known.opening.version.is_some() && known.opening.content.kind != ContentKind::Package {
            // Without a note by then it is forgotten at the next look.
            self.shared.partials.left(delivery_key(self.peer, known.opening.transfer), known.transfer.done_bytes());
        }
        self.forget_losses(stream);
        self.lanes.iter().for_each(|lane| lane.address.do_send(Forget { stream }));
        let (peer, news) = match outcome {
            Ok(news) => news,
            Err(failure) => {
                if let Some(abort) = known.abort.take() {
                    let reason = failure.message.clone();
                    // An assembler that is gone has aborted already.
                    let _ = abort.send(if keep { Stop::Suspend(reason) } else { Stop::Discard(reason) });
                }
                (self.peer, TransferNews::Failed { failure })
            }
        };
        let (transfer, direction) = (known.id(), Direction::Incoming);
        self.shared.emit(NodeEvent::Transfer(TransferEvent { transfer, peer, direction, news }));
        self.settle();
    }

    /// Ends for now what its sender does not go on with while others wait: nobody holds the room of all. What is here is kept.
    pub(super) fn suspend_stalled(&mut self) {
        let (stall, now) = (self.shared.config.stall, Instant::now());
        let others_wait = self.shared.waiting_in.load(Ordering::Relaxed) > 0;
        let mut stalled = Vec::new();
        for (&stream, known) in self.incoming.iter_mut().filter(|(_, known)| known.admitted && !known.committed) {
            let done = known.transfer.done_bytes();
            let is_theirs = known.said_pause != Some(true) && known.transfer.incoming().waits_for_sender();
            if known.moved.0 != done || !is_theirs {
                known.moved = (done, now);
            } else if others_wait && now.duration_since(known.moved.1) >= stall {
                stalled.push(stream);
            }
        }
        for stream in stalled {
            let text = format!("nothing of it came for {stall:?} while other deliveries waited for room at the receiver; it goes on later");
            self.fail(stream, Failure::new(FailureKind::Busy, text));
        }
    }

    /// Gives up what the sender came back without: it has lost its memory of it, and would never end it.
    pub(super) fn drop_orphans(&mut self) {
        let Some(link) = self.link.as_ref().filter(|link| link.since.elapsed() > self.shared.config.reconnect_for) else { return };
        let orphans =
            self.incoming.iter().filter(|(_, known)| known.offered_on != link.epoch && !known.committed).map(|(&stream, _)| stream);
        for stream in orphans.collect::<Vec<_>>() {
            self.fail(stream, Failure::new(FailureKind::Unreachable, "the sender came back and did not offer it again"));
        }
    }

    pub(super) fn expire_incoming(&mut self) {
        let now = Instant::now();
        let over = self.incoming.iter().filter(|(_, known)| known.deadline < now).map(|(&stream, _)| stream);
        for stream in over.collect::<Vec<_>>() {
            self.fail(stream, Failure::new(FailureKind::Expired, "the delivery was not done before it expired"));
        }
    }

    pub(super) fn incoming_progress(&self) {
        for known in self.incoming.values().filter(|known| known.admitted) {
            let (bytes, total) = (known.transfer.done_bytes(), known.opening.content.length);
            if known.told.max(1) <= bytes {
                self.tell(known.id(), Direction::Incoming, TransferNews::Progress { bytes, total });
            }
        }
    }
}

/// The bytes a transfer may have on their way: no more than its content has, as far as its sender says.
pub(super) fn window_for(window: usize, chunk_size: u32, length: Option<u64>) -> usize {
    let chunks = length.map_or(u64::MAX, |length| length.div_ceil(u64::from(chunk_size)).max(2));
    usize::try_from(chunks.saturating_mul(u64::from(chunk_size))).unwrap_or(usize::MAX).min(window)
}

impl Handler<Opened> for Session {
    type Result = ();

    fn handle(&mut self, Opened { transfer, outcome }: Opened, ctx: &mut Context<Self>) {
        let stream = transfer.stream;
        let Some(known) = self.incoming.get_mut(&stream).filter(|known| Arc::ptr_eq(&known.transfer, &transfer)) else {
            // Over before it began: dropping the sender of `abort` tells the assembler.
            return;
        };
        let (assembler, abort, room) = match outcome {
            Ok(OpenedSink::Running { assembler, abort, room }) => (assembler, abort, room),
            Ok(OpenedSink::Committed { summary, committed }) => return self.committed(stream, summary, committed, ctx),
            Err(failure) => {
                self.reject(stream, failure.clone());
                return self.fail_incoming(stream, failure);
            }
        };
        known.transfer.assemble_at(assembler);
        (known.abort, known.room) = (Some(abort), Some(room));
        let admit = |recipient: Recipient<Admit>| {
            recipient.send(Admit { transfer: Arc::clone(&known.transfer), stages: known.opening.stages.clone() })
        };
        let asks: Vec<_> = self.lanes.iter().map(|lane| admit(lane.address.clone().recipient())).collect();
        let session = ctx.address();
        actix::spawn(async move {
            let mut outcome = Ok(());
            for ask in asks {
                outcome = outcome.and(match ask.await {
                    Ok(admitted) => admitted.map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                });
            }
            session.do_send(AdmittedEverywhere { transfer, outcome });
        });
    }
}

/// All lanes know the transfer.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct AdmittedEverywhere {
    transfer: Arc<Transfer>,
    outcome: Result<(), String>,
}

impl Handler<AdmittedEverywhere> for Session {
    type Result = ();

    fn handle(&mut self, AdmittedEverywhere { transfer, outcome }: AdmittedEverywhere, _: &mut Context<Self>) {
        let stream = transfer.stream;
        let Some(known) = self.incoming.get_mut(&stream).filter(|known| Arc::ptr_eq(&known.transfer, &transfer)) else {
            return self.lanes.iter().for_each(|lane| lane.address.do_send(Forget { stream }));
        };
        if let Err(text) = outcome {
            let failure = Failure::new(FailureKind::Stage, text);
            self.reject(stream, failure.clone());
            return self.fail_incoming(stream, failure);
        }
        known.admitted = true;
        let (id, content) = (known.id(), known.opening.content.clone());
        self.tell(id, Direction::Incoming, TransferNews::Started { content });
        self.accept(stream);
        self.ensure_lanes();
    }
}

impl Handler<Kept> for Session {
    type Result = ();

    fn handle(&mut self, Kept { stream, attempt, outcome }: Kept, _: &mut Context<Self>) {
        let Some(known) = self.incoming.get(&stream).filter(|known| known.transfer.scope.attempt == attempt) else { return };
        let is_package = known.opening.content.kind == ContentKind::Package;
        match outcome {
            Ok((receipt, enclosed)) => {
                let word = enclosed.as_ref().map(|(_, word)| word.clone());
                self.say(Control::Delivered { stream, receipt: receipt.clone(), enclosed: word });
                let news = match enclosed {
                    // It came of who packed it, whoever carried it.
                    Some((sender, receipt)) => (sender, TransferNews::Delivered { receipt }),
                    None if is_package => (self.peer, TransferNews::Relayed { relay: self.shared.peer() }),
                    None => (self.peer, TransferNews::Delivered { receipt }),
                };
                self.close_incoming(stream, Ok(news), false);
            }
            Err(error) => {
                let text = format!("it was received, but the receiver's spool could not note that: {error}");
                self.fail(stream, Failure::new(FailureKind::Io, text));
            }
        }
    }
}

impl Handler<Assembled> for Session {
    type Result = ();

    fn handle(&mut self, Assembled { stream, attempt, news }: Assembled, ctx: &mut Context<Self>) {
        if self.incoming.get(&stream).is_none_or(|known| known.transfer.scope.attempt != attempt) {
            return;
        }
        match news {
            Assembly::Grant(limit) => self.say(Control::Grant { stream, limit }),
            Assembly::Committed { summary, committed } => self.committed(stream, summary, committed, ctx),
            Assembly::Failed(failure) => self.fail(stream, failure),
        }
    }
}
