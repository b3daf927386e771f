//! The schedule of tries: pure policy. It is told what happened and what time it is, and says which
//! deliveries to try now.
//!
//! Invariant: a peer that can't be reached is tried with one delivery at a time, so that nobody who
//! is away holds up the others; one that can be has at most [`RUNNING_PER_PEER`] under way, the
//! most urgent first, and of these the oldest; each fifth is the oldest of all.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::delivery::TransferId;
use crate::pipeline::Fair;
use crate::wire::PeerId;

/// Deliveries of the outbox that may be under way to one peer at once.
pub(crate) const RUNNING_PER_PEER: usize = 32;
/// The wait after the first failure; doubled each time.
const BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait between two tries.
pub(crate) const BACKOFF_MOST: Duration = Duration::from_secs(300);
/// The id that no other one is before.
const FIRST: TransferId = TransferId::from_bytes([0; 24]);
/// The ranks there are.
const RANKS: usize = 3;
/// The most waiting deliveries of one peer and rank that are looked at in one go.
const LOOKED_AT: usize = 1024;

/// The rank of a delivery, the most urgent first, and the time at which it was stored.
pub(crate) type Turn = (usize, u64);

#[derive(Debug, Default)]
pub(crate) struct Schedule {
    peers: HashMap<PeerId, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    /// By rank and age. When each may be tried.
    waiting: BTreeMap<(Turn, TransferId), Instant>,
    fair: Fair,
    running: usize,
    up: bool,
    /// Tries in a row that found nobody there.
    unreachable: u32,
    not_before: Option<Instant>,
    /// The last one that somebody wants tried: it is the next one.
    hurried: Option<Key>,
}

impl Schedule {
    /// A delivery waits from now on, and may be tried from `due` on.
    pub(crate) fn wait(&mut self, peer: PeerId, turn: Turn, id: TransferId, due: Instant) {
        self.peers.entry(peer).or_default().waiting.insert((turn, id), due);
    }

    /// A delivery waits no longer.
    pub(crate) fn withdraw(&mut self, peer: PeerId, turn: Turn, id: TransferId) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.waiting.remove(&(turn, id));
        }
    }

    /// Somebody wants this one tried now, whatever was found out about its peer.
    pub(crate) fn hurry(&mut self, peer: PeerId, turn: Turn, id: TransferId, now: Instant) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        if let Some(due) = known.waiting.get_mut(&(turn, id)) {
            (*due, known.not_before) = (now, None);
            known.hurried = Some((turn, id));
        }
    }

    /// The newest that wait for a peer: some of each rank.
    pub(crate) fn newest(&self, peer: PeerId) -> Vec<TransferId> {
        const SOME: usize = 16;
        let Some(known) = self.peers.get(&peer) else { return Vec::new() };
        let of_rank = |rank| known.waiting.range(((rank, 0), FIRST)..((rank + 1, 0), FIRST)).rev();
        (0..RANKS).flat_map(|rank| of_rank(rank).take(SOME)).map(|(&(_, id), _)| id).collect()
    }

    /// Returns `true` if there is a link.
    pub(crate) fn is_up(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.up)
    }

    /// A link is up: whatever waited for it need not wait.
    pub(crate) fn up(&mut self, peer: PeerId, now: Instant) {
        let known = self.peers.entry(peer).or_default();
        (known.up, known.unreachable, known.not_before) = (true, 0, None);
        known.waiting.values_mut().for_each(|due| *due = now.min(*due));
    }

    pub(crate) fn down(&mut self, peer: PeerId) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.up = false;
        }
    }

    /// A try has ended; `reached` tells whether the peer was there at all.
    pub(crate) fn ended(&mut self, peer: PeerId, reached: bool, now: Instant, jitter: f64) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        known.running = known.running.saturating_sub(1);
        if reached {
            (known.unreachable, known.not_before) = (0, None);
        } else if !known.up {
            known.unreachable = known.unreachable.saturating_add(1);
            known.not_before = Some(now + backoff(known.unreachable, jitter));
        }
    }

    /// Returns what to try now: counted as under way from here on.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<TransferId> {
        self.peers.retain(|_, peer| peer.up || peer.running > 0 || !peer.waiting.is_empty());
        self.peers.values_mut().flat_map(|peer| peer.due(now)).collect()
    }

    /// Returns `true` if nothing waits at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.peers.values().all(|peer| peer.waiting.is_empty())
    }
}

type Key = (Turn, TransferId);

impl Peer {
    fn due(&mut self, now: Instant) -> Vec<TransferId> {
        let most = if self.up { RUNNING_PER_PEER } else { 1 };
        let room = most.saturating_sub(self.running);
        let is_hurried = self.hurried.is_some_and(|key| self.waiting.contains_key(&key));
        let is_early = self.not_before.is_some_and(|not_before| now < not_before);
        if room == 0 || (is_early && !is_hurried) {
            return Vec::new();
        }
        let hurried = self.hurried.take().filter(|key| self.waiting.remove(key).is_some());
        let mut due: Vec<_> = hurried.map(|key| key.1).into_iter().collect();
        let mut ranks = self.due_by_rank(now, room);
        while due.len() < room {
            let first = ranks.iter().position(|rank| !rank.is_empty());
            let oldest = |rank: &&VecDeque<Key>| rank.front().map_or(u64::MAX, |key| key.0.1);
            let oldest = ranks.iter().min_by_key(oldest).and_then(|rank| rank.front().copied());
            let (Some(first), Some(((oldest, _), _))) = (first, oldest) else { break };
            let is_oldest = self.fair.is_of_the_oldest(first == oldest);
            let next = ranks[if is_oldest { oldest } else { first }].pop_front();
            if let Some(key) = next {
                self.waiting.remove(&key);
                due.push(key.1);
            }
        }
        self.running += due.len();
        due
    }

