//! The hand that carries out what was decided about a delivery.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::files::disown;
use super::held::{Held, record};
use super::schedule::backoff;
use super::stored::{Action, At, Tell, Wait};
use super::{ASK_RELAY, Outbox, OutboxEntry, TABLE, TICK, jitter, write_to};
use crate::delivery::{Failure, FailureKind, TransferId};
use crate::node::events::{Direction, NodeEvent, TransferEvent, TransferNews};
use crate::node::sessions::{Command, Noted, Order, SayPassed};
use crate::node::transfer::TransferState;
use crate::store::Change;

impl Outbox {
    /// The moment, as decisions take it.
    pub(super) fn at(&self) -> At {
        At { passed: self.shared.clock.now().passed, stopping: self.stopping }
    }

    /// Carries out what was decided about a delivery.
    pub(super) fn carry_out(
        &mut self,
        mut id: TransferId,
        actions: Vec<Action>,
        ctx: &mut Context<Self>,
    ) {
        for action in actions {
            if let Action::Rename(new) = action {
                id = self.rename(id, new);
            } else {
                self.act(id, action, ctx);
            }
        }
        if let Some(held) = self.entries.get_mut(&id) {
            held.account_for(&self.shared);
        }
        self.look_again(ctx);
    }

    fn act(&mut self, id: TransferId, action: Action, ctx: &mut Context<Self>) {
        let Some(held) = self.entries.get_mut(&id) else { return };
        let (hop, turn, now) = (held.entry().next_hop(), held.entry().turn(), Instant::now());
        match action {
            Action::Put => {
                let change = held.record(id).map(|record| vec![record]);
                self.write(id, change, ctx);
            }
            Action::Remove => self.write(id, Ok(vec![removal(id)]), ctx),
            Action::Replace(entry, new) => {
                let change = replacement(id, &entry, new);
                self.write(id, change, ctx);
            }
            Action::Try { counted } => self.start_try(id, counted, ctx),
            Action::NotTried => self.schedule.ended(hop, true, now, 0.0),
            Action::StopTry => {
                held.cancelled.set(true);
                self.sessions.command(Command { transfer: id, what: Order::Cancel });
            }
            Action::StopStoring => {
                // Who is not there any more has stored it.
                let _ = held.stop.take().map(|stop| stop.send(()));
            }
            Action::Wait(wait) => {
                let hop = self.plan_anew(id).unwrap_or(hop);
                self.schedule.wait(hop, turn, id, now + time_of(wait));
            }
            Action::Withdraw => self.schedule.withdraw(hop, turn, id),
            Action::Hurry => self.schedule.hurry(hop, turn, id, now),
            Action::Close => held.source = None,
            Action::Noted(peer, what) => {
                self.sessions.noted(peer, Noted { transfer: id, what });
            }
            Action::Doubt(peer, why) => tracing::warn!(transfer = %id, %peer, "{why}"),
            Action::Pass(to, word) => {
                let transfer = held.entry().known_as(id);
                self.sessions.say(to, SayPassed { transfer, word });
            }
            Action::Renew => {
                let entry = held.entry();
                held.state = Arc::new(TransferState::stored(id, entry.peer, entry.length));
            }
            Action::Tell(what) => self.tell(id, what),
            Action::Answer(is_stored) => answer(id, held, is_stored),
            Action::Discard => self.discard_file(id, ctx),
            Action::Forget => drop(self.entries.remove(&id)),
            Action::Rename(_) => {}
        }
    }

    /// Makes changes durable, off this thread.
    fn write(&mut self, id: TransferId, changes: io::Result<Vec<Change>>, ctx: &mut Context<Self>) {
        let spool = Arc::clone(&self.spool);
        let forgets = |changes: &Vec<Change>| {
            changes.iter().any(|change| matches!(change, Change::Remove { .. }))
        };
        // Who made it must not take it for something that was not sent yet.
        let parts = changes.as_ref().is_ok_and(forgets).then(|| self.parts_of(id)).flatten();
        let written = async move {
            let changes = changes?;
            if let Some(parts) = parts {
                disown(parts).await?;
            }
            write_to(spool, changes).await
        };
        self.writing += 1;
        ctx.spawn(written.into_actor(self).map(move |outcome, outbox, ctx| {
            outbox.writing -= 1;
            let at = outbox.at();
            if let Some(held) = outbox.entries.get_mut(&id) {
                if let Err(error) = &outcome {
                    tracing::error!(transfer = %id, %error, "{}", held.stored.changing());
                }
                let asked = held.asked.take();
                let actions = held.stored.written(outcome.is_ok(), at);
                outbox.carry_out(id, actions, ctx);
                // Whoever asked may be gone.
                let _ = asked.map(|asked| asked.send(outcome));
            }
            outbox.try_what_is_due(ctx);
            outbox.look_settled();
        }));
    }

    /// Renews a delivery that lives again: it waits to be told of its end from now on, and has the
    /// room it takes charged anew; under another id, if there is one.
    fn rename(&mut self, id: TransferId, new: Option<TransferId>) -> TransferId {
        let new = new.unwrap_or(id);
        if let Some(held) = self.entries.remove(&id) {
            let (peer, length) = (held.entry().peer, held.entry().length);
            let state = Arc::new(TransferState::stored(new, peer, length));
            let is_loaded = held.is_loaded;
            self.entries.insert(new, Held { is_loaded, ..Held::new(held.stored, state) });
        }
        new
    }

