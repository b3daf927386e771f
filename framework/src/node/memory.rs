//! Deliveries that ended: a replay is answered with the old receipt and delivered no second time.
//!
//! Invariant: nothing is forgotten before it expires, by the time that has passed for certain,
//! whatever the wall clock says; when the memory is full, what has expired as far as the wall clock
//! tells goes, too, and else new deliveries are refused. With a spool, what is remembered is
//! durable before it is said.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use super::arrival::{Arrival, Processed};
use super::clock::Moment;
use super::ledger::{Charge, Full, Kind, Ledger};
use crate::delivery::TransferId;
use crate::pipeline::Journal;
use crate::store::{Change, Store, UNREAD};
use crate::wire::PeerId;

/// Clocks of two nodes may differ by so many seconds.
const SKEW: u64 = 300;
/// Words about processed deliveries that are said in one go when a link is up.
const SAID_AT_ONCE: usize = 1024;
/// The inbox that arrivals are noted under which are kept for somebody else. No inbox can be called
/// like that.
pub(crate) const RELAYED: &str = "/relayed";
/// The table of the spool.
pub(crate) const TABLE: &str = "delivered";

pub(crate) struct Remembered {
    ledger: Ledger,
    spool: Option<Arc<dyn Store>>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    arrivals: HashMap<(PeerId, TransferId), Arrival>,
    by_expiry: BTreeSet<(u64, PeerId, TransferId)>,
    /// The wall clock's time of the last look for what has expired.
    looked: u64,
    /// Each is charged to who made it, whoever carried it.
    charges: HashMap<(PeerId, TransferId), Charge>,
}

impl Remembered {
    /// Remembers what the spool does. A record that does not decode is left alone, and named.
    pub(crate) fn load(ledger: Ledger, spool: Option<Arc<dyn Store>>) -> io::Result<Self> {
        let mut table = Table::default();
        for (key, value) in
            spool.as_ref().map_or_else(|| Ok(Vec::new()), |spool| spool.load(TABLE))?
        {
            match (delivery_of(&key), Arrival::decode(&value)) {
                (Some((peer, transfer)), Ok(arrival)) => {
                    table.insert(&ledger, peer, transfer, arrival)
                }
                (_, outcome) => {
                    let key = data_encoding::HEXLOWER.encode(&key);
                    tracing::error!(
                        key, error = ?outcome.err(), why = UNREAD,
                        "the record of a delivery can't be read: a replay of it would be taken"
                    );
                }
            }
        }
        Ok(Self { ledger, spool, table: Mutex::new(table) })
    }

    /// A delivery that ended.
    pub(crate) fn arrival(&self, sender: PeerId, transfer: TransferId) -> Option<Arrival> {
        self.table().arrivals.get(&(sender, transfer)).cloned()
    }

    /// One that was delivered here, and is not kept for others.
    pub(crate) fn here(&self, sender: PeerId, transfer: TransferId) -> Option<Arrival> {
        self.table().arrivals.get(&(sender, transfer)).filter(|arrival| is_here(arrival)).cloned()
    }

    /// Returns `true` if a delivery is remembered by now, as far as the spool says. May block.
    pub(crate) fn look_again(&self, sender: PeerId, transfer: TransferId) -> io::Result<bool> {
        if self.arrival(sender, transfer).is_some() {
            return Ok(true);
        }
        let noted = self
            .spool
            .as_ref()
            .map_or(Ok(None), |spool| spool.find(TABLE, &delivery_key(sender, transfer)))?;
        let Some(arrival) = noted.and_then(|noted| Arrival::decode(&noted).ok()) else {
            return Ok(false);
        };
        // Whoever wrote it is about to say so.
        self.table().insert(&self.ledger, sender, transfer, arrival);
        Ok(true)
    }

    /// Room for one more of a peer: held while it comes.
    pub(crate) fn reserve(&self, sender: PeerId, now: Moment) -> Result<Charge, Full> {
        let mut table = self.table();
        table.forget_expired(now.certain);
        let account = self.ledger.account(sender);
        account.charge(Kind::Remembered, 1).or_else(|full| {
            if table.looked >= now.passed {
                return Err(full);
            }
            table.looked = now.passed;
            table.forget_passed(now.passed, (!full.is_of_all()).then_some(sender));
            account.charge(Kind::Remembered, 1)
        })
    }

    /// Remembers a delivery, and forgets what its journal says. May block; durable when it returns.
    pub(crate) fn remember(
        &self,
        sender: PeerId,
        transfer: TransferId,
        arrival: Arrival,
    ) -> io::Result<()> {
        self.remember_with(sender, transfer, arrival, Vec::new())
    }

