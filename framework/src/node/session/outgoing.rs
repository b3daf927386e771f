//! Transfers to the peer.
//!
//! Waiting (for room) → Offered → Running → delivered or failed. A broken link puts nothing back: the offer is made again,
//! the receiver says what it has, the lanes send the rest.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Recipient};
use tokio::sync::watch;

use super::incoming::{SAY_WAITING, window_for};
use super::signals::{Admitted, Outcome, Rewound, Room, SourceEnded, Start, Wired};
use super::{Session, Task};
use crate::delivery::{Content, ContentKind, Failure, FailureKind, Incoming, KeyScope, Receipt, TransferId, TransferKey};
use crate::node::disk::DiskThread;
use crate::node::events::{Direction, TransferNews};
use crate::node::lane::{Acknowledged, Forget, Resend, SendingChain, TrailerAgain};
use crate::node::runner::{Gate, Rewind, Run, SourceRunner};
use crate::node::shared::InQueue;
use crate::node::transfer::Unsettled;
use crate::node::trust::{now, random32};
use crate::pipeline::{Balanced, Budget, ChunkerSeat, Compression, Known, Piece, Source, SourceError, Transfer};
use crate::wire::{Control, Opening, Ranges, SecretBytes, Suite, printable};

/// How often content may change while it is sent: the first time it is sent anew.
const ATTEMPTS: u32 = 2;
/// Transfers that failed, of which it is remembered how.
const ENDED: usize = 256;

pub(super) struct OutgoingTransfer {
    pub(super) transfer: Arc<Transfer>,
    pub(super) state: Unsettled,
    pub(super) outlet: Option<Balanced>,
    opening: Opening,
    compression: Compression,
    phase: Phase,
    content: Content,
    /// What was known of the content before it was offered.
    known: Option<Known>,
    source: Option<Box<dyn Source>>,
    runner: Option<Addr<SourceRunner>>,
    chunker: Option<Recipient<Piece>>,
    thread: Option<Arc<DiskThread>>,
    gate: watch::Sender<Gate>,
    budget: Budget,
    window: usize,
    room: Option<Room>,
    /// Waits for room.
    waiting: Option<Task>,
    pub(super) said_pause: Option<bool>,
    /// The number of its first attempt.
    first_attempt: u32,
    /// When it stops being worth delivering.
    deadline: Instant,
    /// What was done of it when it last moved, and when that was.
    moved: (u64, Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Rewinding,
    Offered,
    Wiring,
    Running,
}

impl OutgoingTransfer {
    pub(super) fn id(&self) -> TransferId {
        self.transfer.scope.transfer
    }

    /// Whether it is a try at a stored delivery.
    pub(super) fn is_try(&self) -> bool {
        self.state.is_try()
    }

    /// Whether what cuts its content has died before the end.
    pub(super) fn chunker_is_gone(&self) -> bool {
        !self.transfer.is_cut() && self.chunker.as_ref().is_some_and(|chunker| !chunker.connected())
    }
}

impl Session {
    fn new_attempt(
        &mut self,
        id: TransferId,
        attempt: u32,
        chunk_size: u32,
        compression: Compression,
        stages: &[String],
    ) -> (Arc<Transfer>, u64) {
        let stream = self.take_stream();
        let (sender, receiver, suite) = (self.shared.peer(), self.peer, Suite::XSALSA20_POLY1305);
        let scope = KeyScope { transfer: id, attempt, suite, sender, receiver, chunk_size };
        let key = TransferKey::from_bytes(random32());
        let buffers = self.shared.buffers.clone();
        let transfer = Transfer::new(scope, key, stream, compression, buffers, Incoming::new(1), self.signals.clone());
        // Stages that are not known here, or add too much, fail before the first chunk.
        transfer.allow_growth(self.shared.registry.growth(stages, chunk_size).unwrap_or(0));
        (transfer, stream)
    }

