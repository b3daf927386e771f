//! The presence of an actor or a node, watched from another node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use super::error::RemoteErrorKind;

/// The time between two looks at what is watched.
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

/// The actors that a peer watches here, with the last word about each.
#[derive(Debug, Default)]
pub(super) struct Watched(HashMap<u64, (Arc<str>, Option<Standing>)>);

/// The presence of something, or the reason that it is not there.
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
