//! Deliveries that outlive the process that sent them: stored, tried until the receiver is there,
//! delivered once.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod away;
mod cancelled;
mod carried;
mod chain;
mod copies;
mod endings;
mod expired;
mod fan_out;
mod faults;
mod harness;
mod held;
mod letters;
mod letting_go;
mod newer;
mod partials;
mod quota;
mod relay;
mod relay_words;
mod seen;
mod three;