    /// The same, with these changes of the spool, all or none.
    pub(crate) fn remember_with(
        &self,
        sender: PeerId,
        transfer: TransferId,
        arrival: Arrival,
        others: Vec<Change>,
    ) -> io::Result<()> {
        let arrival = arrival.terse();
        if let Some(spool) = &self.spool {
            let key = delivery_key(sender, transfer);
            let value = arrival.encode().map_err(io::Error::other)?;
            let mut changes =
                vec![Change::Put { table: TABLE, key: key.clone(), value }, Journal::forget(key)];
            changes.extend(others);
            spool.write(changes)?;
        }
        self.table().insert(&self.ledger, sender, transfer, arrival);
        Ok(())
    }

    /// Forgets a package that was kept for somebody else, and given up: its sender may send it
    /// again. What the spool knows of it is left to [`Self::remove_record`]; whether there was
    /// one.
    pub(crate) fn forget_relayed(&self, sender: PeerId, transfer: TransferId) -> bool {
        let mut table = self.table();
        let key = (sender, transfer);
        let table = &mut *table;
        table.arrivals.get(&key).is_some_and(|arrival| arrival.inbox == RELAYED) && {
            table.charges.remove(&key);
            table.arrivals.remove(&key).is_some()
        }
    }

    /// Takes the record of what was forgotten out of the spool, unless it has come again. May
    /// block.
    pub(crate) fn remove_record(&self, sender: PeerId, transfer: TransferId) -> io::Result<()> {
        match &self.spool {
            Some(spool) if self.arrival(sender, transfer).is_none() => spool
                .write(vec![Change::Remove { table: TABLE, key: delivery_key(sender, transfer) }]),
            _ => Ok(()),
        }
    }

    /// Changes what is remembered of a delivery, if it is; durable when it returns. May block.
    pub(crate) fn change(
        &self,
        sender: PeerId,
        transfer: TransferId,
        change: impl FnOnce(&mut Arrival),
    ) -> io::Result<Option<Arrival>> {
        let Some(mut arrival) = self.arrival(sender, transfer) else { return Ok(None) };
        change(&mut arrival);
        self.remember(sender, transfer, arrival.clone())?;
        Ok(Some(arrival))
    }

    /// Returns the proofs that the peer has not heard yet, of deliveries it made or carried, by its
    /// own ids: the most of them that are said at once.
    pub(crate) fn unheard(&self, sender: PeerId) -> Vec<(TransferId, [u8; 32])> {
        let table = self.table();
        let is_told =
            |peer: PeerId, arrival: &Arrival| peer == sender || arrival.carried_by == Some(sender);
        let unheard = table.arrivals.iter().filter(|((peer, _), arrival)| {
            arrival.processed == Processed::Unheard && is_told(*peer, arrival)
        });
        let known_as = |peer: PeerId, transfer, arrival: &Arrival| {
            if peer == sender { transfer } else { arrival.elsewhere.unwrap_or(transfer) }
        };
        let said = |(&(peer, transfer), arrival): (&(PeerId, TransferId), &Arrival)| {
            (known_as(peer, transfer, arrival), *arrival.processed_mac.expose())
        };
        unheard.map(said).take(SAID_AT_ONCE).collect()
    }

    /// The newest of those that were delivered here and are wanted, so many at most, the newest
    /// first: not what is kept for others, and each once, whoever carried it.
    pub(crate) fn pick(
        &self,
        most: usize,
        wanted: impl Fn(PeerId, TransferId, &Arrival) -> bool,
    ) -> Vec<(PeerId, TransferId, Arrival)> {
        let table = self.table();
        let here = table.arrivals.iter().filter(|&(&(peer, transfer), arrival)| {
            is_here(arrival) && wanted(peer, transfer, arrival)
        });
        // The same order every time, of those that came in the same second, too.
        let order = |&(&(peer, transfer), arrival): &(&(PeerId, TransferId), &Arrival)| {
            (std::cmp::Reverse(arrival.at), peer, transfer)
        };
        let mut list: Vec<_> = here.collect();
        if list.len() > most {
            list.select_nth_unstable_by_key(most, order);
            list.truncate(most);
        }
        list.sort_unstable_by_key(order);
        let copied =
            |(&(peer, transfer), arrival): (&_, &Arrival)| (peer, transfer, arrival.clone());
        list.into_iter().map(copied).collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, ledger: &Ledger, sender: PeerId, transfer: TransferId, arrival: Arrival) {
        let whose = arrival.packed_by.unwrap_or(sender);
        // What has happened is remembered, whatever the bounds say.
        let charge = || ledger.account(whose).charge_anyway(Kind::Remembered, 1);
        self.charges.entry((sender, transfer)).or_insert_with(charge);
        self.by_expiry.insert((arrival.expires, sender, transfer));
        self.arrivals.insert((sender, transfer), arrival);
    }

