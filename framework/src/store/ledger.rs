//! One account for each peer of what it makes this node hold: pure accounting.
//!
//! Invariant: what all hold of a kind is the sum of what each peer holds of it, and nothing that is
//! asked for passes a share or a limit. What was charged is given back once, when its [`Charge`] is
//! dropped or shrinks.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dashmap::DashMap;

use crate::wire::PeerId;

/// A kind of thing that a peer may make this node hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes of packages in the spool's folder: those that come in, those that stopped coming,
    /// those that are kept for others.
    PackageBytes,
    /// The number of these packages, and of those whose sender has not heard yet how they ended.
    Packages,
    /// Deliveries that are remembered, and those under way that will be.
    Remembered,
    /// Credit of messages that were not handled yet, whichever link brought them.
    Messages,
    /// Credit of requests of streams that were not read yet, whichever link brought them.
    Requests,
}

pub(crate) const KINDS: usize = 5;
const ALL: [Kind; KINDS] =
    [Kind::PackageBytes, Kind::Packages, Kind::Remembered, Kind::Messages, Kind::Requests];

/// A kind of work that may be done for a peer in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Links made.
    Links,
    /// Bytes of partial deliveries that are read again to see whether they are what they were.
    Verified,
}

const WORKS: usize = 2;

/// The most that one peer may hold, and all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) share: u64,
    pub(crate) total: u64,
}

/// The work that may be done at once, and how fast the right to more of it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) burst: u64,
    pub(crate) per_second: u64,
}

/// All accounts.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Books>);

struct Books {
    bounds: [Bound; KINDS],
    rates: [Rate; WORKS],
    totals: [AtomicU64; KINDS],
    accounts: DashMap<PeerId, Arc<Held>>,
}

#[derive(Default)]
struct Held {
    amounts: [AtomicU64; KINDS],
    spent: Mutex<[Option<Spent>; WORKS]>,
}

/// The part of a [`Rate`] that is spent, as of then.
#[derive(Clone, Copy)]
struct Spent {
    amount: f64,
    at: Instant,
}

/// The account of what one peer holds. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Account {
    books: Arc<Books>,
    held: Arc<Held>,
}

/// Something that is held. Dropping it gives it back.
pub(crate) struct Charge {
    account: Account,
    kind: Kind,
    amount: u64,
}

/// There is no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    kind: Kind,
    asked: u64,
    held: u64,
    limit: u64,
    by_all: bool,
}

impl Ledger {
    /// Accounts with these bounds of packages' bytes, of packages, of remembered deliveries, of
    /// messages and of requests; and these rates of links and of bytes verified.
    pub(crate) fn new(bounds: [Bound; KINDS], rates: [Rate; WORKS]) -> Self {
        Self(Arc::new(Books {
            bounds,
            rates,
            totals: Default::default(),
            accounts: DashMap::new(),
        }))
    }

    /// The account of a peer.
    pub(crate) fn account(&self, peer: PeerId) -> Account {
        let held = Arc::clone(&self.0.accounts.entry(peer).or_default());
        Account { books: Arc::clone(&self.0), held }
    }

    /// Returns what all hold.
    pub(crate) fn total(&self, kind: Kind) -> u64 {
        self.0.totals[kind as usize].load(Ordering::Relaxed)
    }

    /// Closes the account of a peer who holds nothing, unless somebody works with it. What it has
    /// spent is forgotten with time, so not with this.
    pub(crate) fn tidy(&self, peer: PeerId, now: Instant) {
        let rates = self.0.rates;
        self.0.accounts.remove_if(&peer, |_, held| {
            let spent = held.spent.lock().unwrap_or_else(PoisonError::into_inner);
            let rested = spent
                .iter()
                .zip(rates)
                .all(|(spent, rate)| spent.is_none_or(|spent| spent.left(rate, now) <= 0.0));
            rested
                && Arc::strong_count(held) == 1
                && held.amounts.iter().all(|amount| amount.load(Ordering::Relaxed) == 0)
        });
    }
}

impl Account {
    /// One without bounds, for tests.
    #[cfg(test)]
    pub(crate) fn unbounded() -> Self {
        Self::with_share(u64::MAX)
    }

    /// One with this share of each kind, for tests.
    #[cfg(test)]
    pub(crate) fn with_share(share: u64) -> Self {
        let bound = Bound { share, total: u64::MAX };
        Ledger::new([bound; KINDS], [Rate { burst: u64::MAX, per_second: 0 }; WORKS])
            .account(PeerId::from_bytes([0; 32]))
    }

    /// Returns what the peer holds.
    pub(crate) fn held(&self, kind: Kind) -> u64 {
        self.held.amounts[kind as usize].load(Ordering::Relaxed)
    }

    /// Charges it, if both the peer's share and the limit of all allow.
    pub(crate) fn charge(&self, kind: Kind, amount: u64) -> Result<Charge, Full> {
        self.charge_within(kind, amount, self.books.bounds[kind as usize].share)
    }

