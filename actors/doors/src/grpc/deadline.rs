//! The time that a client gives to a call: `grpc-timeout`.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

/// The header.
const TIMEOUT: &str = "grpc-timeout";
/// The most digits of it, by the protocol.
const DIGITS_MOST: usize = 8;

/// The time at which a call must be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    until: Instant,
}

impl Deadline {
    /// The deadline in these headers; `None` if they leave it open.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, String> {
        let Some(value) = headers.get(TIMEOUT) else { return Ok(None) };
        let given = value.to_str().ok().and_then(duration).ok_or_else(|| {
            format!(
                "{TIMEOUT} is {value:?}, which is no time: up to {DIGITS_MOST} digits and one of \
                 H, M, S, m, u, n"
            )
        })?;
        Ok(Instant::now().checked_add(given).map(|until| Self { until }))
    }

    /// The time that is left.
    pub(super) fn left(self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Returns when it has passed; never, where there is none.
    pub(super) async fn passed(deadline: Option<Self>) {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.until).await,
            None => std::future::pending().await,
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=DIGITS_MOST).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = if is_number { digits.parse().ok()? } else { return None };
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_protocol_writes_them_and_nothing_else_is() {
        assert_eq!(duration("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(duration("2M"), Some(Duration::from_secs(120)));
        assert_eq!(duration("30S"), Some(Duration::from_secs(30)));
        assert_eq!(duration("250m"), Some(Duration::from_millis(250)));
        assert_eq!(duration("99999999u"), Some(Duration::from_micros(99_999_999)));
        assert_eq!(duration("5n"), Some(Duration::from_nanos(5)));
        for wrong in ["", "S", "1", "+1S", "1.5S", "123456789S", "1s", "1 S", "1Ŝ", "-1S"] {
            assert_eq!(duration(wrong), None, "{wrong:?}");
        }
    }
}
