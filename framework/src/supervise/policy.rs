//! The policy that decides when a dead actor is started anew, and when no more. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A policy for restarting actors: how often, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// More deaths than this within [`RestartPolicy::within`] fail the transfer that causes them;
    /// for a hosted actor, see [`Strategy::Restart`]. Default 5.
    pub intensity: usize,
    /// The time in which restarts are counted. Default 30 s.
    pub within: Duration,
    /// The wait before the second restart; doubled for each further one; the first is at once.
    /// Default 10 ms.
    pub backoff: Duration,
    /// The longest wait. Default 1 s.
    pub backoff_limit: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            intensity: 5,
            within: Duration::from_secs(30),
            backoff: Duration::from_millis(10),
            backoff_limit: Duration::from_secs(1),
        }
    }
}

/// A decision about a dead actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start it anew after this wait.
    Restart(Duration),
    /// It dies too often: give up what it dies of.
    GiveUp,
}

/// The restarts of one route: at most `intensity + 1` are remembered.
#[derive(Debug, Default)]
pub(crate) struct RestartHistory(VecDeque<Instant>);

impl RestartHistory {
    /// An actor of the route has died.
    pub(crate) fn died(&mut self, policy: &RestartPolicy, now: Instant) -> Decision {
        while self
            .0
            .front()
            .is_some_and(|&then| now.saturating_duration_since(then) > policy.within)
        {
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

/// A strategy for an actor that a node hosts and that dies, by a panic or by stopping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// It is started anew from its factory, after a wait that grows from [`RestartPolicy::backoff`]
    /// to [`RestartPolicy::backoff_limit`]. One that dies more than
    /// [`RestartPolicy::intensity`] times within [`RestartPolicy::within`] of life, in spite of
    /// the longest wait, is given up, and the host hears of it.
    #[default]
    Restart,
    /// A message from another node at which it panics is thrown away, and it goes on with the state
    /// that it has: its handlers have to leave it in order. Panics elsewhere (at letters, at
    /// messages of this process, in its own futures) are as with [`Strategy::Restart`].
    Resume,
    /// It is not started anew.
    Stop,
    /// A panic is the host's to decide about: it is given up at the first one. One that stops by
    /// itself just stays so.
    Escalate,
}

/// The deaths of a hosted actor. Time is the time that it has lived: waits between its lives make
/// nobody forget.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    lived: Duration,
    /// The times of its deaths, by that clock: at most `intensity + WAITS`.
    deaths: VecDeque<Duration>,
}

/// Deaths after which no wait is longer than the one before, whatever it is doubled from.
const WAITS: usize = 64;

impl Lives {
    /// It has died after a life of this length.
    pub(crate) fn died(&mut self, policy: &RestartPolicy, life: Duration) -> Decision {
        self.lived += life;
        while self.deaths.front().is_some_and(|&then| self.lived - then > policy.within) {
            self.deaths.pop_front();
        }
        let earlier = self.deaths.len();
        if earlier >= policy.intensity
            && earlier > 0
            && Self::wait(policy, earlier - 1) == Self::wait(policy, earlier)
        {
            return Decision::GiveUp;
        }
        if policy.intensity == 0 {
            return Decision::GiveUp;
        }
        self.deaths.push_back(self.lived);
        if self.deaths.len() > policy.intensity.saturating_add(WAITS) {
            self.deaths.pop_front();
        }
        Decision::Restart(Self::wait(policy, earlier))
    }

    /// Returns the wait of one that has died so often before.
    fn wait(policy: &RestartPolicy, earlier: usize) -> Duration {
        if earlier == 0 {
            return Duration::ZERO;
        }
        let doublings = u32::try_from(earlier - 1).unwrap_or(u32::MAX).min(31);
        policy.backoff.saturating_mul(1 << doublings).min(policy.backoff_limit)
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

    #[test]
    fn waits_grow_to_their_limit_and_then_it_is_given_up() {
        let (policy, mut lives) = (RestartPolicy::default(), Lives::default());
        let waits: Vec<_> = std::iter::from_fn(|| match lives.died(&policy, Duration::ZERO) {
            Decision::Restart(wait) => Some(wait.as_millis()),
            Decision::GiveUp => None,
        })
        .collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 320, 640, 1000]);
        // Deaths are forgotten by living, and by nothing else.
        assert_eq!(lives.died(&policy, policy.within), Decision::GiveUp);
        assert_eq!(
            lives.died(&policy, Duration::from_millis(1)),
            Decision::Restart(Duration::ZERO)
        );
        // One that can't wait longer is given up at its intensity.
        let hasty = RestartPolicy { intensity: 2, backoff: Duration::ZERO, ..policy };
        let mut lives = Lives::default();
        assert_eq!(
            [(); 3].map(|()| lives.died(&hasty, Duration::ZERO) == Decision::GiveUp),
            [false, false, true]
        );
        assert_eq!(
            Lives::default().died(&RestartPolicy { intensity: 0, ..policy }, Duration::ZERO),
            Decision::GiveUp
        );
    }
}
