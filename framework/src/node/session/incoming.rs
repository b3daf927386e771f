//! Transfers from the peer.
//!
//! Waiting (for room) → Opening (the inbox is asked) → Writing (credit is out) → Remembering → delivered; how one fails is in
//! [`super::ending`]. A broken link leaves everything as it is; the offer comes again, and is answered with what is here.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Handler, Recipient};
use tokio::sync::oneshot;

use super::ending::Ending;
use super::opening::{Seat, open_sink};
use super::signals::{HasRoom, Inside, Kept, NoRoom, Opened, OpenedSink, Room};
use super::term::{LIFE_MOST, deadline, life_of};
use super::{Session, Task};
use crate::delivery::{ContentKind, Failure, FailureKind, Incoming, KeyScope, Receipt, TransferId, TransferKey};
use crate::node::blocking::surely;
use crate::node::carrier::inner_key;
use crate::node::config::NodeConfig;
use crate::node::disk::DiskThread;
use crate::node::events::{Direction, NodeEvent, TransferEvent, TransferNews};
use crate::node::lane::{Admit, Forget};
use crate::node::ledger::Charge;
use crate::node::memory::{Arrival, Processed, RELAYED};
use crate::node::memos::MemoKey;
use crate::node::outbox::AskedAgain;
use crate::node::shared::InQueue;
use crate::node::trust::now;
use crate::pipeline::{Assembled, Assembly, Committed, Compression, Enclosed, Journal, Stop, Summary, Transfer};
use crate::wire::{Control, Opening, PeerId};

/// How long a delivery waits for room, at either end, before that is told.
pub(super) const SAY_WAITING: Duration = Duration::from_secs(1);

pub(super) struct IncomingTransfer {
    pub(super) transfer: Arc<Transfer>,
    pub(super) opening: Opening,
    /// When it stops being worth delivering.
    pub(super) deadline: Instant,
    pub(super) stage: Stage,
    pub(super) admitted: bool,
    /// It is to end: its sink has the last word.
    pub(super) ending: Option<Ending>,
    /// A later attempt, which begins when this one has ended.
    pub(super) next: Option<Box<Opening>>,
    paused: bool,
    told: u64,
    room: Option<Room>,
    /// The link it was last offered on.
    pub(super) offered_on: u64,
    /// Room in the memory of deliveries.
    _remembers: Charge,
    /// What was done of it when it last moved, and when that was.
    pub(super) moved: (u64, Instant),
    pub(super) said_pause: Option<bool>,
}

/// Where an incoming transfer stands with its sink.
pub(super) enum Stage {
    /// Nothing runs for it: it waits for room.
    Waiting(#[expect(dead_code, reason = "it ends when it is dropped")] Task),
    /// Its inbox is asked, on the transfer's own thread.
    Opening,
    /// Its sink has a task, which is told to stop by this, once.
    Writing(Option<oneshot::Sender<Stop>>),
    /// Its sink has committed it: its assembler may go. Only the note of it is still being made durable.
    Remembering,
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
        if let Some(arrival) = self.shared.remembered.arrival(self.peer, opening.transfer) {
            return self.deliver_again(&opening, arrival);
        }
        let epoch = self.epoch;
        if let Some(known) = self.incoming.get_mut(&stream) {
            let same = known.opening.transfer == opening.transfer && known.opening.commit == opening.commit;
            if !same {
                return self.reject(stream, Failure::new(FailureKind::Protocol, "the stream is in use by another transfer"));
            }
            (known.offered_on, known.deadline) = (epoch, deadline(opening.remaining));
            // One that ends is answered when it has ended.
            if known.admitted && known.ending.is_none() {
                self.accept(stream);
            }
            return self.say_waiting(stream);
        }
        if let Some(failure) = self.shared.given_up.answer(self.peer, opening.transfer, opening.attempt) {
            return self.reject(stream, failure);
        }
        let older = self.incoming.iter().find(|(_, known)| known.opening.transfer == opening.transfer);
        if let Some((&older, known)) = older {
            if known.opening.attempt >= opening.attempt {
                return self.reject(stream, Failure::new(FailureKind::Protocol, "a newer attempt of this transfer is under way"));
            }
            self.suspend_incoming(older, Failure::new(FailureKind::Changed, "the sender begins anew"));
            if let Some(known) = self.incoming.get_mut(&older) {
                // It may commit, or be being remembered: an attempt that began now would find neither note nor memory, and deliver it again.
                known.next = Some(Box::new(opening));
                return self.say(Control::Waiting { stream, running: 1 });
            }
        }
        match self.check(&opening) {
            Ok(remembers) => self.begin(opening, remembers, ctx),
            Err(failure) => self.reject(stream, failure),
        }
    }

