//! Numbers of cipher suites.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a way to seal chunks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Suite(pub u16);

impl Suite {
    /// XSalsa20-Poly1305, as in NaCl's secretbox. Every node has it.
    pub const XSALSA20_POLY1305: Self = Self(1);
    /// AES-256-GCM (NIST SP 800-38D) with nonces of 12 bytes. Nodes have it whose processor and
    /// build do.
    pub const AES_256_GCM: Self = Self(2);
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::XSALSA20_POLY1305 => f.write_str("XSalsa20-Poly1305"),
            Self::AES_256_GCM => f.write_str("AES-256-GCM"),
            Self(number) => write!(f, "suite {number}"),
        }
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Suite({self})")
    }
}
