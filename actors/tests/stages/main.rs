//! The stages by themselves: each with its inverse, with known answers, and with what must not get
//! through.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod aes;
mod chunks;
mod compression;
mod damage;
mod harness;
mod known_answers;
mod sealing;
