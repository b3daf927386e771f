//! Tests of the promise of the spool: it keeps what it acknowledged, or says what is damaged,
//! whatever happens to it.
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod disk;
mod faults;
mod folder;
mod model;
mod power;
mod processes;
mod records;
mod rot;
mod said;
mod waiting;
