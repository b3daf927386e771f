//! Deliveries that outlive the process: stored first, then tried until the receiver has them or
//! they expire.
//!
//! The outbox decides when a delivery is tried; a try is an ordinary transfer of a session, under a
//! fresh key, that goes on where the receiver stands. Invariant: a delivery leaves the outbox only
//! with a receipt, by its expiry, as a dead letter with its reason, or because somebody said so.

mod desk;
mod entry;
mod files;
mod held;
mod look;
mod orders;
mod relay;
mod schedule;
mod tries;
mod words;

use self::held::Held;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, StreamHandler, WrapFuture};
use tokio::sync::oneshot;

pub use self::desk::OutboxError;
pub(crate) use self::desk::{Deposit, Find, Given, Halt, List, Look, Seal, Settle};
#[cfg(test)]
pub(crate) use self::entry::tests::entry as entry_for_tests;
pub(crate) use self::entry::{Expected, Kept, PARTS, TABLE, is_readable};
pub use self::entry::{OutboxEntry, OutboxState};
pub(crate) use self::orders::{Order, OrderKind};
pub(crate) use self::relay::{AskedAgain, carried_as};
use self::schedule::Schedule;
use self::tries::TryEnded;
use super::blocking::surely;
use super::events::{Direction, NodeEvent, TransferEvent, TransferNews};
use super::hub::{Hub, ToSession};
use super::session::signals::{Noted, SayPassed};
use super::shared::NodeShared;
use super::snapshot::OutboxSeen;
use super::transfer::TransferState;
use crate::delivery::{Failure, FailureKind, TransferId};
use crate::store::{Change, Store};
use crate::wire::{PeerId, WordKind};

/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(250);
/// How often it is looked what has expired.
const SWEEP: Duration = Duration::from_secs(60);
/// How long a dead letter is kept for somebody to look at, in seconds.
const DEAD_KEPT: u64 = 30 * 24 * 3600;

pub(crate) struct Outbox {
    pub(super) shared: Arc<NodeShared>,
    spool: Arc<dyn Store>,
    hub: Addr<Hub>,
    entries: HashMap<TransferId, Held>,
    schedule: Schedule,
    /// Whether it will be looked what is due: not while nothing waits.
    looking: bool,
    /// It tries nothing more, and still stores what it is given.
    stopping: bool,
    /// It takes nothing more; who waits until what is being stored is.
    sealed: Option<Option<oneshot::Sender<()>>>,
    /// Who waits until nothing runs and nothing is being written.
    settling: Option<oneshot::Sender<()>>,
    /// Changes that are being written, and copies that are being removed.
    writing: usize,
    /// It tries nothing: another process will.
    dormant: bool,
    /// What was last seen of it, and when.
    seen: Option<(Instant, OutboxSeen)>,
}

/// What has happened to a delivery before it was stored: its first try may be under way while its
/// content is copied.
#[derive(Default)]
struct Storing {
    /// Has what is done before the record is written given up.
    stop: Option<oneshot::Sender<()>>,
    /// How the first try ended.
    ended: Option<TryEnded>,
    /// It could not be stored: whoever waits is answered when the first try has ended.
    failed: Option<(OutboxError, desk::Answer)>,
}

/// Says whether a change has become durable.
type Written = oneshot::Receiver<io::Result<()>>;

impl Outbox {
    /// Takes up what the spool holds.
    pub(crate) fn load(
        shared: Arc<NodeShared>,
        spool: Arc<dyn Store>,
        hub: Addr<Hub>,
        dormant: bool,
    ) -> io::Result<Self> {
        super::memory::sweep(spool.as_ref(), shared.clock.now())?;
        let (entries, schedule) = (HashMap::new(), Schedule::default());
        let mut outbox = Self {
            shared,
            spool,
            hub,
            entries,
            schedule,
            looking: false,
            stopping: false,
            sealed: None,
            settling: None,
            writing: 0,
            dormant,
            seen: None,
        };
        if !dormant {
            outbox.shared.take_up_partials()?;
            outbox.shared.stopped.take_up(
                outbox.spool.as_ref(),
                &outbox.shared.ledger,
                outbox.shared.clock.now().certain,
            )?;
            // Their notes stand in the same table.
            outbox.shared.stopped.keys().iter().for_each(|key| outbox.shared.partials.taken(key));
        }
        for (key, value) in outbox.spool.load(TABLE)? {
            match OutboxEntry::decode(&key, &value) {
                Some((id, entry)) => outbox.take_up(id, entry),
                None => {
                    let key = data_encoding::HEXLOWER.encode(&key);
                    tracing::error!(
                        key,
                        "the record of a delivery in the outbox can't be read; `estafette doctor` \
                         sets it aside"
                    );
                }
            }
        }
        if !dormant {
            outbox.remove_leftovers()?;
        }
        Ok(outbox)
    }

