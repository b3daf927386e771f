//! The `estafette` command as a library: sends files and folders from one machine to another, with
//! the stages, coders and transports that a program brings.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use estafette_actors::standard;
//! use estafette_command::Command;
//!
//! fn main() -> ExitCode {
//!     Command::new(standard()).run()
//! }
//! ```
//!
//! That is all of `estafette`. A program of your own registers more than the standard stages, and
//! has all commands with them: `send --stage NAME` uses a coder, and the receiver's program has to
//! know it, too. The example `own_command` is one.
//!
//! What people read goes to stderr, what programs read (a ticket, `--json` events) to stdout. The
//! exit code says how it ended.

#[cfg(not(unix))]
compile_error!(
    "estafette runs on Unix only: its folders, its spool and its control socket are made of what \
     Unix has"
);

mod about;
mod addresses;
mod apart;
mod arguments;
mod arrival;
mod ask;
mod attached;
mod bar;
mod by_relay;
mod call;
mod check;
mod command;
mod command_line;
mod completion;
mod config;
mod connection;
mod content;
mod control;
mod deliver;
mod demo;
mod describe;
mod destination;
mod detach;
mod doctor;
mod ending;
mod entry;
mod error;
mod event;
mod exec;
mod finding;
mod given;
#[cfg(feature = "grpc")]
mod grpc;
mod hang_up;
mod inbox;
mod instead;
mod into;
mod json_text;
mod known_folders;
mod left_out;
mod letter;
mod limited;
mod line;
mod monitor;
mod names;
mod news;
mod node;
mod order;
mod outbox;
mod output;
mod page;
mod per_peer;
mod pieces;
mod program;
mod receive;
mod references;
mod requests;
mod run;
mod schema_text;
#[cfg(feature = "doors")]
mod secured;
mod send;
mod service;
mod settings;
mod signals;
mod streams;
mod table;
mod tap;
mod tickets;
mod to_stdout;
#[cfg(feature = "doors")]
mod token;
mod top;
mod topology;
mod trust;
mod turn;
mod units;
#[cfg(feature = "webhooks")]
mod webhook;
mod where_to;

pub use self::command::Command;