    /// Forgets what has passed as far as the wall clock tells, of one peer or of all.
    fn forget_passed(&mut self, passed: u64, only: Option<PeerId>) {
        let charges = &mut self.charges;
        self.arrivals.retain(|key, arrival| {
            let is_theirs = only.is_none_or(|only| arrival.packed_by.unwrap_or(key.0) == only);
            let stays = !is_theirs
                || arrival.passes.is_none_or(|passes| passes.saturating_add(SKEW) > passed);
            if !stays {
                charges.remove(key);
            }
            stays
        });
    }

    fn forget_expired(&mut self, now: u64) {
        while let Some(&(expires, sender, transfer)) = self.by_expiry.first() {
            if expires.saturating_add(SKEW) > now {
                break;
            }
            self.by_expiry.pop_first();
            // It may have come again since, and be worth remembering for longer.
            if self
                .arrivals
                .get(&(sender, transfer))
                .is_some_and(|arrival| arrival.expires <= expires)
            {
                self.arrivals.remove(&(sender, transfer));
                self.charges.remove(&(sender, transfer));
            }
        }
    }
}

/// Returns `true` if it was delivered here, is not kept for others, and carried no other one.
fn is_here(arrival: &Arrival) -> bool {
    arrival.packed_by.is_none() && arrival.inbox != RELAYED
}

/// Returns `true` if what expires then has no use any more.
pub(crate) fn is_old(expires: u64, now: u64) -> bool {
    expires.saturating_add(SKEW) <= now
}

/// Removes from a spool what has no use any more: words of deliveries that have expired, and notes
/// about partial ones.
pub(crate) fn sweep(spool: &dyn Store, now: Moment) -> io::Result<()> {
    let old = |expires: u64| is_old(expires, now.certain);
    let mut changes = Vec::new();
    for (key, value) in spool.load(TABLE)? {
        if Arrival::decode(&value).is_ok_and(|arrival| old(arrival.expires)) {
            changes.push(Change::Remove { table: TABLE, key });
        }
    }
    for (key, note) in spool.load(Journal::TABLE)? {
        if old(Journal::expires(&note)) {
            changes.push(Journal::forget(key));
        }
    }
    for part in changes.chunks(SWEEP) {
        spool.write(part.to_vec())?;
    }
    Ok(())
}

/// Records removed in one go.
const SWEEP: usize = 1024;

/// Returns the key of records about one delivery.
pub(crate) fn delivery_key(sender: PeerId, transfer: TransferId) -> Vec<u8> {
    [&sender.as_bytes()[..], transfer.as_bytes()].concat()
}

/// Returns `true` if it is a record of a delivery.
pub(crate) fn is_readable(key: &[u8], value: &[u8]) -> bool {
    delivery_of(key).is_some() && Arrival::decode(value).is_ok()
}

