//! Thirty-two bytes nobody else may see.
//!
//! Invariant: they are not printed, are compared in constant time, and are wiped when dropped.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A key or token of 32 bytes. `Debug` does not show it, and dropping it wipes it.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
pub struct SecretBytes([u8; 32]);

impl SecretBytes {
    /// Takes over these bytes. The caller's copy, if it keeps one, is the caller's to wipe.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes themselves, for the primitive that needs them.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for SecretBytes {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        // The comparison of `blake3::Hash` takes the same time wherever the bytes differ.
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl Eq for SecretBytes {}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", SecretBytes::new([0x41; 32])), "SecretBytes(redacted)");
    }

    #[test]
    fn a_secret_is_wiped_when_it_is_dropped() {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<SecretBytes>();
    }

    #[test]
    fn secrets_compare_by_all_their_bytes() {
        let mut other = [7; 32];
        assert_eq!(SecretBytes::new(other), SecretBytes::new([7; 32]));
        other[31] ^= 1;
        assert_ne!(SecretBytes::new(other), SecretBytes::new([7; 32]));
    }
}
