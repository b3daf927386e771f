//! What a panic costs, and what it does not: the node, the other transfers, the room they need. And
//! who starts, ends and hosts a node.

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
mod shutdown;
mod transforms;