    /// Makes the offer, first or again.
    fn offer(&mut self, stream: u64) {
        let Some(out) = self.outgoing.get_mut(&stream) else { return };
        if self.link.is_none() || matches!(out.phase, Phase::Waiting | Phase::Rewinding) {
            return;
        }
        // Durations travel, by the clock of who sends: the dates of two nodes need not agree.
        let left = out.deadline.saturating_duration_since(Instant::now()).as_secs().max(1);
        (out.opening.remaining, out.opening.expires) = (left, now().saturating_add(left));
        let (opening, said_pause) = (out.opening.clone(), out.said_pause);
        out.state.set_offered();
        self.say(Control::Open(Box::new(opening)));
        self.say_pause(stream, said_pause);
    }

    /// Waits for room for those that have none. Not without a link: nobody who is away takes the room of others.
    pub(super) fn seek_room(&mut self, ctx: &mut Context<Self>) {
        if self.link.is_none() {
            return;
        }
        for (&stream, out) in self.outgoing.iter_mut().filter(|(_, out)| out.phase == Phase::Waiting && out.waiting.is_none()) {
            let (shared, session, window) = (Arc::clone(&self.shared), ctx.address(), out.window);
            let share = self.share_out.clone();
            let waiting = actix::spawn(async move {
                let mut room = pin!(async {
                    let _queued = InQueue::at(&shared.waiting_out);
                    let share = share.take(window).await;
                    let running = Arc::clone(&shared.running_out).acquire_owned().await.expect("the semaphore is never closed");
                    let bytes = shared.sending.take(window).await;
                    Room { _bytes: bytes, _running: running, _share: share }
                });
                let room = tokio::select! {
                    biased;
                    room = &mut room => room,
                    () = tokio::time::sleep(SAY_WAITING) => {
                        session.do_send(NoRoomHere { stream });
                        room.await
                    }
                };
                session.do_send(Admitted { stream, room });
            });
            out.waiting = Some(Task(waiting.abort_handle()));
        }
    }

    /// Gives up what is stored and does not run yet: it goes on when the node is started again.
    pub(super) fn put_off_stored(&mut self) {
        let idle = |out: &OutgoingTransfer| out.state.is_try() && (self.link.is_none() || out.phase != Phase::Running);
        let idle: Vec<_> = self.outgoing.iter().filter(|(_, out)| idle(out)).map(|(&stream, _)| stream).collect();
        for stream in idle {
            self.fail(stream, Failure::new(FailureKind::Shutdown, "the sender is shutting down"));
        }
    }

    /// Puts off what is stored and does not move while others wait for room here: it is tried again later.
    pub(super) fn put_off_stalled(&mut self) {
        let (stall, now) = (self.shared.config.stall, Instant::now());
        let others_wait = self.shared.waiting_out.load(Ordering::Relaxed) > 0;
        let mut stalled = Vec::new();
        for (&stream, out) in self.outgoing.iter_mut().filter(|(_, out)| out.room.is_some() && out.state.is_try()) {
            let done = out.transfer.done_bytes();
            if out.moved.0 != done || out.said_pause == Some(true) {
                out.moved = (done, now);
            } else if others_wait && now.duration_since(out.moved.1) >= stall {
                stalled.push(stream);
            }
        }
        for stream in stalled {
            let text =
                format!("{} took nothing of it for {stall:?} while other deliveries waited here; it is tried again later", self.name);
            self.fail(stream, Failure::new(FailureKind::Busy, text));
        }
    }

    pub(super) fn offer_all(&mut self) {
        for stream in self.outgoing.keys().copied().collect::<Vec<_>>() {
            self.offer(stream);
        }
    }

