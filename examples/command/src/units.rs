//! Sizes and times as people write and read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use estafette::delivery::ContentName;

/// Bytes with a binary unit: `1.5 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Millions of bytes per second, as links and disks are measured: `512 MB/s`.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    match bytes_per_second / 1e6 {
        mega if mega >= 10_000.0 => format!("{:.1} GB/s", mega / 1e3),
        mega if mega >= 100.0 => format!("{mega:.0} MB/s"),
        mega if mega >= 1.0 => format!("{mega:.1} MB/s"),
        mega => format!("{:.1} kB/s", mega * 1e3),
    }
}

/// Bytes per second over `seconds`; 0 for no time at all.
pub(crate) fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// `850 ms`, `12.3 s`, `4 min 05 s`.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.0095 => format!("{:.1} ms", s * 1e3),
        s if s < 0.9995 => format!("{:.0} ms", s * 1e3),
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{} min {:02} s", s as u64 / 60, s as u64 % 60),
        s => format!("{} h {:02} min", s as u64 / 3600, s as u64 % 3600 / 60),
    }
}

/// A time that a person gave, as they would say it: `24 h`, `7 days`, `90 s`.
pub(crate) fn span(time: Duration) -> String {
    let seconds_whole = time.as_secs();
    match seconds_whole {
        0 => seconds(time.as_secs_f64()),
        s if s % 86_400 == 0 && s > 86_400 => count(s / 86_400, "day"),
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

/// Seconds since the Unix epoch; 0 for a clock before it.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A moment seen from another: `in 3 h`, `5 min ago`, `now`.
pub(crate) fn moment(at: u64, now: u64) -> String {
    let span = match at.abs_diff(now) {
        0 => return "now".into(),
        s if s < 120 => format!("{s} s"),
        s if s < 7200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3600),
        s => count(s / 86_400, "day"),
    };
    if at > now { format!("in {span}") } else { format!("{span} ago") }
}

/// `1 file`, `2 files`, `2 deliveries`.
pub(crate) fn count(number: u64, singular: &str) -> String {
    let is_vowel = |letter: char| "aeiou".contains(letter);
    match singular.strip_suffix('y').filter(|stem| !stem.ends_with(is_vowel)) {
        _ if number == 1 => format!("1 {singular}"),
        Some(stem) => format!("{number} {stem}ies"),
        None => format!("{number} {singular}s"),
    }
}

/// At most `limit` characters.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit - 1).chain(['…']).collect()
}

/// A foreign text for a terminal: what is no visible character is escaped.
pub(crate) fn printable(text: &str) -> String {
    estafette::wire::printable(text).to_string()
}

/// Reads what a node or a peer is called.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    estafette::node::check_node_name(text)
        .map(|()| text.to_owned())
        .map_err(|error| error.to_string())
}

/// Reads the name that content has at its receiver.
pub(crate) fn parse_called(text: &str) -> Result<String, String> {
    ContentName::new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Reads `4096`, `64K`, `1.5MiB` (binary) or `10MB` (decimal).
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    estafette::node::units::parse_size(text).map_err(|error| error.to_string())
}

/// Reads `90`, `90s`, `5m`, `24h` or `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    estafette::node::units::parse_time(text).map_err(|error| error.to_string())
}

/// Reads the time for which something holds or runs: none at all would be of no use.
pub(crate) fn parse_lasting(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if time >= Duration::from_secs(1) { Ok(time) } else { Err("1s at least".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1 << 20), "1.0 MiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(rate(512e6), "512 MB/s");
        assert_eq!(seconds(0.0), "0.0 ms");
        assert_eq!(seconds(245.0), "4 min 05 s");
        let moments =
            [1000, 1001, 881, 1000 + 3 * 3600 + 59, 1000 + 6 * 86_400].map(|at| moment(at, 1000));
        assert_eq!(moments, ["now", "in 1 s", "119 s ago", "in 3 h", "in 6 days"]);
        let counts = [(1, "delivery"), (14, "delivery"), (2, "day"), (0, "file")];
        let counts = counts.map(|(number, what)| count(number, what));
        assert_eq!(counts, ["1 delivery", "14 deliveries", "2 days", "0 files"]);
        assert_eq!(printable("a\n\u{1b}b\u{202e}"), "a\\n\\u{1b}b\\u{202e}");
    }
}