    /// The same, with another share.
    pub(crate) fn charge_within(
        &self,
        kind: Kind,
        amount: u64,
        share: u64,
    ) -> Result<Charge, Full> {
        self.take(kind, amount, share)?;
        Ok(Charge { account: self.clone(), kind, amount })
    }

    /// Charges what is there already, whatever the bounds say: it counts against what comes.
    pub(crate) fn charge_anyway(&self, kind: Kind, amount: u64) -> Charge {
        self.held.amounts[kind as usize].fetch_add(amount, Ordering::Relaxed);
        self.books.totals[kind as usize].fetch_add(amount, Ordering::Relaxed);
        Charge { account: self.clone(), kind, amount }
    }

    /// Charges it without a [`Charge`] to hold: whoever does that makes one of it with
    /// [`Self::taken`] in the end.
    pub(crate) fn take_bare(&self, kind: Kind, amount: u64) -> Result<(), Full> {
        self.take(kind, amount, self.books.bounds[kind as usize].share)
    }

    /// Returns what was charged without a [`Charge`], as one.
    pub(crate) fn taken(&self, kind: Kind, amount: u64) -> Charge {
        Charge { account: self.clone(), kind, amount }
    }

    fn take(&self, kind: Kind, amount: u64, share: u64) -> Result<(), Full> {
        let total = self.books.bounds[kind as usize].total;
        add(&self.held.amounts[kind as usize], amount, share).map_err(|held| Full {
            kind,
            asked: amount,
            held,
            limit: share,
            by_all: false,
        })?;
        add(&self.books.totals[kind as usize], amount, total).map_err(|held| {
            self.held.amounts[kind as usize].fetch_sub(amount, Ordering::Relaxed);
            Full { kind, asked: amount, held, limit: total, by_all: true }
        })
    }

    fn give_back(&self, kind: Kind, amount: u64) {
        self.held.amounts[kind as usize].fetch_sub(amount, Ordering::Relaxed);
        self.books.totals[kind as usize].fetch_sub(amount, Ordering::Relaxed);
    }

    /// Has so much work done for the peer, unless it has had too much of late. One piece may be
    /// larger than what is left, so that a large one is possible at all; the next ones wait for
    /// it.
    pub(crate) fn spend(&self, work: Work, amount: u64, now: Instant) -> bool {
        let rate = self.books.rates[work as usize];
        let mut spent = self.held.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = &mut spent[work as usize];
        let before = spent.map_or(0.0, |spent| spent.left(rate, now));
        #[expect(clippy::cast_precision_loss, reason = "nobody counts that far")]
        let (burst, amount) = (rate.burst as f64, amount as f64);
        let is_allowed = before + amount <= burst || before <= 0.0;
        if is_allowed {
            *spent = Some(Spent { amount: before + amount, at: now });
        }
        is_allowed
    }
}

/// Adds, unless the sum passes the limit; the error is what there is.
fn add(to: &AtomicU64, amount: u64, limit: u64) -> Result<(), u64> {
    let sum = |held: u64| held.checked_add(amount).filter(|&sum| sum <= limit);
    to.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).map(drop)
}

impl Spent {
    fn left(self, rate: Rate, now: Instant) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "nobody counts that far")]
        let regained =
            now.saturating_duration_since(self.at).as_secs_f64() * rate.per_second as f64;
        (self.amount - regained).max(0.0)
    }
}

impl Charge {
    pub(crate) fn amount(&self) -> u64 {
        self.amount
    }

    /// Charges so much more within this share, or nothing.
    pub(crate) fn grow_within(&mut self, more: u64, share: u64) -> Result<(), Full> {
        self.account.take(self.kind, more, share)?;
        self.amount += more;
        Ok(())
    }

    /// Makes it so much, whatever the bounds say: what is there counts.
    pub(crate) fn set(&mut self, amount: u64) {
        if amount > self.amount {
            let mut more = self.account.charge_anyway(self.kind, amount - self.amount);
            self.amount += std::mem::take(&mut more.amount);
        } else {
            self.account.give_back(self.kind, self.amount - amount);
            self.amount = amount;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.give_back(self.kind, self.amount);
    }
}

impl Full {
    /// Returns `true` if it is the limit of all, and not the peer's share.
    pub(crate) fn is_of_all(&self) -> bool {
        self.by_all
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, asked, held, limit, by_all } = *self;
        let whose = if by_all { "all peers together" } else { "this peer" };
        let what = match kind {
            Kind::PackageBytes => "bytes of packages",
            Kind::Packages => "packages",
            Kind::Remembered => "deliveries that are remembered",
            Kind::Messages => "credit of messages that are not handled yet",
            Kind::Requests => "credit of requests of streams that are not read yet",
        };
        write!(
            f,
            "{whose} may have {limit} here ({what}); {held} are taken, and {asked} more would \
             pass that"
        )
    }
}

impl std::error::Error for Full {}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(ALL.map(|kind| (kind, self.total(kind)))).finish()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(ALL.map(|kind| (kind, self.held(kind)))).finish()
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Charge")
            .field("kind", &self.kind)
            .field("amount", &self.amount)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
