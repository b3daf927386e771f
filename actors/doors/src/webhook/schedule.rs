//! The schedule of tries.

use std::time::{Duration, SystemTime};

/// The most tries after the first.
pub(super) const RETRIES_MOST: usize = 32;
/// The longest wait between two tries.
pub(super) const WAIT_MOST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The longest time that a receiver may ask for.
const ASKED_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// The waits before the second try and those after it, in seconds, as Standard Webhooks suggests:
/// two and a half days.
const SUGGESTED: [u64; 9] =
    [5, 5 * 60, 30 * 60, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
const HOUR: u64 = 60 * 60;

/// The waits between tries; after the last one there are no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule(Vec<Duration>);

impl Default for Schedule {
    fn default() -> Self {
        Self(SUGGESTED.map(Duration::from_secs).to_vec())
    }
}

impl Schedule {
    /// A schedule of these waits.
    ///
    /// # Errors
    /// There are too many, or one is too long.
    pub(super) fn new(waits: Vec<Duration>) -> Result<Self, String> {
        if waits.len() > RETRIES_MOST || waits.iter().any(|wait| *wait > WAIT_MOST) {
            return Err(format!(
                "retries are {RETRIES_MOST} waits at most, of 7 days at most: [\"5s\", \"5m\"]"
            ));
        }
        Ok(Self(waits))
    }

    /// Returns the wait after so many tries, up to a fifth longer by chance; `None` after the last.
    pub(super) fn wait(&self, tries: u32, asked: Option<Duration>) -> Option<Duration> {
        let mut chance = [0; 2];
        // Without chance it waits as is written.
        let _ = getrandom::fill(&mut chance);
        self.wait_with(tries, asked, u16::from_le_bytes(chance))
    }

    fn wait_with(&self, tries: u32, asked: Option<Duration>, chance: u16) -> Option<Duration> {
        let wait = *self.0.get((tries as usize).checked_sub(1)?)?;
        let longer = wait.mul_f64(1.0 + 0.2 * f64::from(chance) / f64::from(u16::MAX));
        Some(longer.max(asked.unwrap_or_default()))
    }
}

/// The time that a `Retry-After` asks for, in seconds or as a date; a day at most.
pub(super) fn asked(retry_after: &str, now: SystemTime) -> Option<Duration> {
    let text = retry_after.trim();
    let asked = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        // More digits than a number has.
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => ASKED_MOST,
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(asked.min(ASKED_MOST))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    #[test]
    fn waits_are_those_of_the_schedule_and_a_fifth_longer_at_most() {
        let schedule = Schedule::default();
        let seconds =
            |tries, chance| schedule.wait_with(tries, None, chance).map(|wait| wait.as_secs());
        assert_eq!(seconds(0, 0), None);
        assert_eq!((seconds(1, 0), seconds(1, u16::MAX)), (Some(5), Some(6)));
        assert_eq!((seconds(2, 0), seconds(2, u16::MAX)), (Some(300), Some(360)));
        assert_eq!((seconds(9, 0), seconds(10, 0)), (Some(86_400), None));
        for _ in 0..100 {
            let wait = schedule.wait(2, None).unwrap().as_secs();
            assert!((300..=360).contains(&wait));
        }
        assert_eq!(Schedule::new(vec![]).unwrap().wait(1, None), None);
        assert!(Schedule::new(vec![Duration::ZERO; 33]).is_err());
        assert!(Schedule::new(vec![WAIT_MOST + Duration::from_secs(1)]).is_err());
    }

    #[test]
    fn what_a_receiver_asks_for_is_honoured_up_to_a_day_and_never_shortens_a_wait() {
        let schedule = Schedule::default();
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(schedule.wait_with(1, hour, 0), hour);
        assert_eq!(schedule.wait_with(4, hour, 0), Some(Duration::from_secs(7200)));
        assert_eq!(schedule.wait_with(10, hour, 0), None, "there is no try after the last");
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let asked = |text: &str| asked(text, now).map(|asked| asked.as_secs());
        assert_eq!(asked("120"), Some(120));
        assert_eq!(asked("999999"), Some(86_400));
        assert_eq!(asked("99999999999999999999999999"), Some(86_400));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        for nothing in ["", "soon", "-1", "1.5"] {
            assert_eq!(asked(nothing), None, "{nothing:?}");
        }
    }
}
