//! Messages that are delivered: stored by their sender, then by their receiver, handled once, in
//! order.
//!
//! ```text
//!  deliver ─▶ letters, letterlogs ─▶ Deliver ═══▶ mail, maillogs ─▶ actor
//!             (spool of the sender)  ◀═══ Taken 0 (stored) ┘           │ handled
//!             removed ◀─────────────────── Taken 1 (handled) ◀─ removed ┘
//! ```
//! Letters from one node to another have a log: a random id, and numbers that rise, with gaps. On
//! each link the sender begins again with the first letter that is not over: it says those that the
//! receiver has not stored, [`WINDOW`] and [`WINDOW_BYTES`] at a time, and asks for the others,
//! [`FAR`] and [`FAR_BYTES`] together. The receiver stores a letter together with the highest number
//! it has taken, so that it takes none twice, and hands over by name: one that waits for its actor
//! holds up those for the same name ([ADR 51](../../../docs/adr/0051-letters-by-name.md)).
//!
//! Invariants: nothing is said to be stored or over before it is durable. What the receiver holds
//! for a log was handed to an actor at most once in this life of the process, unless that actor
//! died with it. The first of each name that an earlier life held are handed over alone, and counted before (see
//! [`trying`]).

mod delivery;
mod expiring;
mod handing;
mod kept;
mod keyed;
#[cfg(test)]
mod model_tests;
mod parking;
mod receiving;
mod record;
mod revoked;
mod seen;
mod sending;
#[cfg(test)]
mod tests;
mod trying;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

pub(super) use self::delivery::stopped;
pub use self::delivery::{Delivery, LetterInfo, LetterState};
use self::keyed::Keys;
pub use self::keyed::LetterKey;
use self::parking::Parked;
pub(crate) use self::receiving::Coming;
use self::receiving::Incoming;
pub(crate) use self::record::TABLES;
pub(crate) use self::seen::LettersSeen;
use self::sending::Outgoing;
pub(super) use self::sending::Posting;
use self::trying::{Place, Turns};
use self::writer::Waiting;
use super::directory::Directory;
use super::error::RemoteError;
use super::exchange::Exchange;
use super::letter_id::LetterId;
use crate::store::Store;
use crate::store::clock::Clock;
use crate::wire::PeerId;

/// The most bytes of a letter, encoded: it is one record of a spool, and what is larger is content
/// for [`Node::send`](crate::Node::send).
pub const LETTER_LIMIT: usize = (1 << 20) - 4096;
/// The most letters that may be on the road, not known to be stored at their receiver. The most
/// numbers that may be under way, where that does not hand over by name.
const WINDOW: u64 = 1024;
/// The most that they may cost; one that costs more goes alone.
const WINDOW_BYTES: u64 = 1 << 20;
/// The most letters that were said on a link and are not over.
const FAR: u64 = 10_240;
/// The most that they may cost.
const FAR_BYTES: u64 = 64 << 20;
/// The time between looks for expired letters, and for peers to connect to.
const TICK: Duration = Duration::from_secs(1);
/// The longest time that a node that stops waits for its spool.
const FLUSH: Duration = Duration::from_secs(5);
/// The longest time that a node which stops at once waits for actors that have a letter: one that
/// handles it meanwhile must not get it again.
const HANDLING: Duration = Duration::from_secs(1);

/// The letters of this node, in both directions.
pub(crate) struct Letters {
    spool: Arc<dyn Store>,
    clock: Arc<Clock>,
    directory: Directory,
    /// Tells if a peer may send to a name; `None` while nobody knows.
    admits: Box<Admits>,
    /// Told of letters that were taken here and are not handled.
    refused: Box<Refused>,
    limits: Limits,
    turns: Turns,
    state: Mutex<State>,
    waiting: Mutex<Waiting>,
    filled: Notify,
    wrote: Notify,
}

type Admits = dyn Fn(&PeerId, &str) -> Option<bool> + Send + Sync;
type Refused = dyn Fn(PeerId, LetterId, (&str, &str), &RemoteError) + Send + Sync;

/// The limits of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Letters that may be under way to one peer.
    pub(crate) letters: usize,
    /// The most that they may cost.
    pub(crate) bytes: u64,
    /// The time for which a letter is worth delivering.
    pub(crate) expiry: Duration,
    /// It only stores: another process delivers.
    pub(crate) dormant: bool,
}

