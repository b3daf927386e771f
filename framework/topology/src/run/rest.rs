//! The time between two looks of a route, and what makes it shorter.

use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::failure::RouteError;
use super::watch::Watch;

/// The time without looks after one that found nothing to do.
pub(super) const QUIET: Duration = Duration::from_secs(2);
/// The same in a folder that is watched: what happens there is told, or nearly all of it.
pub(super) const CALM: Duration = Duration::from_secs(60);
/// The least time without looks after one that did.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// So much longer than a look took that did nothing is waited until the next one: where something
/// is to be done soon, and where there is nothing to do.
const BUSY_SHARE: u32 = 4;
const IDLE_SHARE: u32 = 20;
/// The least time without looks where a delivery has ended meanwhile; as long as the look took, if
/// that is longer.
const SOON: Duration = Duration::from_millis(50);
/// After a failure, doubled each time.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The outcome of a look.
#[derive(Debug)]
pub(super) struct Looked {
    /// The time until the next one; none, if all is sent that was to be sent.
    pub(super) again: Option<Duration>,
    /// Set if something was sent or removed.
    pub(super) acted: bool,
    /// The part of its time that went by for looking, and not for what was done.
    pub(super) scanned: Option<Duration>,
    /// A failure that kept nothing else back.
    pub(super) failed: Option<RouteError>,
}

impl Looked {
    /// Nothing was done, and it is looked again.
    pub(super) fn again(again: Duration) -> Self {
        Self { again: Some(again), acted: false, scanned: None, failed: None }
    }

    /// The wait behind it, if it `took` so long; none, if there is nothing to wait for.
    pub(super) fn rest(&self, took: Duration) -> Option<Rest> {
        let again = self.again?;
        let share = match (self.acted, self.scanned) {
            // What was done took its time, too, which is no reason to wait.
            (true, None) => 0,
            (true, Some(_)) => BUSY_SHARE,
            (false, _) if again <= LOOK_AGAIN => BUSY_SHARE,
            (false, _) => IDLE_SHARE,
        };
        let took = self.scanned.unwrap_or(took);
        let least = LOOK_AGAIN.max(took * share);
        Some(Rest { again: again.max(least), least, soon: SOON.max(took) })
    }
}

/// The failures of a route that have not ended.
#[derive(Debug)]
pub(super) struct Trouble {
    /// The wait behind the next one, doubled each time.
    pause: Duration,
    /// The time until which nobody is told again.
    until: Option<Instant>,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { pause: RETRY.0, until: None }
    }
}

impl Trouble {
    /// A failure. The time until the next one is told, if this one is to be told.
    pub(super) fn tells(&mut self, now: Instant) -> Option<Duration> {
        if self.until.is_some_and(|until| now < until) {
            return None;
        }
        let again = self.pause;
        *self = Self { pause: (again * 2).min(RETRY.1), until: Some(now + again) };
        Some(again)
    }

    /// The time until it is tried again at the latest.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

/// The wait for the next look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// The longest.
    pub(super) again: Duration,
    /// The shortest, where something happens in a folder that is watched.
    least: Duration,
    /// The shortest, where a delivery has ended.
    soon: Duration,
}

/// Waits until it is time to look again, or something happens in a folder that is watched, or a
/// delivery has ended.
pub(super) async fn rest(rest: Rest, watch: Option<&mut Watch>, ended: &Notify) {
    let happens = async {
        tokio::time::sleep(rest.least).await;
        match watch {
            Some(watch) => watch.happens().await,
            None => std::future::pending().await,
        }
    };
    let ends = async {
        tokio::time::sleep(rest.soon).await;
        ended.notified().await;
    };
    tokio::select! {
        () = tokio::time::sleep(rest.again) => {}
        () = happens => {}
        () = ends => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    fn resting(again: Duration) -> Rest {
        Rest { again, least: LOOK_AGAIN, soon: SOON }
    }

    /// Returns how often a route looks in an hour in which nothing happens.
    async fn looks(watch: &mut Option<Watch>, again: Duration) -> u32 {
        let (began, mut looks) = (tokio::time::Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(3600) {
            rest(resting(again), watch.as_mut(), &Notify::new()).await;
            looks += 1;
        }
        looks
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_is_watched_is_looked_into_once_a_minute_or_when_something_happens() {
        let Some((folder, watches)) = super::super::watch::folder_that_tells() else { return };
        let mut watch = watches.watch(folder.path(), None);
        assert_eq!(looks(&mut None, QUIET).await, 1800);
        assert_eq!(looks(&mut watch, CALM).await, 60);
        std::fs::write(folder.path().join("a"), "text").unwrap();
        watches.tell().unwrap();
        let began = tokio::time::Instant::now();
        rest(resting(CALM), watch.as_mut(), &Notify::new()).await;
        assert_eq!(began.elapsed(), LOOK_AGAIN, "by a clock that is put forward");
    }

    #[test]
    fn a_look_that_did_something_is_no_reason_to_wait_for_longer() {
        let took = Duration::from_secs(10);
        let did = Looked { acted: true, ..Looked::again(LOOK_AGAIN) };
        let rest = |looked: Looked, took| {
            let rest = looked.rest(took).unwrap();
            (rest.again, rest.least, rest.soon)
        };
        assert_eq!(rest(did, took), (LOOK_AGAIN, LOOK_AGAIN, took));
        assert_eq!(rest(Looked::again(LOOK_AGAIN), took), (took * 4, took * 4, took));
        assert_eq!(rest(Looked::again(QUIET), took), (took * 20, took * 20, took));
        let mostly_sent =
            Looked { acted: true, scanned: Some(took / 100), ..Looked::again(LOOK_AGAIN) };
        assert_eq!(rest(mostly_sent, took), (LOOK_AGAIN, LOOK_AGAIN, took / 100));
        let large = Looked { acted: true, scanned: Some(took), ..Looked::again(LOOK_AGAIN) };
        assert_eq!(rest(large, took), (took * 4, took * 4, took));
        let short = Duration::from_millis(1);
        assert_eq!(rest(Looked::again(LOOK_AGAIN), short), (LOOK_AGAIN, LOOK_AGAIN, SOON));
        assert!(Looked { again: None, ..Looked::again(QUIET) }.rest(took).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_that_ends_is_looked_after_soon() {
        let (began, ended) = (tokio::time::Instant::now(), Notify::new());
        // While it was still being looked.
        ended.notify_one();
        rest(resting(CALM), None, &ended).await;
        assert_eq!(began.elapsed(), SOON);
        let (began, later) = (tokio::time::Instant::now(), Duration::from_secs(7));
        let ends = async {
            tokio::time::sleep(later).await;
            ended.notify_one();
        };
        tokio::join!(rest(resting(CALM), None, &ended), ends);
        assert_eq!(began.elapsed(), later);
    }

    #[test]
    fn failures_are_told_ever_more_seldom_and_looked_after_meanwhile() {
        let (mut trouble, began) = (Trouble::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(trouble.tells(at(0)), Some(RETRY.0));
        assert_eq!((trouble.tells(at(0)), trouble.left(at(0))), (None, RETRY.0));
        assert_eq!(trouble.tells(at(1)), Some(2 * RETRY.0));
        assert_eq!((trouble.tells(at(2)), trouble.left(at(2))), (None, RETRY.0));
        for _ in 0..10 {
            let now = began + Duration::from_secs(3) + trouble.left(began);
            trouble.tells(now);
        }
        assert_eq!(trouble.pause, RETRY.1);
    }
}
