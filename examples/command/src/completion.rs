//! The script by which a shell asks what it may complete, and the answer.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap_complete::CompleteEnv;
use clap_complete::env::Shells;

use crate::about;
use crate::arguments::Arguments;
use crate::error::CommandError;
use crate::names;
use crate::program::Program;

/// By which the script asks.
const VARIABLE: &str = "ESTAFETTE_COMPLETE";

/// Answers a shell, if that is what this process was started for.
pub(crate) fn answer(program: &Program, arguments: &[OsString]) -> Option<ExitCode> {
    std::env::var_os(VARIABLE)?;
    let words = arguments.iter().skip_while(|word| *word != "--").skip(1).cloned().collect();
    let syntax = || {
        let matches = Arguments::as_far_as_read(program, words);
        names::with_names(program.syntax(), program, matches.as_ref())
    };
    // It is asked for once.
    let syntax = std::cell::LazyCell::new(syntax);
    let folder = std::env::current_dir().ok();
    let answered = CompleteEnv::with_factory(|| syntax.clone())
        .var(VARIABLE)
        .try_complete(arguments.iter().cloned(), folder.as_deref());
    match answered {
        Ok(true) => Some(ExitCode::SUCCESS),
        Ok(false) => None,
        Err(error) => {
            // Who has no terminal any more needs no word.
            let _ = error.print();
            Some(ExitCode::from(2))
        }
    }
}

/// Prints the script for a shell.
pub(crate) fn script(
    program: &Program,
    shell: clap_complete::Shell,
) -> Result<ExitCode, CommandError> {
    let shells = Shells::builtins();
    let name = shell.to_string();
    let shell = shells.completer(&name).ok_or_else(|| {
        CommandError::usage(format!("{name} can't be helped"), "take another shell")
    })?;
    // As it was called: by its name, or by a path, which holds in other folders, too.
    let called = PathBuf::from(std::env::args_os().next().unwrap_or_else(|| program.name().into()));
    let called = match called.components().count() {
        0 | 1 => called,
        _ => std::path::absolute(&called).unwrap_or(called),
    };
    let mut script = Vec::new();
    shell
        .write_registration(
            VARIABLE,
            program.name(),
            program.name(),
            &called.to_string_lossy(),
            &mut script,
        )
        .map_err(|error| CommandError::io(error, "take another shell"))?;
    about::print(&script)
}
