//! The presence of an actor or a node, watched from another node.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use super::error::RemoteErrorKind;
use super::exchange::Exchange;

/// How often it is looked whether what is watched lives.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// Changes that wait for a slow watcher; older ones are dropped.
const CHANGES: usize = 16;

/// The presence of an actor or a node that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    Up,
    /// It is not there.
    Down {
        /// The reason, for programs: [`LinkLost`](RemoteErrorKind::LinkLost) if the link broke or
        /// the node fell silent, [`ShuttingDown`](RemoteErrorKind::ShuttingDown) if the node
        /// stopped in order, [`Unreachable`](RemoteErrorKind::Unreachable) before there was a
        /// link; for an actor also [`Died`](RemoteErrorKind::Died),
        /// [`Restarting`](RemoteErrorKind::Restarting),
        /// [`NoSuchName`](RemoteErrorKind::NoSuchName), [`Forbidden`](RemoteErrorKind::Forbidden).
        kind: RemoteErrorKind,
    },
}

/// Tells how something on another node, or that node, comes and goes. Dropping it ends the watch.
pub struct Watch {
    pub(super) exchange: Arc<Exchange>,
    pub(super) id: u64,
    pub(super) now: Presence,
    pub(super) changes: broadcast::Receiver<Presence>,
}

impl Watch {
    /// Returns the latest presence that is known.
    pub fn now(&self) -> &Presence {
        &self.now
    }

    /// Waits for the next change. A watcher that is slow misses old changes, never the last.
    pub async fn changed(&mut self) -> Presence {
        loop {
            match self.changes.recv().await {
                Ok(presence) => {
                    self.now = presence.clone();
                    return presence;
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                // The exchange lives as long as this watch, and the sender with it.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Waits until it is up.
    pub async fn up(&mut self) {
        while self.now != Presence::Up {
            self.changed().await;
        }
    }

    /// Waits until it is down, and says why it is.
    pub async fn down(&mut self) -> RemoteErrorKind {
        loop {
            if let Presence::Down { kind } = self.now {
                return kind;
            }
            self.changed().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.exchange.unwatch(self.id);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("now", &self.now).finish_non_exhaustive()
    }
}

/// A watch, as the exchange keeps it over links.
pub(super) struct Watching {
    /// `None`: the node itself.
    pub(super) name: Option<Arc<str>>,
    pub(super) last: Presence,
    pub(super) changes: broadcast::Sender<Presence>,
}

impl Watching {
    pub(super) fn new(name: Option<Arc<str>>) -> Self {
        Self {
            name,
            last: Presence::Down { kind: RemoteErrorKind::Unreachable },
            changes: broadcast::channel(CHANGES).0,
        }
    }

    pub(super) fn tell(&mut self, presence: Presence) {
        if self.last != presence {
            self.last = presence.clone();
            // The watch may be gone.
            let _ = self.changes.send(presence);
        }
    }
}

/// What a peer watches here, and what it was last told.
#[derive(Debug, Default)]
pub(super) struct Watched(HashMap<u64, (Arc<str>, Option<Standing>)>);

/// Whether something is there, or why not.
type Standing = Result<(), RemoteErrorKind>;

impl Watched {
    pub(super) fn insert(&mut self, watch: u64, name: &str) {
        self.0.insert(watch, (name.into(), None));
    }

    pub(super) fn remove(&mut self, watch: u64) {
        self.0.remove(&watch);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Looks at what is watched, or at one thing of it, and tells what has changed.
    pub(super) fn look(
        &mut self,
        only: Option<u64>,
        look: impl Fn(&str) -> Standing,
        mut tell: impl FnMut(u64, Standing),
    ) {
        let mut look_at = |watch: u64, (name, told): &mut (Arc<str>, Option<Standing>)| {
            let standing = look(name);
            if *told != Some(standing) {
                *told = Some(standing);
                tell(watch, standing);
            }
        };
        match only {
            Some(watch) => drop(self.0.get_mut(&watch).map(|watched| look_at(watch, watched))),
            None => self.0.iter_mut().for_each(|(&watch, watched)| look_at(watch, watched)),
        }
    }
}
