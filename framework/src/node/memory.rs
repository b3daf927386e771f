//! Deliveries that ended: a replay is answered with the old receipt and delivered no second time.
//!
//! Invariant: nothing is forgotten before it expires; when the memory is full, new deliveries are refused.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use std::collections::{BTreeMap, HashMap};

use crate::delivery::{Receipt, TransferId};
use crate::wire::PeerId;

/// Clocks of two nodes may differ by so many seconds.
const SKEW: u64 = 300;

pub(crate) struct Remembered {
    limit: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    receipts: HashMap<(PeerId, TransferId), (u32, Receipt)>,
    by_expiry: BTreeMap<(u64, PeerId, TransferId), ()>,
}

impl Remembered {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, table: Mutex::default() }
    }

    /// The attempt and the receipt of a delivery that ended.
    pub(crate) fn receipt(&self, sender: PeerId, transfer: TransferId) -> Option<(u32, Receipt)> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).receipts.get(&(sender, transfer)).cloned()
    }

    /// Whether there is room for one more.
    pub(crate) fn has_room(&self, now: u64) -> bool {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((&(expires, sender, transfer), ())) = table.by_expiry.first_key_value() {
            if expires.saturating_add(SKEW) > now {
                break;
            }
            table.by_expiry.pop_first();
            table.receipts.remove(&(sender, transfer));
        }
        table.receipts.len() < self.limit
    }

    pub(crate) fn remember(&self, sender: PeerId, transfer: TransferId, expires: u64, attempt: u32, receipt: Receipt) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.by_expiry.insert((expires, sender, transfer), ());
        table.receipts.insert((sender, transfer), (attempt, receipt));
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").field("limit", &self.limit).finish_non_exhaustive()
    }
}