    pub(super) fn on_accept(&mut self, stream: u64, limit: u64, (received, trailer): (&Ranges, bool), ctx: &mut Context<Self>) {
        let Some(out) = self.outgoing.get_mut(&stream) else { return self.say_unknown(stream) };
        if !out.transfer.acknowledged_is_within(received.as_slice()) {
            return self.restart(stream, "the receiver has lost the part that it had; nothing changed here");
        }
        out.gate.send_modify(|gate| gate.limit = gate.limit.max(limit));
        match out.phase {
            Phase::Offered if !received.is_empty() && out.opening.version.is_none() => {
                let text = "the receiver says it holds chunks of content that can't be sent twice";
                self.fail(stream, Failure::new(FailureKind::Protocol, text));
            }
            Phase::Offered => {
                out.transfer.set_held(received.clone());
                out.phase = Phase::Wiring;
                out.state.update(|status| status.started = true);
                let news = TransferNews::Started { content: out.content.clone(), inbox: out.opening.inbox.clone() };
                self.tell_outgoing(stream, news);
                self.wire(stream, ctx);
            }
            Phase::Running => {
                self.on_received(stream, received);
                if !trailer {
                    self.pass_to_lanes(&TrailerAgain { stream });
                }
                self.tell_outgoing(stream, TransferNews::Resumed);
            }
            Phase::Waiting | Phase::Rewinding | Phase::Wiring => {}
        }
        self.ensure_lanes();
    }

    /// The receiver does not take it, or gives it up.
    pub(super) fn on_denied(&mut self, stream: u64, failure: Failure) {
        if let Some(out) = self.outgoing.get(&stream) {
            out.state.set_denied(&failure);
        }
        self.end_outgoing(stream, Err(failure));
    }

    /// An acceptance of what is not under way: it crossed the word that it has ended, or is of an attempt before the last.
    fn say_unknown(&mut self, stream: u64) {
        let failure = self.ended.iter().find(|(ended, _)| *ended == stream).map(|(_, failure)| failure.clone());
        self.say(failure.map_or(Control::Unknown { stream }, |failure| Control::Fail { stream, failure }));
    }

    /// What the receiver could not keep as it was sent.
    pub(super) fn on_remarks(&mut self, stream: u64, lines: Vec<String>) {
        let Some(out) = self.outgoing.get(&stream) else { return };
        let lines: Vec<_> = lines.iter().map(|line| printable(line).to_string()).collect();
        out.state.update(|status| status.remarks.clone_from(&lines));
        self.tell_outgoing(stream, TransferNews::Remarks { lines });
    }

    /// The receiver has no room yet.
    pub(super) fn on_waiting(&mut self, stream: u64, running: u32) {
        if self.outgoing.get(&stream).is_some_and(|out| out.phase == Phase::Offered) {
            self.tell_outgoing(stream, TransferNews::Waiting { running });
        }
    }

