//! Sizes and times as people write them: `6MiB`, `10s`.
//!
//! What is written is read back as the same. The modules [`size`](mod@size) and
//! [`time`](mod@time) are for serde's `with`, so that settings of one's own look like those of a
//! node.
//!
//! ```
//! use std::time::Duration;
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Settings {
//!     #[serde(with = "estafette::node::units::size")]
//!     most: u64,
//!     #[serde(with = "estafette::node::units::time")]
//!     patience: Duration,
//! }
//!
//! let settings: Settings = serde_json::from_str(r#"{"most": "6MiB", "patience": "10s"}"#)?;
//! assert_eq!((settings.most, settings.patience), (6 << 20, Duration::from_secs(10)));
//! # Ok::<_, serde_json::Error>(())
//! ```

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

thread_local! {
    /// The folder in which paths read on this thread begin, and `true` if none may lead out of it.
    static BASE: RefCell<(PathBuf, bool)> = RefCell::default();
}

/// Reads settings whose relative paths begin at `base`, such as the folder of their file: those of
/// fields with the module [`path`](mod@path).
pub fn relative_to<T>(base: &Path, read: impl FnOnce() -> T) -> T {
    with_base((base.to_owned(), false), read)
}

/// Reads settings all of whose paths lead to places below `base`, absolute ones and those that go
/// up, too: for a trial of what is meant for other places.
pub fn confined_to<T>(base: &Path, read: impl FnOnce() -> T) -> T {
    with_base((base.to_owned(), true), read)
}

fn with_base<T>(base: (PathBuf, bool), read: impl FnOnce() -> T) -> T {
    /// Puts the earlier one back, after a panic, too.
    struct Before((PathBuf, bool));
    impl Drop for Before {
        fn drop(&mut self) {
            BASE.set(std::mem::take(&mut self.0));
        }
    }
    let _before = Before(BASE.replace(base));
    read()
}

/// A size or a time that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// It is no size.
    #[error("a size is a number and a unit: 4096, 64K, 10MiB, 2GB")]
    Size,
    /// It is more than can be counted.
    #[error("the size is too large: 16777215TiB is the most, 64 bits of bytes")]
    TooLarge,
    /// It is no time.
    #[error("a time is a number and a unit: 500ms, 30s, 5m, 24h, 7d")]
    Time,
    /// It is longer than a century.
    #[error("a time is a century at most: 36500d")]
    TooLong,
}

/// The longest time that is written or read: a century is for ever, and no clock overflows.
const LONGEST: Duration = Duration::from_secs(3_200_000_000);

const SIZES: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// In nanoseconds.
const TIMES: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads `4096`, `64K`, `1.5MiB` (binary) or `10MB` (decimal): a number of bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(UnitError::Size),
    };
    let is_number = number.parse::<f64>().is_ok_and(|number| number >= 0.0);
    let too_much = if is_number { UnitError::TooLarge } else { UnitError::Size };
    scale(number, factor.into()).and_then(|size| size.try_into().ok()).ok_or(too_much)
}

/// Reads `90`, `90s`, `1.5m`, `24h`, `7d`, and down to `1ns`.
pub fn parse_time(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text);
    let unit = match unit {
        "" => "s",
        "min" => "m",
        unit => unit,
    };
    let (_, factor) = TIMES.iter().find(|(name, _)| *name == unit).ok_or(UnitError::Time)?;
    let is_number = number.parse::<f64>().is_ok_and(|number| number >= 0.0);
    let too_much = if is_number { UnitError::TooLong } else { UnitError::Time };
    let time = scale(number, *factor).ok_or(too_much)?;
    let seconds = u64::try_from(time / 1_000_000_000).map_err(|_| UnitError::TooLong)?;
    let time = Duration::new(seconds, (time % 1_000_000_000) as u32);
    if time < LONGEST { Ok(time) } else { Err(UnitError::TooLong) }
}

/// A size in the largest binary unit that it is whole in: `6MiB`, or `6291457`.
pub fn size_text(size: u64) -> String {
    let whole = SIZES.iter().find(|(_, factor)| size >= *factor && size.is_multiple_of(*factor));
    whole.map_or_else(|| size.to_string(), |(unit, factor)| format!("{}{unit}", size / factor))
}

/// A time in the largest unit that it is whole in: `10s`, `1d`, `1500ms`.
pub fn time_text(time: Duration) -> String {
    let nanoseconds = time.as_nanos();
    let whole = TIMES
        .iter()
        .find(|(_, factor)| nanoseconds >= *factor && nanoseconds.is_multiple_of(*factor));
    whole.map_or_else(|| "0s".into(), |(unit, factor)| format!("{}{unit}", nanoseconds / factor))
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

fn scale(number: &str, factor: u128) -> Option<u128> {
    if let Ok(whole) = number.parse::<u128>() {
        return whole.checked_mul(factor);
    }
    let scaled = number.parse::<f64>().ok()? * factor as f64;
    (scaled.is_finite() && (0.0..9e18).contains(&scaled)).then_some(scaled as u128)
}

/// Sizes as text, for serde's `with`: any unsigned number that counts bytes; a bare number is read
/// as well.
pub mod size {
    use serde::de::{Deserializer, Error};
    use serde::ser::{Error as _, Serializer};

    /// Writes `6MiB`.
    pub fn serialize<T: Copy + TryInto<u64>, S: Serializer>(
        size: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let size =
            (*size).try_into().map_err(|_| S::Error::custom("a size has 64 bits at most"))?;
        serializer.serialize_str(&super::size_text(size))
    }

    /// Reads it, or a number of bytes.
    pub fn deserialize<'de, T: TryFrom<u64>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let size = deserializer.deserialize_any(super::Text(super::parse_size))?;
        T::try_from(size).map_err(|_| {
            let most = [u64::MAX >> 1, u64::MAX >> 32, u64::MAX >> 48, u64::MAX >> 56];
            let most = most.into_iter().find(|most| T::try_from(*most).is_ok());
            let most = most.map(|most| format!(": {most} is the most")).unwrap_or_default();
            D::Error::custom(format!("{size} bytes are too many here{most}"))
        })
    }
}

