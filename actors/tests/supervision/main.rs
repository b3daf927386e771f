//! Tests of the cost of a panic, which spares the node, the other transfers and the room they need;
//! and of starting, ending and hosting a node.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod actors;
mod embedding;
mod ends;
mod escalation;
mod fragile;
mod gate;
mod harness;
mod log;
mod room;
mod seats;
mod seen;
mod shutdown;
mod transforms;
