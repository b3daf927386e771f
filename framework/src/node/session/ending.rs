//! How transfers from the peer end.
//!
//! Invariant: as long as a sink may commit, nobody says that it has failed; but for a session that ends, which waits for it for a
//! while only. A sink that runs is told to stop, and answers that it has, or that it has committed; then the delivery is made, is
//! remembered, and is told as such at both ends, whoever gave it up.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use actix::{Context, Handler};

use super::Session;
use super::incoming::{IncomingTransfer, Stage};
use super::signals::{Inside, Kept};
use crate::delivery::{ContentKind, Failure, FailureKind, KeyScope, TransferId};
use crate::node::events::{Direction, NodeEvent, TransferEvent, TransferNews};
use crate::node::lane::Forget;
use crate::node::memory::delivery_key;
use crate::node::outbox::ATTEMPTS_PER_TRY;
use crate::pipeline::Stop;
use crate::wire::{Control, PeerId};

/// How many processes of a peer are remembered: one that speaks again after another one shows that both run.
const PROCESSES: usize = 8;

/// What a transfer ends with when its sink has stopped.
#[derive(Debug)]
pub(super) struct Ending {
    failure: Failure,
    /// A later attempt may go on with what is here.
    keep: bool,
    /// The sender does not know yet.
    tell: bool,
}

/// Whose it is, what it is called there, and what has become of it.
type Ended = (PeerId, TransferId, TransferNews);

impl Session {
    /// Ends an incoming transfer, unless it turns out to be committed; the sender is told, if it has not said so itself.
    pub(super) fn stop_incoming(&mut self, stream: u64, failure: Failure, tell: bool) {
        // What the sender may come back with is kept as far as it is durable.
        let keep = matches!(failure.kind, FailureKind::Shutdown | FailureKind::Unreachable | FailureKind::Busy);
        self.end_incoming(stream, Ending { failure, keep, tell });
    }

    /// Ends an attempt that a later one may go on from.
    pub(super) fn suspend_incoming(&mut self, stream: u64, failure: Failure) {
        self.end_incoming(stream, Ending { failure, keep: true, tell: false });
    }

    fn end_incoming(&mut self, stream: u64, ending: Ending) {
        let has_spool = self.shared.spool.is_some();
        let Some(known) = self.incoming.get_mut(&stream) else { return };
        if let Some(earlier) = &mut known.ending {
            earlier.tell |= ending.tell;
            if earlier.keep && !ending.keep {
                (earlier.failure, earlier.keep) = (ending.failure, false);
            }
            return;
        }
        // An earlier attempt may have left something, which is thrown away when it is this one's turn to look.
        let leaves_nothing = ending.keep || !has_spool || known.opening.attempt == 0;
        match known.stage {
            // It is delivered, and that is said when it is durable.
            Stage::Remembering => return,
            Stage::Waiting(_) if leaves_nothing => {
                known.ending = Some(ending);
                return self.end_stopped(stream);
            }
            Stage::Waiting(_) if ending.tell => {
                let (failure, scope) = (ending.failure.clone(), known.transfer.scope);
                known.ending = Some(Ending { tell: false, ..ending });
                self.say_failed(stream, scope, failure);
            }
            Stage::Waiting(_) | Stage::Opening | Stage::Writing(_) => known.ending = Some(ending),
        }
        let Some(known) = self.incoming.get(&stream) else { return };
        known.transfer.close();
        self.forget_losses(stream);
        self.lanes.iter().for_each(|lane| lane.address.do_send(Forget { stream }));
        self.tell_sink(stream);
    }

    /// Tells the sink of a transfer that is to end, if it runs.
    pub(super) fn tell_sink(&mut self, stream: u64) {
        let Some(known) = self.incoming.get_mut(&stream) else { return };
        if let (Some(Ending { failure, keep, .. }), Stage::Writing(abort)) = (&known.ending, &mut known.stage)
            && let Some(abort) = abort.take()
        {
            let reason = failure.message.clone();
            // An assembler that is gone has said its last word already.
            let _ = abort.send(if *keep { Stop::Suspend(reason) } else { Stop::Discard(reason) });
        }
    }

    /// The sink of a transfer has stopped, or there was none.
    pub(super) fn stopped(&mut self, stream: u64, ctx: &mut Context<Self>) {
        if self.incoming.get(&stream).is_some_and(|known| known.ending.is_none()) {
            let text = "the assembler stopped before the delivery was done; see its node's log";
            return self.fail_at_once(stream, Failure::new(FailureKind::Stage, text).in_stage("assembler"), ctx);
        }
        self.end_stopped(stream);
        self.begin_what_waited(ctx);
    }

