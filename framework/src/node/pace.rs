//! Deliveries that go no faster than their sender wants: all of one group together.
//!
//! Invariant: a group that was quiet has saved nothing up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::config::NodeConfig;

/// A rate that deliveries of one group keep to together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// The group: deliveries of one node with the same name. What is stored keeps its rate; that of
    /// the delivery that began last counts for all, unless the node was told one
    /// ([`Node::set_pace`](crate::Node::set_pace)).
    pub group: String,
    /// Bytes of content in each second, before they are compressed; of what a relay carries, bytes
    /// of the package. At least one.
    pub rate: u64,
}

/// The groups whose deliveries are under way, and those that were told a rate.
#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<Groups>);

#[derive(Debug, Default)]
struct Groups {
    limiters: HashMap<String, Weak<Limiter>>,
    told: HashMap<String, u64>,
}

/// The limiter that the deliveries of a group wait at.
#[derive(Debug)]
pub(crate) struct Limiter(Mutex<Next>);

/// The moment at which the next byte may go, and the rate.
#[derive(Clone, Copy, Debug)]
struct Next {
    rate: u64,
    at: Option<Instant>,
}

impl Paces {
    /// Tells a group its rate, whatever those of its deliveries are; `None` to count by these
    /// again, from the next one that begins.
    pub(crate) fn tell(&self, group: &str, rate: Option<u64>) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rate) = rate.map(|rate| rate.max(1)) else {
            groups.told.remove(group);
            return;
        };
        groups.told.insert(group.to_owned(), rate);
        if let Some(limiter) = groups.limiters.get(group).and_then(Weak::upgrade) {
            limiter.next().rate = rate;
        }
    }

    /// The limiter of the group, at the rate it was told, or else at this one.
    pub(crate) fn join(&self, pace: Pace) -> Arc<Limiter> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = groups.told.get(&pace.group).copied().unwrap_or(pace.rate).max(1);
        let groups = &mut groups.limiters;
        // As many stay as have deliveries under way.
        groups.retain(|_, limiter| limiter.strong_count() > 0);
        let limiter = groups.get(&pace.group).and_then(Weak::upgrade);
        let limiter = limiter.unwrap_or_else(|| {
            let limiter = Arc::new(Limiter(Mutex::new(Next { rate: 1, at: None })));
            groups.insert(pace.group, Arc::downgrade(&limiter));
            limiter
        });
        limiter.next().rate = rate;
        limiter
    }
}

impl Limiter {
    fn next(&self) -> std::sync::MutexGuard<'_, Next> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rate(&self) -> u64 {
        self.next().rate
    }

    /// Waits until so many bytes may go.
    pub(crate) async fn pass(&self, bytes: usize) {
        let mut left = bytes;
        while left > 0 {
            let turn = {
                let mut next = self.next();
                let piece = next.piece().min(left);
                left -= piece;
                next.turn(Instant::now(), piece)
            };
            tokio::time::sleep_until(turn.into()).await;
        }
    }

    #[cfg(test)]
    pub(crate) fn new(rate: u64) -> Self {
        Self(Mutex::new(Next { rate, at: None }))
    }

    /// Returns `true` if anything has passed.
    #[cfg(test)]
    pub(crate) fn was_asked(&self) -> bool {
        self.next().at.is_some()
    }
}

/// The most bytes of a chunk at this rate: a power of two that comes within half the time after
/// which what does not move is put off, also where all that may run share the rate. At least the
/// smallest chunk, and no more than was chosen.
pub(crate) fn chunk_size(chosen: u32, rate: u64, stall: Duration, running: usize) -> u32 {
    let least = NodeConfig::CHUNK_LEAST.min(chosen).max(1);
    let running = u128::try_from(running.max(1)).unwrap_or(u128::MAX);
    let most = (u128::from(rate).saturating_mul(stall.as_millis()) / 2000)
        .checked_div(running)
        .unwrap_or(0);
    let most = u32::try_from(most).unwrap_or(u32::MAX).clamp(least, chosen.max(1));
    1 << most.ilog2()
}

