//! Typed messages between two nodes: what arrives, what does not, and what is said of it.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod actors;
mod asks;
mod by_name;
mod describe;
mod endings;
mod errors;
mod evolution;
mod harness;
mod hosted_ends;
mod hosting;
mod json;
mod killed;
mod letters;
mod links;
mod lives;
mod market;
mod poison;
mod post;
mod revoked;
mod seen;
mod senders;
mod simulation;
mod spans;
mod streams;
mod tells;
mod traces;
mod travel;
mod watches;
