//! When a dead actor is started anew, and when no more. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How often and how fast an actor is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// More deaths than this within [`RestartPolicy::within`] fail the transfer that causes them. Default 5.
    pub intensity: usize,
    /// The time in which restarts are counted. Default 30 s.
    pub within: Duration,
    /// The wait before the second restart; doubled for each further one; the first is at once. Default 10 ms.
    pub backoff: Duration,
    /// The longest wait. Default 1 s.
    pub backoff_limit: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { intensity: 5, within: Duration::from_secs(30), backoff: Duration::from_millis(10), backoff_limit: Duration::from_secs(1) }
    }
}

/// What to do about a dead actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start it anew after this wait.
    Restart(Duration),
    /// It dies too often: give up what it dies of.
    GiveUp,
}

/// The restarts of one route: at most `intensity + 1` are remembered.
#[derive(Debug, Default)]
pub struct RestartHistory(VecDeque<Instant>);

impl RestartHistory {
    /// An actor of the route has died.
    pub fn died(&mut self, policy: &RestartPolicy, now: Instant) -> Decision {
        while self.0.front().is_some_and(|&then| now.saturating_duration_since(then) > policy.within) {
            self.0.pop_front();
        }
        if self.0.len() >= policy.intensity {
            return Decision::GiveUp;
        }
        let earlier = self.0.len();
        self.0.push_back(now);
        let doublings = u32::try_from(earlier.saturating_sub(1)).unwrap_or(u32::MAX).min(20);
        let wait = policy.backoff.saturating_mul(1 << doublings).min(policy.backoff_limit);
        Decision::Restart(if earlier == 0 { Duration::ZERO } else { wait })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_then_gives_up_then_forgives() {
        let policy = RestartPolicy { intensity: 3, ..RestartPolicy::default() };
        let (mut history, start) = (RestartHistory::default(), Instant::now());
        assert_eq!(history.died(&policy, start), Decision::Restart(Duration::ZERO));
        assert_eq!(history.died(&policy, start), Decision::Restart(Duration::from_millis(10)));
        assert_eq!(history.died(&policy, start), Decision::Restart(Duration::from_millis(20)));
        assert_eq!(history.died(&policy, start), Decision::GiveUp);
        let later = start + policy.within + Duration::from_secs(1);
        assert_eq!(history.died(&policy, later), Decision::Restart(Duration::ZERO));
    }
}
