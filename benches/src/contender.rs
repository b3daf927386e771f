//! The contenders. Invariant: a contender is one entry here, and its name is what tables, goals and
//! `--only` know it by.

use anyhow::Result;

use crate::check::Check;
use crate::ours;
use crate::peers;
use crate::process::{Side, Usage};

/// One way to bring a stream from one process to another.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// Its name, unique.
    pub name: &'static str,
    /// What it is, for the table: protocol, cipher, compression.
    pub about: &'static str,
    /// How what arrives is verified.
    pub check: Check,
    /// The receiving process: listens on loopback, announces where, takes the stream, verifies it
    /// and says so to the sender. Starts its clock after the handshake, stops it when it has
    /// verified.
    pub receive: fn(Side) -> Result<Usage>,
    /// The sending process, given what the receiver announced. Starts its clock after the
    /// handshake, stops it when told that all is verified.
    pub send: fn(Side, &str) -> Result<Usage>,
}

/// All contenders that are built, in the order in which each round runs them.
#[must_use]
pub fn contenders() -> Vec<Contender> {
    let mut all = vec![ours::OURS, ours::SALSA];
    all.extend(peers::built());
    all
}

/// What is missing and how to get it, if this build lacks contenders.
#[must_use]
pub fn not_built() -> Option<String> {
    let missing: Vec<&str> =
        [(cfg!(feature = "peers"), "rustls, tonic"), (cfg!(feature = "peer-zmq"), "libzmq")]
            .into_iter()
            .filter_map(|(built, names)| (!built).then_some(names))
            .collect();
    (!missing.is_empty())
        .then(|| format!("not built: {}; add --features peers,peer-zmq", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let contenders = contenders();
        let names: HashSet<_> = contenders.iter().map(|contender| contender.name).collect();
        assert_eq!(names.len(), contenders.len());
    }
}
