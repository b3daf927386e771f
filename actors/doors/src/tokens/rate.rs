//! The rate at which a token may be used.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// So many uses in a second, a minute or an hour: `10/s`, `600/m`, `1000/h`. As many may come at
/// once; then they come back evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    count: u32,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
}

/// A text that is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no rate: a number from 1 to 1000000, and /s, /m or /h: 10/s")]
pub struct RateError {
    given: String,
}

impl Rate {
    const MOST: u32 = 1_000_000;

    /// So many in a second.
    pub(super) const fn in_a_second(count: u32) -> Self {
        Self { count, unit: Unit::Second }
    }

    fn per(self) -> Duration {
        Duration::from_secs(match self.unit {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3600,
        })
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(given: &str) -> Result<Self, RateError> {
        let parsed = given.split_once('/').and_then(|(count, unit)| {
            let unit = match unit {
                "s" => Unit::Second,
                "m" => Unit::Minute,
                "h" => Unit::Hour,
                _ => return None,
            };
            let count = count.parse().ok().filter(|count| (1..=Self::MOST).contains(count))?;
            Some(Self { count, unit })
        });
        parsed.ok_or_else(|| RateError { given: given.chars().take(80).collect() })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => 's',
            Unit::Minute => 'm',
            Unit::Hour => 'h',
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, RateError> {
        text.parse()
    }
}

/// The uses that are left of a token, in one process.
#[derive(Debug)]
pub(super) struct Bucket {
    left: f64,
    at: Option<Instant>,
}

impl Bucket {
    pub(super) fn full(rate: Rate) -> Self {
        Self { left: f64::from(rate.count), at: None }
    }

    /// Takes one use, or says after which wait there is one.
    pub(super) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let (most, per) = (f64::from(rate.count), rate.per().as_secs_f64());
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.left = (self.left + passed.as_secs_f64() * most / per).min(most);
        self.at = Some(now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.left) * per / most))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    #[test]
    fn a_rate_is_written_as_it_is_read() {
        for text in ["1/s", "600/m", "1000000/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for bad in ["", "0/s", "1000001/s", "10", "10/d", "-1/s", "1.5/s", "/s"] {
            assert!(bad.parse::<Rate>().unwrap_err().to_string().contains("10/s"), "{bad}");
        }
    }

    #[test]
    fn uses_come_back_evenly_and_no_more_than_there_may_be() {
        let rate: Rate = "2/s".parse().unwrap();
        let (mut bucket, start) = (Bucket::full(rate), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(bucket.take(rate, at(0)), Ok(()));
        assert_eq!(bucket.take(rate, at(0)), Ok(()));
        assert_eq!(bucket.take(rate, at(0)), Err(Duration::from_millis(500)));
        assert_eq!(bucket.take(rate, at(250)), Err(Duration::from_millis(250)));
        assert_eq!(bucket.take(rate, at(500)), Ok(()));
        assert_eq!(bucket.take(rate, at(60_000)), Ok(()));
        assert_eq!(bucket.take(rate, at(60_000)), Ok(()));
        assert!(bucket.take(rate, at(60_000)).is_err(), "time that has passed is not saved up");
        assert!(bucket.take(rate, start).is_err(), "a clock that goes back gives nothing");
    }
}
