//! Benchmarks of estafette, and of what it is compared with, side by side in one run.
//!
//! # Layout
//! - [`Corpus`]: the content, deterministic and repeated to any length
//! - [`Contender`]: one way to bring a stream from a process to another; [`contenders`] lists all
//!   that are built
//! - [`Job`], [`Side`], [`run`]: a run in two processes of its own, clocked and verified
//! - [`limit`]: what the stages cost on this machine, hence what no pipeline of them can pass
//! - [`in_memory`]: both chains of stages without a socket; [`Kit`]: a chunk in every state, for
//!   the codecs alone
//! - [`messages`]: small messages, by every messenger in turn
//! - [`machine`]: CPU time, memory, and how busy others keep the machine
//! - [`Settings`], [`report`]: the command line and the tables
#![forbid(unsafe_code)]

mod built;
mod check;
mod contender;
mod corpus;
mod goals;
pub mod in_memory;
mod kit;
pub mod limit;
pub mod machine;
pub mod messages;
pub mod on_disk;
mod ours;
mod peers;
mod process;
pub mod report;
pub mod rsync;
mod settings;
mod side;

pub use built::{contenders, not_built};
pub use check::{Check, Checker};
pub use contender::Contender;
pub use corpus::{Corpus, Kind};
pub use goals::{Bar, Goal, Measure, goals, verdict};
pub use kit::Kit;
pub use process::{play_role, run};
pub use report::Run;
pub use settings::Settings;
pub use side::{Clock, Job, Side, Usage};
