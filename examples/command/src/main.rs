//! The `estafette` command, with the standard stages.

use std::process::ExitCode;

use estafette_actors::standard;
use estafette_command::Command;

fn main() -> ExitCode {
    Command::new(standard()).run()
}