/// Paths, relative ones from where [`relative_to`] says: else from the folder of the process.
pub mod path {
    use super::*;
    use serde::{Deserialize, Deserializer};

    /// Reads it.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        PathBuf::deserialize(deserializer).map(from_base)
    }

    /// The place of a path below `base`, wherever else it would lead.
    pub fn below(base: &Path, path: &Path) -> PathBuf {
        let mut place = PathBuf::new();
        for part in path.strip_prefix(base).unwrap_or(path).components() {
            match part {
                std::path::Component::Normal(name) => place.push(name),
                std::path::Component::ParentDir => drop(place.pop()),
                _ => {}
            }
        }
        base.join(place)
    }

    /// A path that was read otherwise.
    pub fn from_base(path: PathBuf) -> PathBuf {
        BASE.with_borrow(
            |(base, confined)| if *confined { below(base, &path) } else { base.join(path) },
        )
    }
}

/// Times as text, for serde's `with`; a bare number is read as seconds.
pub mod time {
    use std::time::Duration;

    use serde::de::Deserializer;
    use serde::ser::{Error, Serializer};

    /// Writes `10s`.
    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        if *time >= super::LONGEST {
            return Err(S::Error::custom("a time is shorter than a century"));
        }
        serializer.serialize_str(&super::time_text(*time))
    }

    /// Reads it, or a number of seconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(super::Text(super::parse_time))
    }
}

/// The JSON schema of a size, for fields of the module [`size`](mod@size):
/// `#[schemars(with = "estafette::node::units::SizeText")]`.
#[cfg(feature = "schema")]
#[derive(Clone, Copy, Debug)]
pub struct SizeText;

/// The JSON schema of a time, for fields of the module [`time`](mod@time).
#[cfg(feature = "schema")]
#[derive(Clone, Copy, Debug)]
pub struct TimeText;

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SizeText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A number of bytes, or a number and a unit: \"64K\", \"6MiB\", \"2GB\"",
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                {
                    "type": "string",
                    "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtT]([iI]?[bB])?|[bB])?\s*$"
                }
            ]
        })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for TimeText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A number of seconds, or a number and a unit: \"500ms\", \"10s\", \"24h\"",
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                {
                    "type": "string",
                    "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(d|h|m|min|s|ms|us|ns)?\s*$"
                }
            ]
        })
    }
}

/// Reads what is written as text, or as a number without a unit.
struct Text<T>(fn(&str) -> Result<T, UnitError>);

impl<T> serde::de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number and a unit, as text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(|error| E::custom(format!("{text:?} can't be read: {error}")))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("64K"), Ok(64 << 10));
        assert_eq!(parse_size("1.5 MiB"), Ok(3 << 19));
        assert_eq!(parse_size("2GB"), Ok(2_000_000_000));
        for wrong in ["", "x", "-1", "1.2.3", "5 furlongs", "NaN", ".", "99T9"] {
            assert_eq!(parse_size(wrong), Err(UnitError::Size), "{wrong}");
        }
        assert_eq!(parse_size("16777215TiB"), Ok(16_777_215 << 40));
        let all = u128::MAX.to_string();
        for large in
            ["16777216TiB", "99999999999999T", "1e9T", "99999999999.5G", &all, &(all.clone() + "0")]
        {
            let expected = if large == "1e9T" { UnitError::Size } else { UnitError::TooLarge };
            assert_eq!(parse_size(large), Err(expected), "{large}");
        }
        let told = UnitError::TooLarge.to_string();
        let most = told.split_once(": ").map(|(_, rest)| rest.split(' ').next());
        assert_eq!(most.flatten().map(parse_size), Some(Ok(16_777_215 << 40)), "{told}");
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(parse_time("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_time("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_time("5 min"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_time("20ms"), Ok(Duration::from_millis(20)));
        for wrong in ["", "soon", "1y", "-1s", "1.2.3s"] {
            assert_eq!(parse_time(wrong), Err(UnitError::Time), "{wrong}");
        }
        for long in ["40000d", "99999999999d", &format!("{}d", u128::MAX)] {
            assert_eq!(parse_time(long), Err(UnitError::TooLong), "{long}");
        }
        assert!(parse_time("36500d").is_ok());
    }

    #[test]
    fn they_are_written_in_the_largest_unit_that_they_are_whole_in() {
        assert_eq!(
            [0, 1023, 1 << 10, 6 << 20, (6 << 20) + 1, 1 << 50].map(size_text),
            ["0", "1023", "1KiB", "6MiB", "6291457", "1024TiB"]
        );
        let times = [0, 1, 1_500_000_000, 90_000_000_000, 86_400_000_000_000];
        assert_eq!(
            times.map(Duration::from_nanos).map(time_text),
            ["0s", "1ns", "1500ms", "90s", "1d"]
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(size: u64, seconds in 0..LONGEST.as_secs(), sub in 0..1_000_000_000_u32) {
            prop_assert_eq!(parse_size(&size_text(size)), Ok(size));
            let time = Duration::new(seconds, sub);
            prop_assert_eq!(parse_time(&time_text(time)), Ok(time));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = (parse_size(&text), parse_time(&text));
        }
    }
}