    /// Returns what may be tried now, so many at most of each rank, the oldest first.
    fn due_by_rank(&self, now: Instant, most: usize) -> [VecDeque<Key>; RANKS] {
        std::array::from_fn(|rank| {
            let all = self.waiting.range(((rank, 0), FIRST)..((rank + 1, 0), FIRST));
            let due = all.take(LOOKED_AT).filter(|&(_, &due)| due <= now);
            due.map(|(&key, _)| key).take(most).collect()
        })
    }
}

/// The wait after so many failures: exponential, and somewhere in its upper half, so that nodes do
/// not come back in step. `jitter` is from 0 to 1.
pub(crate) fn backoff(failures: u32, jitter: f64) -> Duration {
    let whole = BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF_MOST);
    whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Priority;

    const A: PeerId = PeerId::from_bytes([1; 32]);
    const B: PeerId = PeerId::from_bytes([2; 32]);

    fn turn(created: u64) -> Turn {
        (Priority::Normal.rank(), created)
    }

    fn id(number: u8) -> TransferId {
        TransferId::from_bytes([number; 24])
    }

    #[test]
    fn who_is_away_is_tried_with_one_delivery_and_ever_more_rarely() {
        let (mut schedule, mut now) = (Schedule::default(), Instant::now());
        for number in 0..10 {
            schedule.wait(A, turn(u64::from(number)), id(number), now);
        }
        let mut waits = Vec::new();
        for round in 0..12 {
            assert_eq!(schedule.due(now), [id(0)], "round {round}");
            assert_eq!(schedule.due(now), [], "one at a time");
            schedule.ended(A, false, now, 1.0);
            schedule.wait(A, turn(0), id(0), now);
            let again = schedule.peers[&A].not_before.unwrap();
            assert_eq!(schedule.due(again - Duration::from_millis(1)), []);
            waits.push(again - now);
            now = again;
        }
        assert!(waits.is_sorted() && waits[0] >= BACKOFF && waits[11] == BACKOFF_MOST, "{waits:?}");
    }

    #[test]
    fn what_somebody_hurries_is_the_next_one_though_its_peer_is_away() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        for number in 0..10 {
            schedule.wait(A, turn(u64::from(number)), id(number), now);
        }
        assert_eq!(schedule.due(now), [id(0)]);
        schedule.ended(A, false, now, 1.0);
        schedule.wait(A, turn(0), id(0), now);
        assert_eq!(schedule.due(now), []);
        schedule.hurry(A, turn(7), id(7), now);
        assert_eq!(schedule.due(now), [id(7)]);
        schedule.ended(A, true, now, 1.0);
        assert_eq!(schedule.due(now), [id(0)]);
        // Also one that is hurried while another one finds nobody there.
        schedule.hurry(A, turn(4), id(4), now);
        assert_eq!(schedule.due(now), [], "one at a time");
        schedule.ended(A, false, now, 1.0);
        assert_eq!(schedule.due(now), [id(4)]);
        assert_eq!(schedule.newest(A), [9, 8, 6, 5, 3, 2, 1].map(id));
        // One that is gone hurries nobody.
        schedule.ended(A, true, now, 1.0);
        schedule.hurry(A, turn(5), id(5), now);
        schedule.withdraw(A, turn(5), id(5));
        assert_eq!(schedule.due(now), [id(1)]);
    }

    #[test]
    fn who_comes_is_given_everything_at_once_up_to_the_limit_the_oldest_first() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        for number in 0..100 {
            schedule.wait(
                A,
                turn(u64::from(100 - number)),
                id(number),
                now + Duration::from_secs(1000),
            );
        }
        assert_eq!(schedule.due(now), []);
        schedule.up(A, now);
        let first = schedule.due(now);
        assert_eq!((first.len(), first[0]), (RUNNING_PER_PEER, id(99)));
        schedule.ended(A, true, now, 0.0);
        assert_eq!(schedule.due(now).len(), 1);
    }

    #[test]
    fn one_peer_does_not_hold_up_another() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.wait(A, turn(1), id(1), now);
        schedule.wait(B, turn(2), id(2), now);
        assert_eq!(schedule.due(now).len(), 2);
        schedule.ended(A, false, now, 0.0);
        schedule.ended(B, true, now, 0.0);
        schedule.wait(A, turn(1), id(1), now);
        schedule.wait(B, turn(3), id(3), now);
        assert_eq!(schedule.due(now), [id(3)]);
        schedule.withdraw(A, turn(1), id(1));
        assert!(schedule.is_empty());
    }

    #[test]
    fn the_urgent_are_tried_first_and_each_fifth_is_the_oldest_of_all() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let ranks = [Priority::Low, Priority::Normal, Priority::High].map(Priority::rank);
        for number in 0..12 {
            schedule.wait(A, (ranks[number / 4], number as u64), id(number as u8), now);
        }
        let mut order = Vec::new();
        while order.len() < 12 {
            let due = schedule.due(now);
            assert_eq!(due.len(), 1);
            order.extend(due);
            schedule.ended(A, true, now, 0.0);
        }
        assert_eq!(order, [8, 9, 10, 11, 0, 4, 5, 6, 7, 1, 2, 3].map(id));
        // Also where many go at once.
        for number in 0..12 {
            schedule.wait(A, (ranks[number / 4], number as u64), id(number as u8), now);
        }
        schedule.up(A, now);
        assert_eq!(schedule.due(now)[..6], [8, 9, 10, 11, 0, 4].map(id));
    }
}