    /// Answers for a delivery that is remembered.
    fn deliver_again(&mut self, opening: &Opening, arrival: Arrival) {
        let Arrival { attempt, receipt, inbox, .. } = arrival;
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
        self.say(Control::Delivered { stream: opening.stream, receipt: Receipt { mac, ..receipt }, enclosed });
    }

    pub(super) fn reject(&mut self, stream: u64, failure: Failure) {
        // A relay has nobody else who would hear of it.
        if self.shared.config.relay.is_some() && self.refusals.is_due(Instant::now()) {
            let others = self.refusals.untold();
            tracing::warn!(peer = %self.name, reason = failure.message, others, "what a peer offered was refused");
        } else {
            tracing::info!(peer = %self.name, reason = failure.message, "a delivery was refused");
        }
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
        // What is in a package is decided about when it is opened; that it is carried at all, by whom this node trusts.
        let admitted = self.shared.trust.admission(&self.peer, (!is_package).then_some(inbox));
        admitted.map_err(|barred| {
            barred.failure(|| match is_package {
                true => "this peer is not trusted here; ask for a ticket".into(),
                false => format!("this peer may not deliver to {inbox:?}; ask its owner for a ticket"),
            })
        })?;
        if !is_package && self.shared.directory.inbox(inbox).is_none() {
            return refuse(FailureKind::Refused, format!("the receiver has no inbox {inbox:?}"));
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
        let known = self.shared.registry.receiving(&opening.stages, opening.suite);
        if let Err(error) = known.and_then(|_| self.shared.registry.growth(&opening.stages, opening.chunk_size)) {
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

    /// Waits for room.
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
        transfer.allow_growth(self.shared.registry.growth(&opening.stages, opening.chunk_size).unwrap_or(0));
        let (shared, session, ours) = (Arc::clone(&self.shared), ctx.address(), Arc::clone(&transfer));
        let share = self.share_in.clone();
        let waiting = actix::spawn(async move {
            let mut room = pin!(async {
                let _queued = InQueue::at(&shared.waiting_in);
                let share = share.take(window).await;
                let running = Arc::clone(&shared.running_in).acquire_owned().await.expect("the semaphore is never closed");
                let bytes = shared.receiving.take(window).await;
                Room { _bytes: bytes, _running: running, _share: share }
            });
            let room = tokio::select! {
                biased;
                room = &mut room => room,
                () = tokio::time::sleep(SAY_WAITING) => {
                    session.do_send(NoRoom { stream });
                    room.await
                }
            };
            session.do_send(HasRoom { transfer: ours, room });
        });
        let incoming = IncomingTransfer {
            transfer,
            deadline: deadline(opening.remaining),
            opening,
            stage: Stage::Waiting(Task(waiting.abort_handle())),
            admitted: false,
            ending: None,
            next: None,
            paused: false,
            told: 0,
            room: None,
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
            (limit, (state.received_ranges(), state.has_trailer()))
        };
        let said_pause = known.said_pause;
        let (received, trailer) = received;
        self.say(Control::Accept { stream, limit, received, trailer });
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

    pub(super) fn committed(&mut self, stream: u64, made: (Summary, Committed), processed: Processed, ctx: &mut Context<Self>) {
        let (summary, committed) = made;
        let Some(known) = self.incoming.get_mut(&stream) else { return };
        // Whoever gave it up meanwhile: it is delivered.
        (known.stage, known.ending) = (Stage::Remembering, None);
        let KeyScope { transfer, attempt, .. } = known.transfer.scope;
        let mac = known.transfer.key.receipt(transfer, attempt, "delivered", &summary.digest);
        let Committed { place, files, enclosed, remarks, memo, .. } = committed;
        let receipt = Receipt { digest: summary.digest, length: summary.length, place, files, mac };
        let Opening { ref inbox, ref content, .. } = known.opening;
        let is_package = content.kind == ContentKind::Package;
        let memo = memo.filter(|_| !is_package).map(|memo| MemoKey::new(self.peer, inbox, content).with(memo));
        let told = (known.id(), enclosed.as_ref().map_or(self.peer, |enclosed| enclosed.sender), remarks);
        let (inbox, name) = (if is_package { RELAYED.to_owned() } else { inbox.clone() }, content.name.to_string());
        let processed_mac = known.transfer.key.receipt(transfer, attempt, "processed", &summary.digest).into();
        let at = now();
        let (carried_by, packed_by, elsewhere) = (None, None, None);
        // Who carries a package may say too little of how long it lives: who made it has said so, too.
        let life_inside = enclosed.as_ref().map_or(0, |enclosed| enclosed.life.min(LIFE_MOST));
        let (moment, life) = (self.shared.clock.now(), known.life().max(life_inside));
        let (expires, passes, receipt_here) = (moment.certain + life, Some(moment.passed + life), receipt.clone());
        let mut arrival = Arrival {
            attempt,
            at,
            expires,
            inbox,
            name,
            receipt: receipt_here,
            processed,
            processed_mac,
            carried_by,
            packed_by,
            passes,
            elsewhere,
        };
        let inside =
            |enclosed: &Enclosed| Inside { sender: enclosed.sender, transfer: enclosed.transfer, receipt: enclosed.receipt.clone() };
        let (inside, receipt_of_carrier) = (enclosed.as_deref().map(inside), receipt);
        let (shared, peer, session) = (Arc::clone(&self.shared), self.peer, ctx.address());
        // Remembered before it is said: whatever becomes of the word, the delivery is not repeated.
        let remember = move || {
            if let Some(enclosed) = enclosed {
                let Enclosed { sender, receipt, processed_mac, inbox, name, transfer: packed_as, life: _ } = *enclosed;
                // It is a delivery of who packed it; and known by who carried it, who may ask again.
                let (carried_by, elsewhere) = (sender != peer).then_some((peer, transfer)).unzip();
                arrival = Arrival { receipt, processed_mac: processed_mac.into(), inbox, name, carried_by, elsewhere, ..arrival };
                if shared.remembered.arrival(sender, packed_as).is_none() {
                    shared.remembered.remember_with(
                        sender,
                        packed_as,
                        arrival.clone(),
                        vec![Journal::forget(inner_key(sender, packed_as))],
                    )?;
                }
                if sender == peer {
                    return Ok((receipt_of_carrier, inside));
                }
                arrival = Arrival { carried_by: None, packed_by: Some(sender), elsewhere: Some(packed_as), ..arrival };
            }
            let changes = memo.map(|memo| shared.memos.keep(memo)).unwrap_or_default();
            shared.remembered.remember_with(peer, transfer, arrival, changes).map(|()| (receipt_of_carrier, inside))
        };
        self.remark(stream, is_package, told);
        actix::spawn(async move {
            let remembered = surely(remember).await;
            let outcome = remembered.map_err(std::io::Error::other).and_then(|outcome| outcome);
            session.do_send(Kept { stream, attempt, outcome });
        });
    }

    /// Says what is not as it was sent. Not who carried it: what is in a package is nothing to them.
    fn remark(&mut self, stream: u64, is_package: bool, (transfer, peer, lines): (TransferId, PeerId, Vec<String>)) {
        if lines.is_empty() {
            return;
        }
        let ours: Vec<_> = lines.iter().filter(|line| !line.starts_with(Committed::SAID)).cloned().collect();
        if !is_package && !ours.is_empty() {
            self.say(Control::Remarks { stream, lines: ours });
        }
        let news = TransferNews::Remarks { lines };
        self.shared.emit(NodeEvent::Transfer(TransferEvent { transfer, peer, direction: Direction::Incoming, news }));
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

impl Handler<HasRoom> for Session {
    type Result = ();

    fn handle(&mut self, HasRoom { transfer, room }: HasRoom, ctx: &mut Context<Self>) {
        let known = self.incoming.get_mut(&transfer.stream).filter(|known| Arc::ptr_eq(&known.transfer, &transfer));
        let Some(known) = known else { return };
        known.stage = Stage::Opening;
        let (shared, peer, described, session) = (Arc::clone(&self.shared), self.peer, known.opening.clone(), ctx.address());
        let thread = match DiskThread::start(shared.config.bulk_niceness) {
            Ok(thread) => thread,
            Err(failure) => return session.do_send(Opened { transfer, outcome: Err(failure) }),
        };
        let seat = Seat { transfer: Arc::clone(&transfer), owner: session.clone().recipient(), room, thread: Arc::clone(&thread) };
        actix::spawn(async move {
            let opened = thread.run(move || open_sink(&shared, peer, &described, seat)).await;
            let panicked = || Err(Failure::new(FailureKind::Stage, "the receiver's inbox panicked; see its log"));
            session.do_send(Opened { transfer, outcome: opened.unwrap_or_else(panicked) });
        });
    }
}

impl Handler<NoRoom> for Session {
    type Result = ();

    fn handle(&mut self, NoRoom { stream }: NoRoom, _: &mut Context<Self>) {
        self.say_waiting(stream);
    }
}

impl Handler<Opened> for Session {
    type Result = ();

    fn handle(&mut self, Opened { transfer, outcome }: Opened, ctx: &mut Context<Self>) {
        let stream = transfer.stream;
        let known = self.incoming.get_mut(&stream).filter(|known| Arc::ptr_eq(&known.transfer, &transfer));
        // Over before it began, with its session: dropping the sender of `abort` tells the assembler.
        let Some(known) = known else { return };
        let (assembler, abort, room) = match outcome {
            Ok(OpenedSink::Running { assembler, abort, room }) => (assembler, abort, room),
            Ok(OpenedSink::Committed { summary, committed }) => {
                return self.committed(stream, (summary, committed), Processed::No, ctx);
            }
            Ok(OpenedSink::AlreadyThere { summary, committed }) => {
                let (id, content, inbox) = (known.id(), known.opening.content.clone(), known.opening.inbox.clone());
                self.tell(id, Direction::Incoming, TransferNews::AlreadyThere { content, inbox });
                // Its application was told of it then.
                return self.committed(stream, (summary, committed), Processed::Heard, ctx);
            }
            Ok(OpenedSink::Remembered) => return self.was_remembered(stream, ctx),
            Ok(OpenedSink::Nothing) => return self.stopped(stream, ctx),
            Err(_) if known.ending.is_some() => return self.stopped(stream, ctx),
            Err(failure) => {
                self.reject(stream, failure.clone());
                return self.close_incoming(stream, Err(failure), ctx);
            }
        };
        (known.stage, known.room) = (Stage::Writing(Some(abort)), Some(room));
        known.transfer.assemble_at(assembler);
        if known.ending.is_some() {
            return self.tell_sink(stream);
        }
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
        let is_it = |known: &&mut IncomingTransfer| Arc::ptr_eq(&known.transfer, &transfer) && known.ending.is_none();
        let Some(known) = self.incoming.get_mut(&stream).filter(is_it) else {
            return self.lanes.iter().for_each(|lane| lane.address.do_send(Forget { stream }));
        };
        if let Err(text) = outcome {
            return self.fail(stream, Failure::new(FailureKind::Stage, text));
        }
        known.admitted = true;
        let (id, content, inbox) = (known.id(), known.opening.content.clone(), known.opening.inbox.clone());
        self.tell(id, Direction::Incoming, TransferNews::Started { content, inbox });
        self.accept(stream);
        self.ensure_lanes();
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
            Assembly::Committed { summary, committed } => self.committed(stream, (summary, committed), Processed::No, ctx),
            Assembly::Failed(failure) => self.fail_at_once(stream, failure, ctx),
            Assembly::Stopped => self.stopped(stream, ctx),
        }
    }
}