    fn take_up(&mut self, id: TransferId, entry: OutboxEntry) {
        let state = Arc::new(TransferState::stored(id, entry.peer, entry.length));
        match &entry.state {
            OutboxState::Delivered { receipt, .. } => state.end(Ok(receipt.clone())),
            OutboxState::Processed { receipt, .. } => {
                state.update(|status| status.processed = true);
                state.end(Ok(receipt.clone()));
            }
            OutboxState::Dead { failure, .. } => state.end(Err(failure.clone())),
            OutboxState::Stored | OutboxState::Relayed { .. } => {
                self.schedule.wait(entry.next_hop(), entry.created, id, Instant::now())
            }
        }
        // Of a process that died nobody knows what it had offered.
        let unsure = if entry.is_open() { entry.tries > 0 } else { entry.is_unsure() };
        self.entries.insert(id, Held { unsure, ..Held::new(entry, state) });
        self.account_for(id);
    }

    fn account_for(&mut self, id: TransferId) {
        if let Some(held) = self.entries.get_mut(&id) {
            held.account_for(&self.shared);
        }
    }

    /// Makes a change durable, off this thread; `then` runs when it is.
    fn write(
        &mut self,
        change: io::Result<Change>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, io::Result<()>, &mut Context<Self>) + 'static,
    ) {
        let spool = Arc::clone(&self.spool);
        let written = async move { write_to(spool, vec![change?]).await };
        self.writing += 1;
        ctx.spawn(written.into_actor(self).map(move |outcome, outbox, ctx| {
            outbox.writing -= 1;
            then(outbox, outcome, ctx);
            outbox.look_settled();
        }));
    }

    /// Notes how a delivery ended. It is over for those who wait when that is durable; where the
    /// store fails, that is said, and the delivery is found out again at the next start.
    fn conclude(&mut self, id: TransferId, state: OutboxState, ctx: &mut Context<Self>) {
        self.conclude_by(id, state, None, ctx);
    }

    /// The same, by the word of somebody, who is answered when it is durable.
    fn conclude_by(
        &mut self,
        id: TransferId,
        state: OutboxState,
        by: Option<(PeerId, WordKind)>,
        ctx: &mut Context<Self>,
    ) {
        let Some(held) = self.entries.get_mut(&id) else { return };
        let arrives = !matches!(held.entry.state, OutboxState::Delivered { .. });
        if matches!(held.entry.state, OutboxState::Dead { .. }) {
            // It had ended for those who waited, and wrongly.
            held.state = Arc::new(TransferState::stored(id, held.entry.peer, held.entry.length));
        }
        let before = by.map(|_| held.entry.state.clone());
        let state = held.as_far_as_known(state);
        (held.entry.state, held.busy, held.source) = (state, true, None);
        held.account_for(&self.shared);
        if let OutboxState::Dead { failure, .. } = &held.entry.state {
            tracing::error!(
                transfer = %id, name = held.entry.name, %failure,
                "a delivery became a dead letter"
            );
        }
        let change = held.record(id);
        self.write(change, ctx, move |outbox, written, ctx| {
            let failed =
                written.inspect_err(|error| tracing::error!(transfer = %id, %error, "the spool could not note how a delivery ended"));
            match (failed.is_err(), before) {
                // It is not answered, so it is said again.
                (true, Some(before)) => outbox.take_back(id, before),
                _ => outbox.tell_end(id, arrives, ctx),
            }
            if let (Ok(()), Some((peer, what))) = (failed, by) {
                outbox.hub.do_send(ToSession(peer, Noted { transfer: id, what }));
            }
            outbox.set_free(id, ctx);
            outbox.look_again(ctx);
        });
    }

    /// What was said of it could not be noted: it is as it was.
    fn take_back(&mut self, id: TransferId, before: OutboxState) {
        let Some(held) = self.entries.get_mut(&id) else { return };
        held.entry.state = before;
        held.account_for(&self.shared);
        if let OutboxState::Dead { failure, .. } = &held.entry.state {
            held.state.end(Err(failure.clone()));
        }
        if held.entry.is_open() {
            self.schedule.wait(held.entry.next_hop(), held.entry.created, id, Instant::now());
        }
    }

    /// Tells everybody how a delivery ended; `arrives` if this is the first that is heard of its
    /// arrival.
    fn tell_end(&mut self, id: TransferId, arrives: bool, ctx: &mut Context<Self>) {
        let Some(held) = self.entries.get(&id) else { return };
        let (peer, state) = (held.entry.peer, Arc::clone(&held.state));
        match &held.entry.state {
            OutboxState::Delivered { receipt, .. } | OutboxState::Processed { receipt, .. } => {
                let receipt = receipt.clone();
                if arrives && held.entry.is_package() {
                    let (news, direction) =
                        (TransferNews::Delivered { receipt: receipt.clone() }, Direction::Outgoing);
                    self.shared.emit(NodeEvent::Transfer(TransferEvent {
                        transfer: id,
                        peer,
                        direction,
                        news,
                    }));
                }
                if matches!(held.entry.state, OutboxState::Processed { .. }) {
                    state.update(|status| status.processed = true);
                }
                self.discard_file(id, ctx);
                state.end(Ok(receipt));
                self.pass_on(id);
            }
            OutboxState::Dead { failure, .. } => {
                let failure = failure.clone();
                if held.entry.relayed_for.is_some() {
                    // Who packed it has another one. A dead letter here takes no more room than its
                    // record.
                    self.discard_file(id, ctx);
                }
                self.shared.emit(NodeEvent::failed(id, peer, failure.clone()));
                state.end(Err(failure));
                self.pass_on(id);
            }
            OutboxState::Relayed { .. } => {
                let (news, direction) =
                    (TransferNews::Relayed { relay: held.entry.next_hop() }, Direction::Outgoing);
                self.shared.emit(NodeEvent::Transfer(TransferEvent {
                    transfer: id,
                    peer,
                    direction,
                    news,
                }));
            }
            OutboxState::Stored => {}
        }
    }

    /// Takes a delivery out. It is over for those who wait when that is durable; where the store
    /// fails, it stays.
    fn remove(&mut self, id: TransferId, ctx: &mut Context<Self>) -> Written {
        let (answer, written) = oneshot::channel();
        let Some(held) = self.entries.get_mut(&id) else { return written };
        held.busy = true;
        self.schedule.withdraw(held.entry.next_hop(), held.entry.created, id);
        let change = Change::Remove { table: TABLE, key: id.as_bytes().to_vec() };
        self.write(Ok(change), ctx, move |outbox, outcome, ctx| {
            match (outbox.entries.get_mut(&id), &outcome) {
                (Some(held), Ok(())) => {
                    let failure = Failure::new(FailureKind::Cancelled, "taken out of the outbox");
                    if held.entry.is_open() {
                        outbox.shared.emit(NodeEvent::failed(id, held.entry.peer, failure.clone()));
                        if let Some(sender) = held.entry.relayed_for {
                            let transfer = held.entry.known_as(id);
                            outbox.hub.do_send(ToSession(
                                sender,
                                SayPassed { transfer, word: relay::gone() },
                            ));
                        }
                    }
                    held.state.end(Err(failure));
                    // One that was given up here has none any more, and who packed it may be about
                    // to send it again.
                    if held.entry.relayed_for.is_none()
                        || !matches!(held.entry.state, OutboxState::Dead { .. })
                    {
                        outbox.discard_file(id, ctx);
                    }
                    outbox.entries.remove(&id);
                }
                (Some(held), Err(error)) => {
                    tracing::error!(
                        transfer = %id, %error,
                        "a delivery could not be taken out of the spool: it stays in the outbox"
                    );
                    held.cancelled.set(false);
                    if held.entry.is_open() {
                        outbox.schedule.wait(
                            held.entry.next_hop(),
                            held.entry.created,
                            id,
                            Instant::now(),
                        );
                    }
                    outbox.set_free(id, ctx);
                }
                (None, _) => {}
            }
            outbox.look_again(ctx);
            // Whoever asked may be gone.
            let _ = answer.send(outcome);
        });
        written
    }

    fn give_up_expired(&mut self, id: TransferId, ctx: &mut Context<Self>) {
        let Some(held) = self.entries.get(&id) else { return };
        self.schedule.withdraw(held.entry.next_hop(), held.entry.created, id);
        let last = held
            .entry
            .last_failure
            .as_ref()
            .map_or(String::new(), |failure| format!("; the last try: {failure}"));
        let failure = Failure::new(
            FailureKind::Expired,
            format!("it could not be delivered before it expired{last}"),
        );
        self.conclude(id, OutboxState::Dead { at: self.shared.clock.now().passed, failure }, ctx);
    }

    fn expire(&mut self, ctx: &mut Context<Self>) {
        let moment = self.shared.clock.now();
        let now = moment.passed;
        let over = |held: &Held| match &held.entry.state {
            OutboxState::Stored
            | OutboxState::Relayed { .. }
            | OutboxState::Delivered { .. }
            | OutboxState::Processed { .. } => held.entry.expires < now,
            OutboxState::Dead { at, .. } => at.saturating_add(DEAD_KEPT) < now,
        };
        let over: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, held)| !held.busy && over(held))
            .map(|(&id, _)| id)
            .collect();
        for id in over {
            let Some(held) = self.entries.get(&id) else { continue };
            if held.entry.is_open() {
                self.give_up_expired(id, ctx);
            } else {
                drop(self.remove(id, ctx));
            }
        }
        let (spool, shared) = (Arc::clone(&self.spool), Arc::clone(&self.shared));
        actix::spawn(async move {
            let sweep = move || {
                shared.clock.keep();
                shared.stopped.drop_old(shared.config.package_patience, spool.as_ref());
                shared.drop_expired_partials(moment.certain)?;
                super::memory::sweep(spool.as_ref(), moment)
            };
            let swept = surely(sweep).await;
            if let Err(error) = swept.map_err(io::Error::other).and_then(|swept| swept) {
                tracing::warn!(%error, "what has expired could not be taken out of the spool");
            }
        });
    }
}