#[derive(Default)]
struct State {
    outgoing: HashMap<PeerId, Outgoing>,
    incoming: HashMap<PeerId, Incoming>,
    keys: Keys,
    parked: Parked,
    /// Letters that are with their actor.
    handed: usize,
    /// Those of them that are of an earlier life, and what was counted against them before.
    tried: HashMap<Place, u32>,
    /// No more letters are handed over.
    stopping: bool,
    /// Nothing is written any more.
    closed: bool,
}

impl Letters {
    /// Takes up what the spool holds.
    pub(crate) fn load(
        (spool, clock): (Arc<dyn Store>, Arc<Clock>),
        directory: Directory,
        admits: impl Fn(&PeerId, &str) -> Option<bool> + Send + Sync + 'static,
        refused: impl Fn(PeerId, LetterId, (&str, &str), &RemoteError) + Send + Sync + 'static,
        limits: Limits,
        exchange: impl Fn(PeerId) -> Arc<Exchange>,
    ) -> io::Result<Arc<Self>> {
        let now = clock.now();
        let outgoing = sending::load(spool.as_ref(), &clock, exchange)?;
        let incoming = receiving::load(spool.as_ref(), now)?;
        let keys = Keys::load(spool.as_ref(), now.certain)?;
        let state = Mutex::new(State { outgoing, incoming, keys, ..State::default() });
        let (admits, refused) = (Box::new(admits), Box::new(refused));
        Ok(Arc::new(Self {
            spool,
            clock,
            directory,
            admits,
            refused,
            limits,
            turns: Turns::default(),
            state,
            waiting: Mutex::default(),
            filled: Notify::new(),
            wrote: Notify::new(),
        }))
    }

    /// Begins to write, to seek links and to hand over, on this arbiter.
    pub(crate) fn start(self: &Arc<Self>) {
        actix::spawn(writer::run(Arc::clone(self)));
        if self.limits.dormant {
            return;
        }
        let letters = Arc::downgrade(self);
        actix::spawn(async move {
            let mut asked = None;
            while let Some(letters) = letters.upgrade() {
                letters.look_around();
                asked = letters.look_at_trust(asked.as_ref());
                drop(letters);
                tokio::time::sleep(TICK).await;
            }
        });
        actix::spawn(parking::run(Arc::downgrade(self), self.directory.clone()));
        let all: Vec<_> = {
            let state = self.state();
            let names = |from: &Incoming| from.logs.names();
            state.incoming.iter().map(|(&sender, from)| (sender, names(from))).collect()
        };
        for (sender, names) in all {
            names.iter().for_each(|name| self.hand_over(sender, name));
        }
    }

    /// Hands over no more letters; returns when what is with an actor was handled, or the limit is
    /// over, and all is durable.
    pub(crate) async fn halt(&self, limit: Duration) {
        self.state().stopping = true;
        let limit = limit.max(HANDLING);
        let handled = self.until(|letters| letters.state().handed == 0);
        if tokio::time::timeout(limit, handled).await.is_err() {
            tracing::warn!(
                ?limit,
                "actors still had letters at the end of the drain: they get them again when the \
                 node is started again"
            );
            self.uncount_all();
        }
        if tokio::time::timeout(FLUSH, self.until(|letters| letters.waiting().is_idle()))
            .await
            .is_err()
        {
            tracing::warn!(
                "the spool still had something to write about letters when the node stopped"
            );
        }
    }

    async fn until(&self, reached: impl Fn(&Self) -> bool) {
        loop {
            let wrote = self.wrote.notified();
            tokio::pin!(wrote);
            wrote.as_mut().enable();
            if reached(self) {
                return;
            }
            wrote.await;
        }
    }

    /// A link is up. `by_name`: its peer hands letters over by name.
    pub(crate) fn up(&self, peer: PeerId, epoch: u64, by_name: bool, exchange: &Arc<Exchange>) {
        if self.limits.dormant {
            return;
        }
        let mut state = self.state();
        if state.closed {
            return;
        }
        state.incoming.entry(peer).or_default().up(epoch, by_name, exchange);
        if let Some(out) = state.outgoing.get_mut(&peer) {
            out.up(epoch, by_name);
        }
    }

    /// There is no link any more.
    pub(crate) fn down(&self, peer: PeerId) {
        let mut state = self.state();
        if let Some(incoming) = state.incoming.get_mut(&peer) {
            incoming.down();
        }
        if let Some(out) = state.outgoing.get_mut(&peer) {
            out.down();
        }
    }

    /// The node has stopped: nobody waits for anything any more.
    fn close(&self) {
        let mut state = self.state();
        *state = State { closed: true, stopping: true, ..State::default() };
        *self.waiting() = Waiting::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Taken while the state is locked, never the other way round.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letters").field("limits", &self.limits).finish_non_exhaustive()
    }
}