    /// Starts the chains on all lanes and the chunker on the transfer's own thread.
    fn wire(&mut self, stream: u64, ctx: &mut Context<Self>) {
        let Some(out) = self.outgoing.get_mut(&stream) else { return };
        let most = self.link.as_ref().map_or(1, |link| usize::from(link.lanes)).clamp(1, self.lanes.len());
        let (stages, suite) = (out.opening.stages.clone(), out.transfer.scope.suite);
        let asks: Vec<_> =
            self.lanes[..most].iter().map(|lane| lane.address.send(SendingChain { stages: stages.clone(), suite })).collect();
        let niceness = self.shared.config.bulk_niceness;
        let thread = match out.thread.clone().map_or_else(|| DiskThread::start(niceness), Ok) {
            Ok(thread) => Arc::clone(out.thread.insert(thread)),
            Err(failure) => return self.fail(stream, failure),
        };
        let (transfer, shared, session) = (Arc::clone(&out.transfer), Arc::clone(&self.shared), ctx.address());
        actix::spawn(async move {
            let mut replicas = Vec::new();
            for ask in asks {
                match ask.await {
                    Ok(Ok(replica)) => replicas.push(replica),
                    Ok(Err(error)) => return session.do_send(Wired { stream, outcome: Err(error.to_string()) }),
                    Err(error) => return session.do_send(Wired { stream, outcome: Err(error.to_string()) }),
                }
            }
            let outlet = Balanced::new(replicas);
            let seat = ChunkerSeat { transfer, outlet: outlet.clone() };
            let chunker = thread.run(move || shared.registry.start_chunker(seat)).await.flatten();
            let outcome = chunker.map(|chunker| (outlet, chunker)).ok_or_else(|| "the chunker could not be started".to_owned());
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

    pub(super) fn on_delivered(&mut self, stream: u64, receipt: Receipt, enclosed: Option<Receipt>) {
        let Some(out) = self.outgoing.get(&stream) else { return self.say(Control::Done { stream }) };
        let scope = out.transfer.scope;
        let vouched = out.transfer.key.receipt(scope.transfer, scope.attempt, "delivered", &receipt.digest);
        if blake3::Hash::from_bytes(vouched) != blake3::Hash::from_bytes(receipt.mac) {
            let text = "the receipt is not authentic: it was not made by the receiver of this transfer";
            return self.fail(stream, Failure::new(FailureKind::Integrity, text));
        }
        let wrong = match out.transfer.sent_digest() {
            Some(digest) if digest == receipt.digest => None,
            Some(_) => Some("the receiver committed other content than was sent"),
            // An earlier attempt, of this process or of one that died, may have brought it.
            None if scope.attempt > 0 => None,
            // An earlier delivery has, and its sender can tell that it is the same.
            None if out.known.as_ref().is_some_and(|known| known.digest == receipt.digest) => None,
            None => Some("the receiver says that it has the content, before all of it was sent"),
        };
        if let Some(text) = wrong {
            return self.fail(stream, Failure::new(FailureKind::Integrity, text));
        }
        if let Some(enclosed) = enclosed {
            out.state.set_enclosed(enclosed);
        }
        out.state.set_proof(out.transfer.key.receipt(scope.transfer, scope.attempt, "processed", &receipt.digest));
        if out.phase == Phase::Offered && out.known.is_some() {
            self.already_there(stream);
        }
        self.say(Control::Done { stream });
        self.end_outgoing(stream, Ok(receipt));
    }

    /// Says that nothing of it is sent.
    fn already_there(&mut self, stream: u64) {
        let Some(out) = self.outgoing.get(&stream) else { return };
        let report = out.known.as_ref().map(|known| known.report.clone()).unwrap_or_default();
        out.state.update(|status| (status.already_there, status.report) = (true, report.clone()));
        let news = TransferNews::AlreadyThere { content: out.content.clone(), inbox: out.opening.inbox.clone() };
        self.tell_outgoing(stream, news);
    }

    /// Begins anew under a new key, from the start of the content.
    fn restart(&mut self, stream: u64, why: &str) {
        let Some(out) = self.outgoing.get(&stream) else { return };
        let (id, attempt, chunk_size, compression) =
            (out.id(), out.transfer.scope.attempt + 1, out.transfer.scope.chunk_size, out.compression);
        let tried = attempt - out.first_attempt;
        if tried >= ATTEMPTS * 8 {
            return self.fail(stream, Failure::new(FailureKind::Unreachable, format!("given up after {tried} attempts: {why}")));
        }
        let stages = out.opening.stages.clone();
        let (transfer, new_stream) = self.new_attempt(id, attempt, chunk_size, compression, &stages);
        let mut out = self.outgoing.remove(&stream).expect("it was there above");
        tracing::warn!(transfer = %id, attempt, why, "beginning anew");
        self.forget(stream, &out.transfer);
        out.gate.send_modify(|gate| gate.stopped = true);
        out.gate = watch::channel(Gate::default()).0;
        out.opening = Opening { stream: new_stream, attempt, key: key_of(&transfer), commit: transfer.key.commitment(), ..out.opening };
        (out.transfer, out.outlet, out.chunker, out.phase) = (transfer, None, None, Phase::Rewinding);
        if let Some(runner) = &out.runner {
            runner.do_send(Rewind { stream: new_stream });
        }
        self.outgoing.insert(new_stream, out);
        self.tell_outgoing(new_stream, TransferNews::Restarted { attempt, why: why.to_owned() });
    }

    pub(super) fn end_outgoing(&mut self, stream: u64, outcome: Outcome) {
        let Some(out) = self.outgoing.remove(&stream) else { return };
        self.forget(stream, &out.transfer);
        out.gate.send_modify(|gate| gate.stopped = true);
        let news = match &outcome {
            Ok(receipt) => TransferNews::Delivered { receipt: receipt.clone() },
            Err(failure) => {
                self.ended.push_back((stream, failure.clone()));
                if self.ended.len() > ENDED {
                    self.ended.pop_front();
                }
                TransferNews::Failed { failure: failure.clone() }
            }
        };
        // What is stored may be tried again, and a package may have come no farther than a relay: its outbox tells how it ends.
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

    pub(super) fn pause_outgoing(&mut self, stream: u64, paused: bool) {
        if let Some(out) = self.outgoing.get(&stream) {
            out.gate.send_modify(|gate| gate.paused = paused);
            self.tell_outgoing(stream, if paused { TransferNews::Paused } else { TransferNews::Resumed });
        }
    }

    pub(super) fn outgoing_progress(&self) {
        for out in self.outgoing.values().filter(|out| out.phase == Phase::Running) {
            let (bytes, total) = (out.transfer.done_bytes(), out.content.length);
            if out.state.progressed(bytes, total) {
                self.tell(out.id(), Direction::Outgoing, TransferNews::Progress { bytes, total });
            }
        }
    }

    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        let over: Vec<_> = self.outgoing.iter().filter(|(_, out)| out.deadline < now).map(|(&stream, _)| stream).collect();
        for stream in over {
            self.fail(stream, Failure::new(FailureKind::Expired, "the delivery was not done before it expired"));
        }
        self.expire_incoming();
    }
}

fn key_of(transfer: &Transfer) -> SecretBytes {
    SecretBytes::new(*transfer.key.as_bytes())
}

impl Handler<Start> for Session {
    type Result = ();

    fn handle(&mut self, start: Start, ctx: &mut Context<Self>) {
        let Start { source, content, inbox, options, attempt, created, life, state } = start;
        self.heard += 1;
        if self.closing || !self.draining.is_empty() {
            return state.end(Err(Failure::new(FailureKind::Shutdown, "the node is shutting down")));
        }
        if self.outgoing.len() >= self.shared.config.transfers_per_peer {
            return state.end(Err(Failure::new(FailureKind::Busy, "too many transfers wait for this peer already")));
        }
        let chunk_size = options.chunk_size.unwrap_or(self.shared.config.chunk_size);
        let compression = options.compression.unwrap_or(self.shared.config.compression);
        let (transfer, stream) = self.new_attempt(state.id, attempt, chunk_size, compression, &options.stages);
        let known = source.known();
        let opening = Opening {
            stream,
            transfer: state.id,
            attempt,
            key: key_of(&transfer),
            commit: transfer.key.commitment(),
            inbox,
            content: content.clone(),
            chunk_size,
            suite: transfer.scope.suite,
            stages: options.stages,
            version: known.as_ref().map(|known| known.digest).or_else(|| source.version()),
            created,
            expires: now().saturating_add(life.as_secs()),
            remaining: life.as_secs(),
        };
        let window = self.shared.config.window.max(2 * chunk_size as usize);
        let window = window_for(window, chunk_size, content.length);
        let out = OutgoingTransfer {
            transfer,
            state,
            outlet: None,
            opening,
            compression,
            phase: Phase::Waiting,
            content,
            known,
            source: Some(source),
            runner: None,
            chunker: None,
            thread: None,
            gate: watch::channel(Gate::default()).0,
            budget: Budget::new(window),
            room: None,
            waiting: None,
            said_pause: None,
            first_attempt: attempt,
            // What was given a second has it to the end.
            deadline: Instant::now() + life + Duration::from_secs(1),
            moved: (0, Instant::now()),
            window,
        };
        if self.is_idle() && self.link.is_none() {
            self.down_since = Instant::now();
        }
        self.outgoing.insert(stream, out);
        self.watch_progress(ctx);
        self.seek_room(ctx);
        self.ensure_link(ctx);
    }
}

impl Handler<Admitted> for Session {
    type Result = ();

    fn handle(&mut self, Admitted { stream, room }: Admitted, _: &mut Context<Self>) {
        if let Some(out) = self.outgoing.get_mut(&stream) {
            (out.room, out.moved) = (Some(room), (0, Instant::now()));
            out.phase = Phase::Offered;
            self.offer(stream);
        }
    }
}

/// A transfer waits for room at this end.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct NoRoomHere {
    stream: u64,
}

impl Handler<NoRoomHere> for Session {
    type Result = ();

    fn handle(&mut self, NoRoomHere { stream }: NoRoomHere, _: &mut Context<Self>) {
        if self.outgoing.get(&stream).is_some_and(|out| out.phase == Phase::Waiting) {
            let running = self.outgoing.values().filter(|out| out.room.is_some()).count();
            self.tell_outgoing(stream, TransferNews::Waiting { running: u32::try_from(running).unwrap_or(u32::MAX) });
        }
    }
}

impl Handler<Wired> for Session {
    type Result = ();

    fn handle(&mut self, Wired { stream, outcome }: Wired, ctx: &mut Context<Self>) {
        let Some(out) = self.outgoing.get_mut(&stream) else { return };
        let (outlet, chunker) = match outcome {
            Ok(wired) => wired,
            Err(text) => return self.fail(stream, Failure::new(FailureKind::Stage, text)),
        };
        out.phase = Phase::Running;
        (out.outlet, out.chunker) = (Some(outlet), Some(chunker.clone()));
        let thread = out.thread.as_ref().expect("wiring started it");
        let runner = match (out.runner.clone(), out.source.take()) {
            (Some(runner), _) => runner,
            (None, Some(source)) => {
                let (session, guard) = (ctx.address(), Arc::clone(thread));
                SourceRunner::start_in_arbiter(&thread.handle(), move |_| SourceRunner::new(source, session, guard))
            }
            (None, None) => return,
        };
        runner.do_send(Run {
            stream,
            transfer: Arc::clone(&out.transfer),
            chunker,
            gate: out.gate.subscribe(),
            budget: out.budget.clone(),
            slots: self.slots.clone(),
            metrics: self.shared.metrics.stage("source"),
        });
        out.runner = Some(runner);
    }
}

impl Handler<SourceEnded> for Session {
    type Result = ();

    fn handle(&mut self, SourceEnded { stream, outcome }: SourceEnded, _: &mut Context<Self>) {
        let Some(out) = self.outgoing.get(&stream) else { return };
        match outcome {
            Ok(report) if report.skipped_total > 0 => {
                out.state.update(|status| status.report = report.clone());
                let news = TransferNews::Skipped { entries: report.skipped, total: report.skipped_total };
                self.tell_outgoing(stream, news);
            }
            Ok(report) => out.state.update(|status| status.report = report.clone()),
            Err(error @ SourceError::Changed { .. }) if out.transfer.scope.attempt + 1 < out.first_attempt + ATTEMPTS => {
                let why = error.to_string();
                let failure = Failure::new(FailureKind::Changed, why.clone());
                self.say(Control::Fail { stream, failure });
                self.restart(stream, &why);
            }
            Err(error) => {
                self.fail(stream, error.into());
            }
        }
    }
}

impl Handler<Rewound> for Session {
    type Result = ();

    fn handle(&mut self, Rewound { stream, outcome }: Rewound, _: &mut Context<Self>) {
        let Some(out) = self.outgoing.get_mut(&stream) else { return };
        match outcome {
            Ok((content, version)) => {
                (out.opening.content, out.content, out.opening.version) = (content.clone(), content, version);
                out.phase = Phase::Offered;
                self.offer(stream);
            }
            Err(error) => self.fail(stream, error.into()),
        }
    }
}
