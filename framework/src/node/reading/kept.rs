//! Chunks of contents that nobody reads at the moment, kept for those who are about to.
//!
//! Invariant: all that is kept so has a window together, whoever never begins.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Reading;

/// Contents of which something is kept so, at most.
const MOST: usize = 64;

/// Contents that nobody reads at the moment, the newest last.
#[derive(Debug)]
pub(super) struct Kept {
    bytes: usize,
    readings: Mutex<Vec<Weak<Reading>>>,
}

impl Kept {
    /// So many bytes of all of them are kept.
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes, readings: Mutex::default() }
    }

    /// Keeps what was made of this one; what was kept before goes where it is too much.
    pub(super) fn keep(&self, reading: &Arc<Reading>) {
        let mut kept = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let others = kept.iter().filter_map(Weak::upgrade);
        let mut all: Vec<_> = others.filter(|other| !Arc::ptr_eq(other, reading)).collect();
        all.push(Arc::clone(reading));
        let mut bytes = 0_usize;
        let mut stays = |reading: &Arc<Reading>| {
            let mut state = reading.lock();
            // Somebody has begun again, and it is counted there.
            if !state.is_idle() || state.bytes() == 0 {
                return false;
            }
            bytes = bytes.saturating_add(state.bytes());
            let stays = bytes <= self.bytes;
            if !stays {
                state.begin_anew();
            }
            stays
        };
        let newest = all.iter().rev().take(MOST).filter(|reading| stays(reading));
        let mut newest: Vec<_> = newest.map(Arc::downgrade).collect();
        newest.reverse();
        let many = all.len().saturating_sub(MOST);
        for oldest in &all[..many] {
            let mut state = oldest.lock();
            if state.is_idle() {
                state.begin_anew();
            }
        }
        *kept = newest;
        drop(kept);
        // What ends here ends without the lock.
        drop(all);
    }
}
