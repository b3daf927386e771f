//! Byte credit that travels with the chunk.
//!
//! Invariant: the credits of one budget that are out never add up to more than its size, so the sum
//! of all mailboxes a transfer's chunks lie in is bounded in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::queue::{Priority, Queue};

/// Semaphores count in 32 bits; credit is counted in KiB so that any sensible budget fits.
const UNIT: usize = 1024;

/// A number of bytes that may be on their way at once. Cloning it shares it.
///
/// Whoever asks first is served first, and no later, smaller wish overtakes.
#[derive(Clone, Debug)]
pub struct Budget {
    free: Arc<Semaphore>,
    size: usize,
}

/// A part of a budget. Goes back when dropped.
#[derive(Debug)]
pub struct Credit(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Budget {
    /// A budget of `size` bytes, rounded up to whole KiB.
    pub fn new(size: usize) -> Self {
        let units = size.div_ceil(UNIT).max(1);
        Self { free: Arc::new(Semaphore::new(units)), size: units * UNIT }
    }

    /// Its size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes that are free now.
    pub fn free(&self) -> usize {
        self.free.available_permits() * UNIT
    }

    /// Waits until `bytes` are free and takes them. More than the whole budget counts as the whole
    /// budget, so that one oversized chunk can pass instead of waiting for ever.
    pub async fn take(&self, bytes: usize) -> Credit {
        let permit = Arc::clone(&self.free).acquire_many_owned(self.units(bytes)).await;
        Credit(permit.expect("the semaphore is never closed"))
    }

    /// Takes `bytes` if they are free now.
    pub fn try_take(&self, bytes: usize) -> Option<Credit> {
        Arc::clone(&self.free).try_acquire_many_owned(self.units(bytes)).ok().map(Credit)
    }

    fn units(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.size).div_ceil(UNIT)).unwrap_or(u32::MAX)
    }
}

/// A limit on the chunks between their source and the sockets. It is low, so that chunks stay in
/// the cache of the processor and no mailbox keeps a socket waiting for its turn.
#[derive(Clone, Debug)]
pub struct Slots(Arc<Semaphore>, Queue);

/// One chunk's place among the stages of one replica. Free again when dropped.
#[derive(Debug)]
pub struct Slot {
    load: Option<Arc<AtomicUsize>>,
    _place: OwnedSemaphorePermit,
}

impl Slots {
    /// So many places.
    pub fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)), Queue::default())
    }

    /// Waits for a place.
    pub async fn take(&self) -> Slot {
        self.take_as(Priority::Normal).await
    }

    /// Waits for a place; those of a higher priority have theirs first.
    pub async fn take_as(&self, priority: Priority) -> Slot {
        let _turn = self.1.enter(priority).await;
        let place =
            Arc::clone(&self.0).acquire_owned().await.expect("the semaphore is never closed");
        Slot { load: None, _place: place }
    }
}

impl Slot {
    /// The replica it goes to, so that its load counts this chunk.
    pub fn assign(&mut self, load: &Arc<AtomicUsize>) {
        load.fetch_add(1, Ordering::Relaxed);
        self.load = Some(Arc::clone(load));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(load) = &self.load {
            load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_comes_back_when_dropped() {
        let budget = Budget::new(4096);
        let first = budget.try_take(3000).unwrap();
        assert!(budget.try_take(2000).is_none());
        drop(first);
        assert!(budget.try_take(2000).is_some());
        assert_eq!(budget.free(), 4096);
    }

    #[test]
    fn more_than_everything_is_everything() {
        let budget = Budget::new(4096);
        let all = budget.try_take(1 << 30).unwrap();
        assert_eq!(budget.free(), 0);
        drop(all);
    }
}