    /// Tells those who listen that a delivery is a dead letter.
    pub(super) fn tell_dead(&self, id: TransferId, failure: Failure) {
        let Some(held) = self.entries.get(&id) else { return };
        let entry = held.entry();
        tracing::error!(
            transfer = %entry.known_as(id), name = entry.name, %failure,
            "a delivery became a dead letter"
        );
        self.shared.emit(NodeEvent::failed(id, entry.peer, failure));
    }

    /// Tells whoever waits for a delivery, or listens.
    pub(super) fn tell(&mut self, id: TransferId, what: Tell) {
        let Some(held) = self.entries.get(&id) else { return };
        let (entry, state) = (held.entry(), &held.state);
        let outgoing = |news| {
            NodeEvent::Transfer(TransferEvent {
                transfer: id,
                peer: entry.peer,
                direction: Direction::Outgoing,
                news,
            })
        };
        match what {
            Tell::Delivered { receipt, processed, arrives } => {
                if arrives && entry.is_package() {
                    let receipt = receipt.clone();
                    self.shared.emit(outgoing(TransferNews::Delivered { receipt }));
                }
                if processed {
                    state.update(|status| status.processed = true);
                }
                state.end(Ok(receipt));
            }
            Tell::Dead(failure) if self.shared.retried.has(id, &failure) => {
                tracing::info!(
                    transfer = %id, name = entry.name, %failure,
                    "a delivery was refused, and will be tried again"
                );
                self.shared.emit(outgoing(TransferNews::Deferred { failure: failure.clone() }));
                state.end(Err(failure));
            }
            Tell::Dead(failure) => {
                self.tell_dead(id, failure.clone());
                state.end(Err(failure));
            }
            Tell::StillDead(failure) => state.end(Err(failure)),
            Tell::Relayed => {
                let relay = entry.next_hop();
                state.update(|status| status.relayed = true);
                self.shared.emit(outgoing(TransferNews::Relayed { relay }));
            }
            Tell::Removed { unsure } => {
                let failure = taken_out(unsure);
                if entry.is_open() && held.recalled {
                    self.shared.emit(outgoing(TransferNews::Recalled));
                } else if entry.is_open() {
                    self.shared.emit(NodeEvent::failed(id, entry.peer, failure.clone()));
                    self.withdrawn.note(id, entry, self.shared.clock.now().passed, &failure);
                }
                state.forget(failure);
            }
            Tell::Deferred(failure) => {
                self.shared.emit(outgoing(TransferNews::Deferred { failure }));
            }
            Tell::Later(failure) => state.end(Err(stored_for_later(failure.as_ref()))),
            Tell::Unstored => state.end(Err(not_stored(held.unstored.as_ref()))),
        }
    }
}

/// Answers whoever gave a delivery to be stored.
fn answer(id: TransferId, held: &mut Held, is_stored: bool) {
    let error = held.unstored.take();
    if let (true, Some(error)) = (is_stored, &error) {
        tracing::warn!(
            transfer = %id, %error,
            "a delivery that could not be stored was made at once"
        );
    }
    let answer = if is_stored { Ok(()) } else { Err(error.unwrap_or(super::OutboxError::None)) };
    // Whoever asked may be gone.
    let _ = held.giver.take().map(|giver| giver.send(answer));
}

fn time_of(wait: Wait) -> Duration {
    match wait {
        Wait::None => Duration::ZERO,
        Wait::Tick => TICK,
        Wait::Backoff(tries) => backoff(tries, jitter()),
        Wait::AskRelay => ASK_RELAY,
    }
}

fn removal(id: TransferId) -> Change {
    Change::Remove { table: TABLE, key: id.as_bytes().to_vec() }
}

fn replacement(
    id: TransferId,
    entry: &OutboxEntry,
    new: Option<TransferId>,
) -> io::Result<Vec<Change>> {
    let forget = new.map(|_| removal(id));
    Ok(forget.into_iter().chain([record(new.unwrap_or(id), entry)?]).collect())
}

/// Returns the failure of what was taken out. What was sent whole, and of which the receiver has not
/// said whether it has it, may have been delivered.
fn taken_out(unsure: bool) -> Failure {
    if !unsure {
        return Failure::new(FailureKind::Cancelled, "taken out of the outbox");
    }
    Failure::new(
        FailureKind::Unknown,
        "taken out of the outbox; it was sent before, and the receiver did not say how that ended: \
         it may have been delivered",
    )
}

fn not_stored(why: Option<&super::OutboxError>) -> Failure {
    let why = why.map(ToString::to_string).unwrap_or_default();
    Failure::new(FailureKind::Cancelled, format!("it was not stored: {why}"))
}

fn stored_for_later(last: Option<&Failure>) -> Failure {
    let text =
        "the node stopped; the delivery is stored, and goes on when the node is started again";
    let last = last.map_or(String::new(), |failure| format!(" ({failure})"));
    Failure::new(FailureKind::Shutdown, format!("{text}{last}"))
}
