//! An express link after its handshake: is the other side there, and is it time for a new link?
//!
//! Invariant: a link is called dead only after its peer was asked and had its time to answer. A
//! driver that was held up itself (a stopped process, a starved thread) asks first.
//!
//! # Who calls what
//! The task that owns the socket drives it:
//! - after *any* bytes came from the peer on this link: [`Link::heard`];
//! - after any frame was written to it: [`Link::sent`] (the ping too);
//! - it sleeps until [`Link::poll_timeout`], and asks again after every call of another method;
//! - when that time has come: first it reads what has already arrived ([`Link::heard`]), then
//!   [`Link::handle_timeout`], and does what that returns, again and again until it returns
//!   [`LinkAction::None`] or [`LinkAction::Dead`].
//!
//! A `Ping` of the peer is answered with a `Pong` of the same nonce by whoever reads control
//! messages; a `Pong` needs nothing but `heard`.

use std::time::{Duration, Instant};

/// The intervals of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    heartbeat: Duration,
    dead_after: Duration,
    renew_after: Duration,
}

/// An error of choosing the intervals of a link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkConfigError {
    /// Pings without end.
    #[error("heartbeat is {given:?}, at least 1 ms is needed")]
    HeartbeatTooShort {
        /// The heartbeat given.
        given: Duration,
    },
    /// A peer that would be dead before it could answer a ping.
    #[error(
        "dead_after is {dead_after:?}, it must be at least twice the heartbeat of {heartbeat:?}"
    )]
    DeadTooSoon {
        /// The interval given.
        dead_after: Duration,
        /// The heartbeat given.
        heartbeat: Duration,
    },
    /// A link renewed before it could be found dead.
    #[error("renew_after is {renew_after:?}, it must be longer than dead_after, {dead_after:?}")]
    RenewTooSoon {
        /// The interval given.
        renew_after: Duration,
        /// The other one.
        dead_after: Duration,
    },
    /// An interval no clock can count to.
    #[error("{given:?} is too long, at most {limit:?} is allowed")]
    TooLong {
        /// The interval given.
        given: Duration,
        /// The longest.
        limit: Duration,
    },
}

/// The state of a link. See the module for who calls what.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    heard: Instant,
    sent: Instant,
    /// The first ping since the peer was last heard.
    asked: Option<Instant>,
    /// The last ping.
    pinged: Option<Instant>,
    next_nonce: u64,
    /// The time to renew; `None` once that was said.
    renew_at: Option<Instant>,
}

/// The action that a link needs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkAction {
    /// Nothing before the next [`Link::poll_timeout`].
    None,
    /// Send a ping with this nonce.
    Ping(u64),
    /// The peer is gone: close the link, and dial again if this side is the one that dials.
    Dead,
    /// The link is old: open a new one, move over, then say `Goodbye` on this one. Said once.
    Renew,
}

impl LinkConfig {
    /// - `heartbeat` (default 5 s): silence, in either direction, after which the peer is asked; at
    ///   least 1 ms.
    /// - `dead_after` (default 15 s): silence of the peer after which it is gone; at least twice
    ///   the heartbeat.
    /// - `renew_after` (default 24 h): age at which a link is replaced, so that its keys do not
    ///   grow old; above `dead_after`, at most 365 days.
    pub fn new(
        heartbeat: Duration,
        dead_after: Duration,
        renew_after: Duration,
    ) -> Result<Self, LinkConfigError> {
        if renew_after > LONGEST {
            return Err(LinkConfigError::TooLong { given: renew_after, limit: LONGEST });
        }
        if renew_after <= dead_after {
            return Err(LinkConfigError::RenewTooSoon { renew_after, dead_after });
        }
        if heartbeat < Duration::from_millis(1) {
            return Err(LinkConfigError::HeartbeatTooShort { given: heartbeat });
        }
        if dead_after < heartbeat.saturating_mul(2) {
            return Err(LinkConfigError::DeadTooSoon { dead_after, heartbeat });
        }
        Ok(Self { heartbeat, dead_after, renew_after })
    }

    /// Silence after which the peer is asked.
    pub const fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// Silence after which the peer is gone.
    pub const fn dead_after(&self) -> Duration {
        self.dead_after
    }

    /// Age at which a link is replaced.
    pub const fn renew_after(&self) -> Duration {
        self.renew_after
    }
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            dead_after: Duration::from_secs(15),
            renew_after: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl Link {
    /// A link whose handshake ended at `now`.
    pub fn new(config: LinkConfig, now: Instant) -> Self {
        Self {
            config,
            heard: now,
            sent: now,
            asked: None,
            pinged: None,
            next_nonce: 0,
            renew_at: Some(now + config.renew_after),
        }
    }

    /// The peer was heard at `now`. Call [`poll_timeout`](Self::poll_timeout) afterwards.
    pub fn heard(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
        self.asked = None;
    }

    /// Something was sent to the peer at `now`. Call [`poll_timeout`](Self::poll_timeout)
    /// afterwards.
    pub fn sent(&mut self, now: Instant) {
        self.sent = self.sent.max(now);
    }

    /// Returns the time of the next call of [`handle_timeout`](Self::handle_timeout), unless
    /// another method is called before.
    pub fn poll_timeout(&self) -> Instant {
        let next = self.dead_at().map_or(self.ping_at(), |dead_at| dead_at.min(self.ping_at()));
        self.renew_at.map_or(next, |renew_at| renew_at.min(next))
    }

    /// Returns the action that is due at `now`. Call it again until it returns `None` or `Dead`,
    /// then [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) -> LinkAction {
        if self.dead_at().is_some_and(|dead_at| dead_at <= now) {
            return LinkAction::Dead;
        }
        if self.renew_at.is_some_and(|renew_at| renew_at <= now) {
            self.renew_at = None;
            return LinkAction::Renew;
        }
        if self.ping_at() > now {
            return LinkAction::None;
        }
        self.asked.get_or_insert(now);
        self.pinged = Some(now);
        let nonce = self.next_nonce;
        self.next_nonce = nonce.wrapping_add(1);
        LinkAction::Ping(nonce)
    }

