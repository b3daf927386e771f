//! The `estafette` command with a stage of one's own: all its subcommands, and a coder that
//! `send --stage mask` names. The receiver runs this program, too: `estafette` itself refuses what
//! passed a stage that it does not have.
//!
//! `cargo run -p estafette-examples --example own_command -- receive --into in/`
//! `cargo run -p estafette-examples --example own_command -- send --stage mask README.md -`

use std::process::ExitCode;

use estafette::prelude::*;
use estafette_actors::standard;
use estafette_command::Command;

/// Turns all bits of a chunk, and back again: a transform that is its own inverse.
struct Mask;

impl Transform for Mask {
    type In = Chunk;
    type Out = Chunk;

    fn apply(&mut self, chunk: &Chunk) -> Result<Chunk, TransformError> {
        let masked: Vec<u8> = chunk.bytes().iter().map(|byte| !byte).collect();
        Ok(chunk.with_bytes(&masked))
    }
}

/// The standard stages and ours, under the name of this program.
pub(crate) fn command() -> Command {
    let registry = standard().coder(
        "mask",
        Pipeline::new().then("mask", || Mask),
        Pipeline::new().then("unmask", || Mask),
    );
    Command::new(registry).name("own_command").version(env!("CARGO_PKG_VERSION"))
}

/// A program of yours ends with `command().run()`. Without arguments, this one shows what its
/// `send` can do.
fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        return command().run();
    }
    command().run_from(["own_command", "send", "--help"])
}
