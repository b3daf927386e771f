//! A node that listens, and peers that mean it harm: over real sockets, with the right protocol up
//! to the point where it goes wrong.
//!
//! ```text
//!  lyon, honest ───────┐
//!                      ├──▶ paris, attacked ──▶ whoever a test lets it send to
//!  mallory, hostile ───┘
//! ```
//! After each attack lyon delivers to paris, and paris holds what it held before.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod forge;
mod peer;
mod post;
mod proxy;
mod words;
mod world;

mod busy;
mod door;
mod floods;
mod holes;
mod lanes;
mod links;
mod message_floods;
mod messages;
mod openings;
mod receivers;
mod road;
mod senders;
mod shares;
mod stalled;
mod strangers;
mod tickets;
mod ways;