async fn write_to(spool: Arc<dyn Store>, changes: Vec<Change>) -> io::Result<()> {
    surely(move || spool.write(changes)).await?
}

impl Actor for Outbox {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let events = self.shared.events.subscribe();
        ctx.add_stream(futures_util::stream::unfold(events, |mut events| async move {
            use tokio::sync::broadcast::error::RecvError;
            loop {
                match events.recv().await {
                    Ok(NodeEvent::LinkUp { peer, .. }) => {
                        return Some((LinkNews::Up(peer), events));
                    }
                    Ok(NodeEvent::LinkDown { peer, .. }) => {
                        return Some((LinkNews::Down(peer), events));
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        }));
        ctx.run_interval(SWEEP.min(self.shared.config.package_patience), Self::expire);
        self.try_what_is_due(ctx);
    }
}

enum LinkNews {
    Up(crate::wire::PeerId),
    Down(crate::wire::PeerId),
}

impl StreamHandler<LinkNews> for Outbox {
    fn handle(&mut self, news: LinkNews, ctx: &mut Context<Self>) {
        match news {
            LinkNews::Up(peer) => {
                self.schedule.up(peer, Instant::now());
                self.pass_on_all(peer);
                self.try_what_is_due(ctx);
            }
            LinkNews::Down(peer) => self.schedule.down(peer),
        }
    }

    fn finished(&mut self, _: &mut Context<Self>) {
        // The default would stop the outbox.
    }
}
