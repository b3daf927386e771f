//! Content from sources straight into sinks: no network, no pipeline between.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod as_they_were;
mod attributes;
mod commit;
mod consumers;
mod durable;
mod file_systems;
mod files;
mod harness;
mod hostile;
mod keys;
mod memory;
mod merged;
mod mounts;
mod power;
mod resume;
mod room;
mod sources;
mod there;
mod trees;
