//! Nodes of a topology run, on real sockets and disks.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod doors;
mod harness;
mod mirrors;
mod newer;
mod observe;
mod relays;
mod reload;
mod run;
mod tap;
mod wanted;
