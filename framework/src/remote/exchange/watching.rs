//! Watches, which outlive links.

use tokio::sync::broadcast;

use super::super::queue::Queue;
use super::*;

impl Exchange {
    /// Watches an actor of the peer, or the peer itself.
    pub(crate) fn watch(self: &Arc<Self>, name: Option<&str>) -> Watch {
        let mut state = self.state();
        let id = state.next_watch;
        state.next_watch += 1;
        let mut watching = Watching::new(name.map(Arc::from));
        let has_link = state.epoch.is_some();
        if let Some(error) = &state.closed {
            watching.tell(Presence::Down { kind: error.kind });
        }
        if has_link {
            Self::begin_watch(&mut state.out.queue, id, &mut watching);
            self.wake(&mut state);
        }
        let (now, changes) = (watching.last.clone(), watching.changes.subscribe());
        state.watches.insert(id, watching);
        drop(state);
        if !has_link {
            (self.connect)();
        }
        Watch { exchange: Arc::clone(self), id, now, changes }
    }

    pub(super) fn begin_watch(queue: &mut Queue, id: u64, watching: &mut Watching) {
        match &watching.name {
            Some(name) => {
                queue.put([None, None], &Item::Watch { watch: id, name }, None, name.len())
            }
            None => watching.tell(Presence::Up),
        }
    }

    fn unwatch(&self, id: u64) {
        let mut state = self.state();
        if state.watches.remove(&id).is_some_and(|watching| watching.name.is_some())
            && state.epoch.is_some()
        {
            state.out.queue.put([None, None], &Item::Unwatch { watch: id }, None, 0);
            self.wake(&mut state);
        }
    }

    /// Tells what the peer says of an actor that is watched.
    pub(in crate::remote) fn on_status(&self, watch: u64, up: bool, code: u8) {
        let presence = if up {
            Presence::Up
        } else {
            Presence::Down { kind: RemoteErrorKind::from_code(code) }
        };
        if let Some(watching) = self.state().watches.get_mut(&watch) {
            watching.tell(presence);
        }
    }
}

/// Tells how something on another node, or that node, comes and goes. Dropping it ends the watch.
pub struct Watch {
    exchange: Arc<Exchange>,
    id: u64,
    now: Presence,
    changes: broadcast::Receiver<Presence>,
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
