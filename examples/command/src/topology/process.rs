//! The program that each node of a topology is a process of.

use std::path::{Path, PathBuf};

use crate::error::CommandError;
use crate::{settings, units};

/// The path of this program, of which each node is a process.
pub(super) fn this_program() -> Result<PathBuf, CommandError> {
    std::env::current_exe().map_err(|error| {
        let text = format!("it can't be told where this program is: {error}");
        CommandError::io(text, "mount /proc, or run each node with --node")
    })
}

/// The error when the process of a node is not there.
pub(super) fn cant_start(name: &str, program: &Path, error: &std::io::Error) -> CommandError {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    let (name, program) = (units::printable(name), settings::shown(program));
    let text = format!("the process of {name} can't be started: {program}: {error}");
    let hint = match error.kind() {
        NotFound | PermissionDenied => "put the program back where it was when this one began",
        _ => "free some memory and processes",
    };
    CommandError::io(text, hint)
}
