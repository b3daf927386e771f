//! Room for transfers: how many run at once, and how many bytes are on their way, of the node and
//! of one peer.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::NodeConfig;
use crate::pipeline::{Budget, Credit, Priority, Queue};

/// The time that a delivery waits for room, at either end, before that is told.
const SAY_WAITING: Duration = Duration::from_secs(1);

/// Deliveries that wait for room and are to end, whose inboxes are asked at once what is here of
/// them.
const ENDING: usize = 4;

/// The room of its node that a running transfer holds: given back when it ends.
#[derive(Debug)]
pub(crate) struct Room {
    _bytes: Credit,
    _running: OwnedSemaphorePermit,
    /// The share of one peer in the rooms of the node: no peer takes all of them.
    _share: (OwnedSemaphorePermit, Credit),
}

/// The bytes a transfer may have on their way: no more than its content has, as far as its sender
/// says.
pub(crate) fn window_for(window: usize, chunk_size: u32, length: Option<u64>) -> usize {
    let chunks = length.map_or(u64::MAX, |length| length.div_ceil(u64::from(chunk_size)).max(2));
    usize::try_from(chunks.saturating_mul(u64::from(chunk_size))).unwrap_or(usize::MAX).min(window)
}

/// The room for one peer, in one direction: some is left for a transfer of another peer.
#[derive(Clone)]
pub(crate) struct Share {
    running: Arc<Semaphore>,
    bytes: Budget,
    queue: Queue,
}

impl Share {
    pub(crate) fn of(config: &NodeConfig) -> Self {
        let running = Arc::new(Semaphore::new(config.running_transfers.saturating_sub(1).max(1)));
        Self {
            running,
            bytes: Budget::new(config.pool.saturating_sub(config.window).max(config.window)),
            queue: Queue::default(),
        }
    }

    async fn take(self, priority: Priority, window: usize) -> (OwnedSemaphorePermit, Credit) {
        let _turn = self.queue.enter(priority).await;
        let running = self.running.acquire_owned().await.expect("the semaphore is never closed");
        (running, self.bytes.take(window).await)
    }
}

/// The room of a node for transfers.
#[derive(Clone)]
pub(crate) struct Rooms {
    pub(crate) outgoing: Way,
    pub(crate) incoming: Way,
    /// Turns of what is asked of inboxes only to be ended, without room.
    pub(crate) ending: Arc<Semaphore>,
}

impl Rooms {
    pub(crate) fn of(config: &NodeConfig) -> Self {
        let way = || Way {
            waiting: Arc::default(),
            places: config.running_transfers,
            running: Arc::new(Semaphore::new(config.running_transfers)),
            bytes: Budget::new(config.pool),
            queue: Queue::default(),
        };
        Self { outgoing: way(), incoming: way(), ending: Arc::new(Semaphore::new(ENDING)) }
    }
}

/// The room of a node, of one direction.
#[derive(Clone)]
pub(crate) struct Way {
    /// Transfers that wait for it.
    waiting: Arc<AtomicUsize>,
    /// Transfers that may run at once.
    places: usize,
    running: Arc<Semaphore>,
    /// Bytes that they may hold.
    bytes: Budget,
    /// Whose turn it is to wait for these.
    queue: Queue,
}

impl Way {
    /// Returns how many transfers wait for room.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns how many transfers have room, and how many may.
    pub(crate) fn running(&self) -> (usize, usize) {
        (self.places.saturating_sub(self.running.available_permits()), self.places)
    }

    /// Returns how many bytes transfers hold, and how many they may.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        (self.bytes.size() - self.bytes.free(), self.bytes.size())
    }

    /// Waits for room for a transfer of so many bytes on their way, after those of a higher
    /// priority; says once that there is none yet, if it takes long.
    pub(crate) async fn take(
        self,
        share: Share,
        (priority, window): (Priority, usize),
        say_waiting: impl FnOnce(),
    ) -> Room {
        let Self { waiting, running, bytes, queue, .. } = self;
        let mut room = pin!(async {
            let _queued = InQueue::at(&waiting);
            let share = share.take(priority, window).await;
            let _turn = queue.enter(priority).await;
            let running = running.acquire_owned().await.expect("the semaphore is never closed");
            Room { _bytes: bytes.take(window).await, _running: running, _share: share }
        });
        tokio::select! {
            biased;
            room = &mut room => room,
            () = tokio::time::sleep(SAY_WAITING) => {
                say_waiting();
                room.await
            }
        }
    }
}

/// Counts a transfer among those that wait for room, until it is dropped.
struct InQueue(Arc<AtomicUsize>);

impl InQueue {
    fn at(queue: &Arc<AtomicUsize>) -> Self {
        queue.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(queue))
    }
}

impl Drop for InQueue {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
