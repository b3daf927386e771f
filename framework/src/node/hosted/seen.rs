//! A view of a hosted actor from outside, without asking it: it may be busy.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::node::snapshot::ActorSnapshot;
use crate::remote::IntakeSeen;
use crate::wire::printable;

/// One for all lives of an actor.
pub(in crate::node) struct ActorSeen {
    /// `true` while it lives, and the time since when it does or does not.
    life: Mutex<(bool, Instant)>,
    deaths: AtomicU64,
    intake: Box<dyn Fn() -> IntakeSeen + Send + Sync>,
}

impl ActorSeen {
    /// Of an actor that does not live yet.
    pub(in crate::node) fn new(
        intake: impl Fn() -> IntakeSeen + Send + Sync + 'static,
    ) -> Arc<Self> {
        let life = Mutex::new((false, Instant::now()));
        Arc::new(Self { life, deaths: AtomicU64::new(0), intake: Box::new(intake) })
    }

    pub(in crate::node) fn lives(&self, alive: bool) {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = (alive, Instant::now());
    }

    pub(in crate::node) fn died(&self) {
        self.deaths.fetch_add(1, Relaxed);
    }

    pub(in crate::node) fn look(
        &self,
        name: &str,
        at: impl Fn(std::time::Instant) -> u64,
    ) -> ActorSnapshot {
        let (alive, since) = *self.life.lock().unwrap_or_else(PoisonError::into_inner);
        let IntakeSeen { waiting, in_hand, taken, busy_since } = (self.intake)();
        ActorSnapshot {
            name: printable(name).to_string(),
            alive,
            since: at(since.into_std()),
            waiting,
            in_hand,
            busy_since: busy_since.map(at),
            taken,
            deaths: self.deaths.load(Relaxed),
        }
    }
}

impl fmt::Debug for ActorSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorSeen").field("life", &self.life).finish_non_exhaustive()
    }
}
