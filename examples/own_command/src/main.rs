//! The `estafette` command with parts of one's own: see the library beside.
//!
//! `cargo run -p estafette-own-command -- validate examples/own_command/orders.toml`

use std::process::ExitCode;

fn main() -> ExitCode {
    own_command::command().run()
}
