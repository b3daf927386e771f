//! Names of transfers.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};

/// A transfer's id: 24 random bytes, owned by its sender.
///
/// Everything kept about a transfer is keyed by the authenticated sender *and* this id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransferId([u8; 24]);

impl TransferId {
    /// A fresh id.
    ///
    /// # Panics
    /// When the operating system has no randomness to give.
    pub fn random() -> Self {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).expect("the operating system gives randomness");
        Self(bytes)
    }

    /// An id made of these bytes.
    pub const fn from_bytes(bytes: [u8; 24]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 24] {
        &self.0
    }

    /// The first 16 of its 48 digits: enough to tell transfers apart in a log, not enough to read
    /// one back.
    pub fn short(&self) -> String {
        format!("{self:.16}")
    }
}

/// Text that is no transfer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a transfer's id has 48 hexadecimal digits, this is something else with {length} characters"
)]
pub struct TransferIdError {
    /// Characters given.
    pub length: usize,
}

impl std::str::FromStr for TransferId {
    type Err = TransferIdError;

    fn from_str(text: &str) -> Result<Self, TransferIdError> {
        let bytes = HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(TransferIdError { length: text.chars().count() })
    }
}

impl std::fmt::Display for TransferId {
    /// All of it in hexadecimal, 48 digits: what [`FromStr`](std::str::FromStr) reads. A precision
    /// shows the first ones only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&HEXLOWER.encode(&self.0))
    }
}

impl std::fmt::Debug for TransferId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TransferId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_begins_with_what_is_shown() {
        let id = TransferId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        assert_eq!((id.short().len(), id.to_string().starts_with(&id.short())), (16, true));
        for wrong in ["", "0", &id.short(), &"g".repeat(48), &"é".repeat(24)] {
            assert_eq!(
                wrong.parse::<TransferId>(),
                Err(TransferIdError { length: wrong.chars().count() })
            );
        }
    }
}
