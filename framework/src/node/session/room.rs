//! Room for transfers: how many run at once, and how many bytes are on their way, of the node and
//! of one peer.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::node::config::NodeConfig;
use crate::node::shared::{InQueue, NodeShared};
use crate::pipeline::{Budget, Credit};

/// How long a delivery waits for room, at either end, before that is told.
const SAY_WAITING: Duration = Duration::from_secs(1);

/// What a running transfer holds of its node: given back when it ends.
#[derive(Debug)]
pub(crate) struct Room {
    _bytes: Credit,
    _running: OwnedSemaphorePermit,
    /// The share of one peer in the rooms of the node: no peer takes all of them.
    _share: (OwnedSemaphorePermit, Credit),
}

/// The bytes a transfer may have on their way: no more than its content has, as far as its sender
/// says.
pub(super) fn window_for(window: usize, chunk_size: u32, length: Option<u64>) -> usize {
    let chunks = length.map_or(u64::MAX, |length| length.div_ceil(u64::from(chunk_size)).max(2));
    usize::try_from(chunks.saturating_mul(u64::from(chunk_size))).unwrap_or(usize::MAX).min(window)
}

/// What one peer may take, of one direction: room for a transfer of another peer is left.
#[derive(Clone)]
pub(super) struct Share {
    running: Arc<Semaphore>,
    bytes: Budget,
}

impl Share {
    pub(super) fn of(config: &NodeConfig) -> Self {
        let running = Arc::new(Semaphore::new(config.running_transfers.saturating_sub(1).max(1)));
        Self {
            running,
            bytes: Budget::new(config.pool.saturating_sub(config.window).max(config.window)),
        }
    }

    async fn take(self, window: usize) -> (OwnedSemaphorePermit, Credit) {
        let running = self.running.acquire_owned().await.expect("the semaphore is never closed");
        (running, self.bytes.take(window).await)
    }
}

/// What a node has of room, of one direction.
pub(super) struct Way {
    waiting: Arc<AtomicUsize>,
    running: Arc<Semaphore>,
    bytes: Budget,
}

impl Way {
    pub(super) fn incoming(shared: &NodeShared) -> Self {
        Self {
            waiting: Arc::clone(&shared.waiting_in),
            running: Arc::clone(&shared.running_in),
            bytes: shared.receiving.clone(),
        }
    }

    pub(super) fn outgoing(shared: &NodeShared) -> Self {
        Self {
            waiting: Arc::clone(&shared.waiting_out),
            running: Arc::clone(&shared.running_out),
            bytes: shared.sending.clone(),
        }
    }

    /// Waits for room for a transfer of so many bytes on their way; says once that there is none
    /// yet, if it takes long.
    pub(super) async fn take(
        self,
        share: Share,
        window: usize,
        say_waiting: impl FnOnce(),
    ) -> Room {
        let Self { waiting, running, bytes } = self;
        let mut room = pin!(async {
            let _queued = InQueue::at(&waiting);
            let share = share.take(window).await;
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