    /// The sink of a transfer is not there any more: by its own fault, if it was not told to stop.
    pub(super) fn fail_at_once(&mut self, stream: u64, failure: Failure, ctx: &mut Context<Self>) {
        if let Some(known) = self.incoming.get_mut(&stream) {
            known.ending.get_or_insert(Ending { failure, keep: false, tell: true });
        }
        self.end_stopped(stream);
        self.begin_what_waited(ctx);
    }

    fn end_stopped(&mut self, stream: u64) {
        let ending = self.incoming.get_mut(&stream).and_then(|known| Some((known.ending.take()?, known.transfer.scope)));
        let Some((Ending { failure, keep, tell }, scope)) = ending else { return };
        if keep
            && let Some(known) = self.incoming.get(&stream)
            && known.opening.version.is_some()
            && known.opening.content.kind != ContentKind::Package
        {
            // Without a note by then it is forgotten at the next look.
            self.shared.partials.left(delivery_key(self.peer, scope.transfer), known.transfer.done_bytes());
        }
        if tell {
            self.say_failed(stream, scope, failure.clone());
        }
        self.take_out(stream, Err(failure));
    }

    /// Ends what its sinks have not answered for when the session ends: the only word that is said too early, and the sender may
    /// come back for it.
    pub(super) fn leave_incoming(&mut self) {
        for stream in self.incoming.keys().copied().collect::<Vec<_>>() {
            self.end_stopped(stream);
        }
    }

    fn say_failed(&mut self, stream: u64, KeyScope { transfer, attempt, .. }: KeyScope, failure: Failure) {
        if failure.kind == FailureKind::Cancelled {
            let given_up = GivenUp { attempt, failure: failure.clone(), said: self.link.is_some() };
            self.shared.given_up.note(self.peer, transfer, given_up);
        }
        self.say(Control::Fail { stream, failure });
    }

    /// An earlier attempt was being remembered when this one was made.
    pub(super) fn was_remembered(&mut self, stream: u64, ctx: &mut Context<Self>) {
        if let Some(known) = self.incoming.remove(&stream) {
            known.transfer.close();
            self.on_open(known.opening, ctx);
            self.later.extend(known.next.map(|next| *next));
        }
        self.settle();
        self.begin_what_waited(ctx);
    }

    pub(super) fn close_incoming(&mut self, stream: u64, outcome: Result<Ended, Failure>, ctx: &mut Context<Self>) {
        self.take_out(stream, outcome);
        self.begin_what_waited(ctx);
    }

    fn take_out(&mut self, stream: u64, outcome: Result<Ended, Failure>) {
        let Some(known) = self.incoming.remove(&stream) else { return };
        known.transfer.close();
        self.forget_losses(stream);
        self.lanes.iter().for_each(|lane| lane.address.do_send(Forget { stream }));
        let failed = |failure| (self.peer, known.id(), TransferNews::Failed { failure });
        let ((peer, transfer, news), direction) = (outcome.unwrap_or_else(failed), Direction::Incoming);
        self.later.extend(known.next.map(|next| *next));
        self.shared.emit(NodeEvent::Transfer(TransferEvent { transfer, peer, direction, news }));
        self.settle();
    }

    /// Takes up attempts that waited for an earlier one to end.
    pub(super) fn begin_what_waited(&mut self, ctx: &mut Context<Self>) {
        for opening in std::mem::take(&mut self.later) {
            self.on_open(opening, ctx);
        }
    }

    /// The sender gives up a transfer.
    pub(super) fn on_fail(&mut self, stream: u64, failure: Failure) {
        for known in self.incoming.values_mut() {
            known.next.take_if(|next| next.stream == stream);
        }
        self.stop_incoming(stream, failure, false);
    }

    /// The sender does not know what was accepted: it has ended there, or a later attempt has taken its place.
    pub(super) fn on_unknown(&mut self, stream: u64) {
        self.stop_incoming(stream, Failure::new(FailureKind::Unreachable, "its sender has given it up"), false);
    }

    /// The peer tells which of its processes this is: what another one began has ended with it, or is cut off by it.
    pub(super) fn on_process(&mut self, incarnation: [u8; 16]) {
        let earlier = self.peer_processes.last().copied();
        if earlier == Some(incarnation) {
            return;
        }
        // A process that has ended does not come back: both run.
        if self.peer_processes.contains(&incarnation) && !std::mem::replace(&mut self.key_shared, true) {
            tracing::warn!(peer = %self.name, "two programs run with the key of this peer, and take the link from each other");
            self.shared.emit(NodeEvent::KeyShared { key: self.peer, link: self.peer });
        }
        self.peer_processes.retain(|process| *process != incarnation);
        self.peer_processes.push(incarnation);
        let excess = self.peer_processes.len().saturating_sub(PROCESSES);
        self.peer_processes.drain(..excess);
        if earlier.is_some() {
            for stream in self.incoming.keys().copied().collect::<Vec<_>>() {
                let text = "the sender's process has ended, and a new one has come";
                self.stop_incoming(stream, Failure::new(FailureKind::Unreachable, text), false);
            }
        }
    }