impl Next {
    /// The most bytes of one piece: of an eighth of a second, so that it flows.
    fn piece(&self) -> usize {
        usize::try_from(self.rate / 8).unwrap_or(usize::MAX).max(1)
    }

    /// Takes the turn of so many bytes, and returns when it comes.
    fn turn(&mut self, now: Instant, bytes: usize) -> Instant {
        let turn = self.at.filter(|at| *at > now).unwrap_or(now);
        let takes = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        self.at = Some(turn + takes);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn those_of_a_group_take_turns_and_quiet_saves_nothing_up() {
        let start = Instant::now();
        let mut next = Next { rate: 1000, at: None };
        let ms = |turn: Instant| (turn - start).as_millis();
        assert_eq!(ms(next.turn(start, 500)), 0);
        assert_eq!(ms(next.turn(start, 250)), 500);
        assert_eq!(ms(next.turn(start, 250)), 750);
        // A minute later it begins anew.
        let later = start + Duration::from_secs(60);
        assert_eq!(ms(next.turn(later, 1000)), 60_000);
        assert_eq!(ms(next.turn(later, 1)), 61_000);
        assert_eq!(next.piece(), 125);
        assert_eq!(Next { rate: 1, at: None }.piece(), 1);
    }

    #[test]
    fn a_group_is_one_as_long_as_somebody_is_in_it() {
        let paces = Paces::default();
        let pace = |group: &str, rate| Pace { group: group.into(), rate };
        let first = paces.join(pace("post", 5));
        let other = paces.join(pace("news", 7));
        drop(paces.join(pace("post", 9)));
        let groups = || paces.0.lock().unwrap().limiters.len();
        assert_eq!(groups(), 2);
        drop((first, other));
        drop(paces.join(pace("more", 1)));
        assert_eq!(groups(), 1);
    }

    #[test]
    fn what_a_group_was_told_counts_for_what_was_stored_before() {
        let paces = Paces::default();
        let pace = |rate| Pace { group: "post".into(), rate };
        let under_way = paces.join(pace(5));
        paces.tell("post", Some(100));
        assert_eq!(under_way.rate(), 100);
        // A stored one with a rate of its own begins.
        assert_eq!(paces.join(pace(5)).rate(), 100);
        drop(under_way);
        assert_eq!(paces.join(pace(5)).rate(), 100);
        paces.tell("post", None);
        assert_eq!(paces.join(pace(7)).rate(), 7);
        paces.tell("post", Some(0));
        assert_eq!(paces.join(pace(7)).rate(), 1);
    }

    #[test]
    fn a_chunk_at_a_rate_comes_before_it_would_be_put_off() {
        let (stall, chosen) = (Duration::from_secs(60), 256 << 10);
        let size = |rate, running| chunk_size(chosen, rate, stall, running);
        // 30 KiB for each of 16 in half of that time.
        assert_eq!(size(16 << 10, 16), 16 << 10);
        assert_eq!(size(16 << 10, 1), 256 << 10);
        assert_eq!(size(64 << 10, 16), 64 << 10);
        assert_eq!((size(1, 16), size(u64::MAX, 16), size(1 << 40, 0)), (1 << 10, chosen, chosen));
        let lasting = chunk_size(4 << 20, u64::MAX, Duration::MAX, usize::MAX);
        assert!(NodeConfig::chunk_size_is_valid(lasting));
        for rate in (0..24).map(|bit| 1_u64 << bit) {
            let size = size(rate, 16);
            assert!(NodeConfig::chunk_size_is_valid(size) && size <= chosen);
            let seconds = u64::from(size) * 16 / rate;
            assert!(size == NodeConfig::CHUNK_LEAST || seconds <= 30, "{rate}: {seconds} s");
        }
    }
}
