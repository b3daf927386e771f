//! A contender. Invariant: its name is what tables, goals and `--only` know it by.

use anyhow::Result;

use crate::check::Check;
use crate::side::{Side, Usage};

/// One way to bring a stream from one process to another.
#[derive(Clone, Copy, Debug)]
pub struct Contender {
    /// Its name, unique.
    pub name: &'static str,
    /// Its description, for the table: protocol, cipher, compression.
    pub about: &'static str,
    /// The way in which what arrives is verified.
    pub check: Check,
    /// The receiving process: listens on loopback, announces where, takes the stream, verifies it
    /// and says so to the sender. Starts its clock after the handshake, stops it when it has
    /// verified.
    pub receive: fn(Side) -> Result<Usage>,
    /// The sending process, given what the receiver announced. Starts its clock after the
    /// handshake, stops it when told that all is verified.
    pub send: fn(Side, &str) -> Result<Usage>,
}
