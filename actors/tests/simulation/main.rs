//! Two nodes on a network in memory whose faults come from a seed. A failure names its seed;
//! `SEED=n` runs that one alone.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod codecs;
mod control;
mod faults;
mod harness;
mod recovery;
mod sizes;
mod stored;
mod suites;
mod trust;
