//! Ids of letters.

use std::fmt;
use std::str::FromStr;

/// The id of the log in which letters from one node to another are numbered.
pub(crate) type LogId = [u8; 16];

/// The id of a letter: the same in every life of its node. Written as `log-number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId {
    /// The log in which the letters from this node to its receiver are numbered.
    pub log: [u8; 16],
    /// The number: later letters have higher ones, with gaps.
    pub number: u64,
}

impl LetterId {
    pub(super) const fn new(log: LogId, number: u64) -> Self {
        Self { log, number }
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", data_encoding::HEXLOWER.encode(&self.log), self.number)
    }
}

/// Text that names no letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} names no letter: 32 hexadecimal digits, a hyphen and a number are wanted")]
pub struct LetterIdError {
    given: String,
}

impl FromStr for LetterId {
    type Err = LetterIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('-').and_then(|(log, number)| {
            let log = data_encoding::HEXLOWER_PERMISSIVE.decode(log.as_bytes()).ok()?;
            Some(Self { log: log.try_into().ok()?, number: number.parse().ok()? })
        });
        parsed.ok_or_else(|| LetterIdError { given: text.chars().take(80).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = LetterId { log: [0xa5; 16], number: 77 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "77",
            "a5-77",
            "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5-",
            "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5-x",
        ] {
            assert!(
                bad.parse::<LetterId>().unwrap_err().to_string().contains("names no letter"),
                "{bad}"
            );
        }
    }
}