    /// Tells the sender that there is no room for a transfer yet, and how much of it is its own.
    pub(super) fn say_waiting(&mut self, stream: u64) {
        let waits = |known: &IncomingTransfer| matches!(known.stage, Stage::Waiting(_)) && known.ending.is_none();
        if self.incoming.get(&stream).is_some_and(waits) {
            let running = self.incoming.values().filter(|known| !matches!(known.stage, Stage::Waiting(_))).count();
            self.say(Control::Waiting { stream, running: u32::try_from(running).unwrap_or(u32::MAX) });
        }
    }

    /// Ends for now what its sender does not go on with while others wait: nobody holds the room of all. What is here is kept.
    pub(super) fn suspend_stalled(&mut self) {
        let (stall, now) = (self.shared.config.stall, Instant::now());
        let others_wait = self.shared.waiting_in.load(Ordering::Relaxed) > 0;
        let mut stalled = Vec::new();
        let moves = |known: &IncomingTransfer| known.admitted && known.ending.is_none() && !matches!(known.stage, Stage::Remembering);
        for (&stream, known) in self.incoming.iter_mut().filter(|(_, known)| moves(known)) {
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
        let orphans = self.incoming.iter().filter(|(_, known)| known.offered_on != link.epoch).map(|(&stream, _)| stream);
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
}

/// Deliveries that were cancelled here, so that an offer which crosses that word, or comes because it was lost, does not begin
/// them again. Forgotten with the process.
#[derive(Debug, Default)]
pub(crate) struct Cancelled(Mutex<VecDeque<(PeerId, TransferId, GivenUp)>>);

#[derive(Debug)]
struct GivenUp {
    attempt: u32,
    failure: Failure,
    /// Whether there was a link to say it on.
    said: bool,
}

impl Cancelled {
    /// How many are remembered; the oldest goes first.
    const LIMIT: usize = 1024;

    fn note(&self, peer: PeerId, transfer: TransferId, given_up: GivenUp) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, id, _)| (*of, *id) != (peer, transfer));
        known.push_back((peer, transfer, given_up));
        if known.len() > Self::LIMIT {
            known.pop_front();
        }
    }

    /// What an offer of this attempt is answered with. An offer of a later try means that the word was heard, if it could be: the
    /// sender wants it all the same.
    pub(super) fn answer(&self, peer: PeerId, transfer: TransferId, attempt: u32) -> Option<Failure> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|(of, id, _)| (*of, *id) == (peer, transfer))?;
        let GivenUp { attempt: given_up, said, .. } = known[at].2;
        if attempt / ATTEMPTS_PER_TRY == given_up / ATTEMPTS_PER_TRY {
            known[at].2.said = true;
            return Some(known[at].2.failure.clone());
        }
        known.remove(at).filter(|_| !said).map(|(_, _, given_up)| given_up.failure)
    }
}

impl Handler<Kept> for Session {
    type Result = ();

    fn handle(&mut self, Kept { stream, attempt, outcome }: Kept, ctx: &mut Context<Self>) {
        let Some(known) = self.incoming.get(&stream).filter(|known| known.transfer.scope.attempt == attempt) else { return };
        let (is_package, transfer) = (known.opening.content.kind == ContentKind::Package, known.id());
        match outcome {
            Ok((receipt, inside)) => {
                let word = inside.as_ref().map(|inside| inside.receipt.clone());
                self.say(Control::Delivered { stream, receipt: receipt.clone(), enclosed: word });
                let peer = self.peer;
                let news = match inside {
                    // It came of who packed it, whoever carried it.
                    Some(Inside { sender, transfer, receipt }) => (sender, transfer, TransferNews::Delivered { receipt }),
                    None if is_package => (peer, transfer, TransferNews::Relayed { relay: self.shared.peer() }),
                    None => (peer, transfer, TransferNews::Delivered { receipt }),
                };
                self.close_incoming(stream, Ok(news), ctx);
            }
            Err(error) => {
                let text = format!("it was received, but the receiver's spool could not note that: {error}");
                self.fail_at_once(stream, Failure::new(FailureKind::Io, text), ctx);
            }
        }
    }
}