fn delivery_of(key: &[u8]) -> Option<(PeerId, TransferId)> {
    let (sender, transfer) = key.split_first_chunk::<32>()?;
    Some((PeerId::from_bytes(*sender), TransferId::from_bytes(transfer.try_into().ok()?)))
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Receipt;
    use crate::node::MemoryStore;
    use crate::wire::SecretBytes;

    fn ledger(share: u64, total: u64) -> Ledger {
        let rate = crate::node::ledger::Rate { burst: 1, per_second: 1 };
        Ledger::new(
            [crate::node::ledger::Bound { share, total }; crate::node::ledger::KINDS],
            [rate; 2],
        )
    }

    fn arrival(expires: u64) -> Arrival {
        let receipt =
            Receipt { digest: [1; 32], length: 2, place: "in/a".into(), files: 1, mac: [3; 32] };
        Arrival {
            attempt: 0,
            at: 5,
            expires,
            inbox: "in".into(),
            name: "a".into(),
            receipt,
            processed: Processed::No,
            processed_mac: SecretBytes::new([4; 32]),
            carried_by: None,
            packed_by: None,
            passes: Some(expires),
            elsewhere: None,
            path: None,
        }
    }

    fn certain(certain: u64) -> Moment {
        Moment { certain, passed: certain }
    }

    #[test]
    fn what_was_delivered_outlives_the_node_until_it_expires() {
        let (peer, transfer) = (PeerId::from_bytes([1; 32]), TransferId::from_bytes([2; 24]));
        let spool: Arc<dyn Store> = Arc::<MemoryStore>::default();
        let load = || Remembered::load(ledger(1, 2), Some(Arc::clone(&spool))).unwrap();
        let journal = Journal::open(
            Arc::clone(&spool),
            delivery_key(peer, transfer),
            100,
            Some([0; 32]),
            1024,
        )
        .unwrap();
        journal.note(b"half of it").unwrap();
        load().remember(peer, transfer, arrival(100)).unwrap();
        assert_eq!(spool.load(Journal::TABLE).unwrap(), [], "the note goes with it");
        assert_eq!(load().arrival(peer, transfer), Some(arrival(100)));
        assert!(
            load().reserve(peer, certain(100 + SKEW - 1)).is_err(),
            "it is full, and forgets nothing that may come again"
        );
        let (memory, other) = (load(), PeerId::from_bytes([9; 32]));
        let others = memory.reserve(other, certain(100 + SKEW - 1)).unwrap();
        assert!(
            memory.reserve(PeerId::from_bytes([8; 32]), certain(100 + SKEW - 1)).is_err(),
            "it is as full as it may be of all"
        );
        drop(others);
        assert!(load().reserve(peer, certain(100 + SKEW)).is_ok());
        sweep(spool.as_ref(), certain(100 + SKEW)).unwrap();
        assert_eq!(load().arrival(peer, transfer), None);
    }

    #[test]
    fn what_only_the_wall_clock_says_has_passed_is_forgotten_for_want_of_room_alone() {
        let peer = PeerId::from_bytes([1; 32]);
        let (first, second) = (TransferId::from_bytes([2; 24]), TransferId::from_bytes([3; 24]));
        let spool: Arc<dyn Store> = Arc::<MemoryStore>::default();
        let memory = Remembered::load(ledger(2, 2), Some(Arc::clone(&spool))).unwrap();
        memory.remember(peer, first, arrival(100)).unwrap();
        let years_later = Moment { certain: 50, passed: 1 << 30 };
        assert!(memory.reserve(peer, years_later).is_ok());
        sweep(spool.as_ref(), years_later).unwrap();
        for memory in [&memory, &Remembered::load(ledger(2, 2), Some(Arc::clone(&spool))).unwrap()]
        {
            assert_eq!(memory.arrival(peer, first), Some(arrival(100)), "it may come again");
        }
        memory.remember(peer, second, Arrival { passes: Some(1 << 31), ..arrival(200) }).unwrap();
        assert!(memory.reserve(peer, years_later).is_ok());
        assert_eq!(
            (memory.arrival(peer, first), memory.arrival(peer, second).is_some()),
            (None, true)
        );
    }

    #[test]
    fn what_came_again_is_remembered_for_as_long_as_it_has_to_be_now() {
        let (peer, transfer) = (PeerId::from_bytes([1; 32]), TransferId::from_bytes([2; 24]));
        let memory = Remembered::load(ledger(9, 9), None).unwrap();
        memory.remember(peer, transfer, arrival(100)).unwrap();
        memory.remember(peer, transfer, arrival(5000)).unwrap();
        assert!(
            memory.reserve(peer, certain(4000)).is_ok() && memory.arrival(peer, transfer).is_some()
        );
        assert!(
            memory.reserve(peer, certain(5000 + SKEW)).is_ok()
                && memory.arrival(peer, transfer).is_none()
        );
    }

    #[test]
    fn what_has_become_durable_and_is_about_to_be_said_is_found() {
        let (peer, transfer) = (PeerId::from_bytes([1; 32]), TransferId::from_bytes([2; 24]));
        let spool: Arc<dyn Store> = Arc::<MemoryStore>::default();
        let (one, other) = [(); 2]
            .map(|()| Remembered::load(ledger(1, 1), Some(Arc::clone(&spool))).unwrap())
            .into();
        assert!(!other.look_again(peer, transfer).unwrap());
        one.remember(peer, transfer, arrival(100)).unwrap();
        assert!(
            other.arrival(peer, transfer).is_none() && other.look_again(peer, transfer).unwrap()
        );
        assert_eq!(other.arrival(peer, transfer), Some(arrival(100)));
    }
}