    /// A heartbeat after the longer silence of the two directions, and after the last ping.
    fn ping_at(&self) -> Instant {
        let silent_since = self.heard.min(self.sent);
        self.pinged.map_or(silent_since, |pinged| pinged.max(silent_since)) + self.config.heartbeat
    }

    /// Returns when the peer is gone if it stays silent; `None` when it has not been asked.
    fn dead_at(&self) -> Option<Instant> {
        let answered_by = self.asked? + (self.config.dead_after - self.config.heartbeat);
        Some(answered_by.max(self.heard + self.config.dead_after))
    }
}

const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn link() -> (Link, Instant) {
        let now = Instant::now();
        (Link::new(LinkConfig::default(), now), now)
    }

    #[test]
    fn a_silent_peer_is_asked_then_dead_at_the_stated_time() {
        let (mut link, start) = link();
        assert_eq!(link.handle_timeout(start + 4 * SECOND), LinkAction::None);
        for (nonce, seconds) in [(0, 5), (1, 10)] {
            assert_eq!(link.poll_timeout(), start + seconds * SECOND);
            assert_eq!(link.handle_timeout(start + seconds * SECOND), LinkAction::Ping(nonce));
            link.sent(start + seconds * SECOND);
            assert_eq!(link.handle_timeout(start + seconds * SECOND), LinkAction::None);
        }
        assert_eq!(link.poll_timeout(), start + 15 * SECOND);
        assert_eq!(link.handle_timeout(start + 15 * SECOND), LinkAction::Dead);
    }

    #[test]
    fn a_peer_that_answers_lives() {
        let (mut link, start) = link();
        for round in 1..100 {
            let now = link.poll_timeout();
            assert_eq!(now, start + round * 5 * SECOND);
            assert_eq!(link.handle_timeout(now), LinkAction::Ping(u64::from(round) - 1));
            link.sent(now);
            link.heard(now);
        }
    }

    #[test]
    fn one_way_traffic_still_asks() {
        let (mut link, start) = link();
        for second in 1..5 {
            link.sent(start + second * SECOND);
        }
        assert_eq!(
            link.handle_timeout(start + 5 * SECOND),
            LinkAction::Ping(0),
            "nothing was heard"
        );
        link.heard(start + 6 * SECOND);
        link.heard(start + 10 * SECOND);
        assert_eq!(
            link.handle_timeout(start + 10 * SECOND),
            LinkAction::Ping(1),
            "nothing was sent"
        );
    }

    #[test]
    fn a_link_with_traffic_both_ways_sends_no_pings() {
        let (mut link, start) = link();
        for second in 1..1000 {
            let now = start + second * SECOND;
            link.sent(now);
            link.heard(now);
            assert_eq!(link.handle_timeout(now), LinkAction::None);
        }
    }

    #[test]
    fn a_driver_that_was_held_up_asks_before_it_gives_up() {
        let (mut link, start) = link();
        let late = start + 3600 * SECOND;
        assert_eq!(link.handle_timeout(late), LinkAction::Ping(0));
        assert_eq!(link.handle_timeout(late), LinkAction::None);
        assert_eq!(link.handle_timeout(late + 5 * SECOND), LinkAction::Ping(1));
        assert_eq!(link.handle_timeout(late + 10 * SECOND), LinkAction::Dead);
    }

    #[test]
    fn an_old_link_is_renewed_once() {
        let (mut link, start) = link();
        let old = start + 24 * 3600 * SECOND;
        link.sent(old);
        link.heard(old);
        assert_eq!(link.poll_timeout(), old);
        assert_eq!(link.handle_timeout(old), LinkAction::Renew);
        assert_eq!(link.handle_timeout(old), LinkAction::None);
        assert_eq!(link.poll_timeout(), old + 5 * SECOND);
    }

    #[test]
    fn intervals_that_make_no_sense_are_named() {
        let new = |heartbeat, dead_after, renew_after| {
            LinkConfig::new(heartbeat * SECOND, dead_after * SECOND, renew_after * SECOND)
        };
        assert_eq!(new(5, 15, 86_400), Ok(LinkConfig::default()));
        assert!(matches!(new(0, 15, 60), Err(LinkConfigError::HeartbeatTooShort { .. })));
        assert!(matches!(new(8, 15, 60), Err(LinkConfigError::DeadTooSoon { .. })));
        assert!(matches!(new(5, 60, 60), Err(LinkConfigError::RenewTooSoon { .. })));
        assert!(matches!(
            LinkConfig::new(SECOND, 2 * SECOND, Duration::MAX),
            Err(LinkConfigError::TooLong { .. })
        ));
        assert!(LinkConfig::new(Duration::MAX, Duration::MAX, Duration::MAX).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn time_always_moves_on_and_a_silent_peer_always_dies(late in prop::collection::vec(0_u64..20_000, 100)) {
            let (mut link, start) = link();
            let mut now = start;
            for milliseconds in late {
                prop_assert!(link.poll_timeout() > now);
                now = link.poll_timeout() + Duration::from_millis(milliseconds);
                match link.handle_timeout(now) {
                    LinkAction::Dead => {
                        prop_assert!(now - start >= LinkConfig::default().dead_after());
                        return Ok(());
                    }
                    action => prop_assert!(matches!(action, LinkAction::Ping(_))),
                }
            }
            prop_assert!(false, "a silent peer lives for ever");
        }
    }
}
