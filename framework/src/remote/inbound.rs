//! The meaning of each number that a peer uses for a target, and the credit of what was told under
//! it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::{RemoteError, RemoteErrorKind};
use super::exchange::{TARGET_WINDOW, no_credit};
use super::mailbox::{Done, Mailbox};
use super::teller::Teller;
use crate::store::ledger::{Full, Kind};
use crate::wire::message::Item;

/// The meaning of one of the peer's numbers.
pub(super) struct Inbound {
    pub(super) name: Arc<str>,
    pub(super) message: Arc<str>,
    pub(super) version: u32,
    pub(super) mailbox: Result<Arc<dyn Mailbox>, RemoteError>,
    /// The directory and the trust this was looked up in.
    pub(super) seen: (u64, u64),
    /// Tells that nobody was asked to confirm yet.
    pub(super) unconfirmed: Tells,
    /// The last tell to it in the batch that is being read.
    pub(super) last: usize,
    pub(super) teller: Teller,
    owed: Arc<Mutex<Owed>>,
}

/// Credit that is not given back yet. As long as more is about to be, a word for each batch would
/// be a waste; but the sender always has three quarters of it to go on with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Owed {
    /// The number of words, of what was handled, that are still to come.
    expected: u64,
    tells: u64,
    cost: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tells {
    pub(super) count: u64,
    pub(super) cost: u64,
    /// Those that were handed over.
    taken: u64,
}

impl Tells {
    /// All of them are given back when they are handled.
    pub(super) fn settle(&mut self, owed: &mut Owed) -> Self {
        owed.expected += 1;
        std::mem::take(self)
    }

    /// So many more, whose cost was charged to the peer.
    pub(super) fn add(&mut self, count: u64, cost: u64, taken: bool) {
        self.count += count;
        self.cost += cost;
        self.taken += if taken { count } else { 0 };
    }
}

impl Inbound {
    /// Not looked up yet.
    pub(super) fn new(name: &str, message: &str, version: u32, teller: Teller) -> Self {
        Self {
            name: name.into(),
            message: message.into(),
            version,
            mailbox: Err(RemoteError::new(RemoteErrorKind::NoSuchName, "")),
            seen: (u64::MAX, u64::MAX),
            unconfirmed: Tells::default(),
            last: usize::MAX,
            teller,
            owed: Arc::default(),
        }
    }

    /// Tells that there is no room for: with what earlier links brought, the peer has as much here
    /// as it may. Their credit is given back at once.
    pub(super) fn refuse(&self, count: u64, cost: u64, full: &Full) {
        let Teller { exchange, epoch, target } = &self.teller;
        self.teller.undelivered(count, &no_credit(full));
        exchange.say(*epoch, &Item::Consumed { target: *target, tells: count, cost }, 0);
    }

    /// Gives the credit of all tells back when they were handled; where the actor died with them,
    /// says so.
    pub(super) fn settle(&mut self, outstanding: Arc<AtomicU64>) -> Done {
        let (name, teller, owed) =
            (Arc::clone(&self.name), self.teller.clone(), Arc::clone(&self.owed));
        let Tells { count: tells, cost, taken } =
            self.unconfirmed.settle(&mut owed.lock().unwrap_or_else(PoisonError::into_inner));
        let charge = self.teller.exchange.account().taken(Kind::Messages, cost);
        Done::new(move |handled| {
            if !handled && taken > 0 {
                teller.undelivered(taken, &super::serving::died(&name));
            }
            outstanding.fetch_sub(cost, Ordering::Relaxed);
            drop(charge);
            let due = owed.lock().unwrap_or_else(PoisonError::into_inner).settled(tells, cost);
            if let Some((tells, cost)) = due {
                teller.exchange.say(
                    teller.epoch,
                    &Item::Consumed { target: teller.target, tells, cost },
                    0,
                );
            }
        })
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        // The link has ended before somebody was asked to confirm them: at most a batch of them.
        drop(self.teller.exchange.account().taken(Kind::Messages, self.unconfirmed.cost));
    }
}

impl Owed {
    /// So much more was handled; what is to be given back now.
    pub(super) fn settled(&mut self, tells: u64, cost: u64) -> Option<(u64, u64)> {
        self.expected -= 1;
        (self.tells, self.cost) = (self.tells + tells, self.cost + cost);
        let due = self.expected == 0 || self.cost >= TARGET_WINDOW / 4;
        due.then(|| (std::mem::take(&mut self.tells), std::mem::take(&mut self.cost)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_given_back_in_quarters_and_all_of_it_when_no_more_is_about_to_be() {
        let mut owed = Owed { expected: 4, ..Owed::default() };
        assert_eq!(owed.settled(1, TARGET_WINDOW / 8), None);
        assert_eq!(owed.settled(2, TARGET_WINDOW / 8), Some((3, TARGET_WINDOW / 4)));
        assert_eq!(owed.settled(4, 1), None);
        assert_eq!(owed.settled(8, 2), Some((12, 3)));
    }
}
