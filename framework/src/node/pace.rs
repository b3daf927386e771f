//! Deliveries that go no faster than their sender wants: all of one group together.
//!
//! Invariant: a group that was quiet has saved nothing up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A rate that deliveries of one group keep to together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// The group: deliveries of one node with the same name. The newest rate counts for all.
    pub group: String,
    /// Bytes of content in each second, before they are compressed; of what a relay carries, bytes
    /// of the package. At least one.
    pub rate: u64,
}

/// The groups whose deliveries are under way.
#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<HashMap<String, Weak<Limiter>>>);

/// What the deliveries of a group wait at.
#[derive(Debug)]
pub(crate) struct Limiter(Mutex<Next>);

/// When the next byte may go, at which rate.
#[derive(Clone, Copy, Debug)]
struct Next {
    rate: u64,
    at: Option<Instant>,
}

impl Paces {
    /// The limiter of the group, from now on at this rate.
    pub(crate) fn join(&self, pace: Pace) -> Arc<Limiter> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // As many stay as have deliveries under way.
        groups.retain(|_, limiter| limiter.strong_count() > 0);
        let limiter = groups.get(&pace.group).and_then(Weak::upgrade);
        let limiter = limiter.unwrap_or_else(|| {
            let limiter = Arc::new(Limiter(Mutex::new(Next { rate: 1, at: None })));
            groups.insert(pace.group, Arc::downgrade(&limiter));
            limiter
        });
        limiter.next().rate = pace.rate.max(1);
        limiter
    }
}

impl Limiter {
    fn next(&self) -> std::sync::MutexGuard<'_, Next> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Whether anything has passed.
    #[cfg(test)]
    pub(crate) fn was_asked(&self) -> bool {
        self.next().at.is_some()
    }
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
        let groups = || paces.0.lock().unwrap().len();
        assert_eq!(groups(), 2);
        drop((first, other));
        drop(paces.join(pace("more", 1)));
        assert_eq!(groups(), 1);
    }
}
