//! Deliveries that outlive the process: stored first, then tried until the receiver has them or
//! they expire.
//!
//! The outbox decides when a delivery is tried; a try is an ordinary transfer of a session, under a
//! fresh key, that goes on where the receiver stands. Invariant: a delivery leaves the outbox only
//! with a receipt, by its expiry, as a dead letter with its reason, or because somebody said so.

mod carrying;
mod desk;
mod elsewhere;
mod entry;
mod error;
mod files;
mod held;
mod look;
#[cfg(test)]
mod model_tests;
mod orders;
mod relay;
mod schedule;
mod stored;
mod tries;
mod unheard;
mod withdrawn;
mod words;

use self::held::Held;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, StreamHandler};
use tokio::sync::oneshot;

pub(crate) use self::desk::{Deposit, Find, Given, Halt, List, Look, Seal, Settle};
#[cfg(test)]
pub(crate) use self::entry::tests::entry as entry_for_tests;
pub(crate) use self::entry::{Expected, Kept, NOTE, PARTS, TABLE, is_readable, may_name};
pub use self::entry::{OutboxEntry, OutboxState};
pub use self::error::OutboxError;
pub use self::orders::TakenOut;
pub(crate) use self::orders::{Done, GiveUp, Order};
pub(crate) use self::relay::{AskedAgain, PlanAnew, carried_as};
use self::schedule::Schedule;
pub(crate) use self::stored::OrderKind;
use self::stored::Stored;
use self::tries::jitter;
use self::withdrawn::Withdrawn;
pub(crate) use self::withdrawn::{FindWithdrawn, ListWithdrawn};
pub(crate) use self::words::{PeerSaid, PeerWord};
use super::blocking::surely;
use super::events::NodeEvent;
use super::sessions::Sessions;
use super::shared::NodeShared;
use super::snapshot::OutboxSeen;
use super::transfer::TransferState;
use crate::delivery::TransferId;
use crate::store::{Change, Store, UNREAD};
use crate::wire::PeerId;

/// The time between two looks at what is due.
const TICK: Duration = Duration::from_millis(250);
/// The time that a relay is left alone before it is asked what has become of a package.
const ASK_RELAY: Duration = Duration::from_secs(60);
/// The time between two looks for what has expired.
const SWEEP: Duration = Duration::from_secs(60);
/// The time that a dead letter is kept for somebody to look at, in seconds.
const DEAD_KEPT: u64 = 30 * 24 * 3600;

pub(crate) struct Outbox {
    pub(super) shared: Arc<NodeShared>,
    spool: Arc<dyn Store>,
    sessions: Sessions,
    entries: HashMap<TransferId, Held>,
    schedule: Schedule,
    withdrawn: Withdrawn,
    /// Set if it will look for what is due: not while nothing waits.
    looking: bool,
    /// It tries nothing more, and still stores what it is given.
    stopping: bool,
    /// It takes nothing more; who waits until what is being stored is.
    sealed: Option<Option<oneshot::Sender<()>>>,
    /// The one that waits until nothing runs and nothing is being written.
    settling: Option<oneshot::Sender<()>>,
    /// Changes that are being written, and copies that are being removed.
    writing: usize,
    /// It tries nothing: another process will.
    dormant: bool,
    /// The last look at it, and the time of that.
    seen: Option<(Instant, OutboxSeen)>,
}

/// Says whether a change has become durable.
type Written = oneshot::Receiver<io::Result<()>>;

impl Outbox {
    /// Takes up what the spool holds.
    pub(crate) fn load(
        shared: Arc<NodeShared>,
        spool: Arc<dyn Store>,
        sessions: Sessions,
        dormant: bool,
    ) -> io::Result<Self> {
        super::memory::sweep(spool.as_ref(), shared.clock.now())?;
        let (entries, schedule) = (HashMap::new(), Schedule::default());
        let mut outbox = Self {
            shared,
            spool,
            sessions,
            entries,
            schedule,
            withdrawn: Withdrawn::default(),
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
        let mut unread = Vec::new();
        for (key, value) in outbox.spool.load(TABLE)? {
            match OutboxEntry::decode(&key, &value) {
                Some((id, entry)) => outbox.take_up(id, entry),
                None => {
                    let key = data_encoding::HEXLOWER.encode(&key);
                    tracing::error!(
                        key,
                        why = UNREAD,
                        "the record of a delivery in the outbox can't be read: it stays as it is, \
                         with its content; `estafette doctor` says what can be done"
                    );
                    unread.push(value);
                }
            }
        }
        if !dormant {
            outbox.remove_leftovers(&unread)?;
        }
        Ok(outbox)
    }

    fn take_up(&mut self, id: TransferId, entry: OutboxEntry) {
        let mut stored = Stored::loaded(entry);
        if stored.entry.state == OutboxState::Stored {
            stored.go_by(self.way_of(&stored.entry));
        }
        let entry = &stored.entry;
        let state = Arc::new(TransferState::stored(id, entry.peer, entry.length));
        match &entry.state {
            OutboxState::Delivered { receipt, .. } => state.end(Ok(receipt.clone())),
            OutboxState::Processed { receipt, .. } => {
                state.update(|status| status.processed = true);
                state.end(Ok(receipt.clone()));
            }
            OutboxState::Dead { failure, .. } => state.end(Err(failure.clone())),
            OutboxState::Stored | OutboxState::Relayed { .. } => {
                let is_relayed = entry.state != OutboxState::Stored;
                state.update(|status| status.relayed = is_relayed);
                self.schedule.wait(entry.next_hop(), entry.turn(), id, Instant::now())
            }
        }
        let held = Held { is_loaded: true, ..Held::new(stored, state) };
        self.entries.insert(id, held);
        self.account_for(id);
    }

    fn account_for(&mut self, id: TransferId) {
        if let Some(held) = self.entries.get_mut(&id) {
            held.account_for(&self.shared);
        }
    }

    fn expire(&mut self, ctx: &mut Context<Self>) {
        let (moment, at) = (self.shared.clock.now(), self.at());
        let schedule = &self.schedule;
        let swept = self.entries.iter_mut().map(|(&id, held)| {
            let is_here = schedule.is_up(held.entry().next_hop());
            (id, held.stored.sweep(is_here, at))
        });
        let over: Vec<_> = swept.filter(|(_, actions)| !actions.is_empty()).collect();
        over.into_iter().for_each(|(id, actions)| self.carry_out(id, actions, ctx));
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
        ctx.run_interval(unheard::SEEK, Self::seek_words);
        self.try_what_is_due(ctx);
    }
}

enum LinkNews {
    Up(PeerId),
    Down(PeerId),
}

impl StreamHandler<LinkNews> for Outbox {
    fn handle(&mut self, news: LinkNews, ctx: &mut Context<Self>) {
        match news {
            LinkNews::Up(peer) => {
                self.schedule.up(peer, Instant::now());
                self.pass_on_all(peer, ctx);
                self.try_what_is_due(ctx);
            }
            LinkNews::Down(peer) => self.schedule.down(peer),
        }
    }

    fn finished(&mut self, _: &mut Context<Self>) {
        // The default would stop the outbox.
    }
}
