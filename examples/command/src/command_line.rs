//! A command line, with what a configuration says, read as arguments; and what is wrong with one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, FromArgMatches};

use crate::arguments::{Action, Arguments};
use crate::config::ConfigFile;
use crate::error::CommandError;
use crate::event::Event;
use crate::order;
use crate::output::{self, Output};
use crate::program::Program;
use crate::where_to::AS_SAID;

impl Arguments {
    /// Reads as much as there is of a command line that is still typed, with its configuration.
    pub(crate) fn as_far_as_read(program: &Program, given: Vec<OsString>) -> Option<ArgMatches> {
        let syntax = program.syntax();
        let given = order::ordered(&syntax, given);
        let given = match with_file(&syntax, program, &given) {
            Ok(Some((given, _))) => given,
            _ => given,
        };
        syntax.ignore_errors(true).try_get_matches_from(given).ok()
    }

    /// Reads a command line; what is wrong with it is told, as an event under `--json`.
    pub(crate) fn read(program: Program, given: Vec<OsString>) -> Result<Self, ExitCode> {
        let mut syntax = program.syntax();
        let given = order::ordered(&syntax, given);
        let (given, file) = match with_file(&syntax, &program, &given) {
            Ok(Some((given, file))) => (given, Some(file)),
            Ok(None) => (given, None),
            Err(error) => return Err(Output::before(wants_json(&given)).fail(&error)),
        };
        let wants_json = wants_json(&given);
        match parsed(&mut syntax, given) {
            Ok(mut arguments) => {
                if let Action::Send(options) = &mut arguments.action
                    && let Err(error) = options.settle()
                {
                    return Err(Output::before(wants_json).fail(&error));
                }
                let global = &mut arguments.global;
                global.program = program;
                if let Some(file) = file {
                    (global.limits, global.inboxes) = (file.limits, file.inboxes);
                }
                Ok(arguments)
            }
            Err(error) => {
                let name = program.name();
                let text = match file {
                    Some(_) if lacks(&error, "--into <DIR>") => Some(format!(
                        "error: no folder for deliveries is named: say --into DIR, or `into` in \
                         the configuration\n\n[[inbox]] is for '{name} node' alone."
                    )),
                    _ => explained(&error, name),
                };
                Err(tell(&error, text, wants_json))
            }
        }
    }
}

/// The arguments of a command line.
fn parsed(syntax: &mut clap::Command, mut given: Vec<OsString>) -> Result<Arguments, clap::Error> {
    let mut parse = |given: &[OsString]| {
        let matches = syntax.clone().try_get_matches_from(given)?;
        Arguments::from_arg_matches(&matches).map_err(|error| error.format(syntax))
    };
    parse(&given).or_else(|error| {
        // The parser wants a last one, which `--to` may have said.
        if !lacks(&error, "<PATH>...") {
            return Err(error);
        }
        given.push(AS_SAID.into());
        match parse(&given) {
            Ok(Arguments { action: Action::Send(options), .. }) if options.also.is_empty() => {
                Err(error)
            }
            parsed => parsed.map_err(|_| error),
        }
    })
}

/// The command line with what the configuration file says, and that, if there is one.
fn with_file(
    syntax: &clap::Command,
    program: &Program,
    given: &[OsString],
) -> Result<Option<(Vec<OsString>, ConfigFile)>, CommandError> {
    // What is wrong with the command line is told when all of it is there.
    let Ok(matches) = syntax.clone().ignore_errors(true).try_get_matches_from(given) else {
        return Ok(None);
    };
    let Ok(Some(path)) = matches.try_get_one::<PathBuf>("config") else { return Ok(None) };
    let file = ConfigFile::read(path, syntax, &program.registry)?;
    Ok(Some((file.complete(syntax, &matches, given.to_vec())?, file)))
}

/// Tells what is wrong with a command line, or what was asked for (`--help`); the explained text
/// stands for the parser's own.
fn tell(error: &clap::Error, explained: Option<String>, wants_json: bool) -> ExitCode {
    if let Some(text) = explained.as_ref().filter(|_| !wants_json) {
        output::prompt(text);
        return ExitCode::from(2);
    }
    if !error.use_stderr() || !wants_json {
        // A closed terminal needs no word.
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
    }
    let text = explained.unwrap_or_else(|| error.render().to_string());
    let (message, hint) = text.split_once("\n\n").unwrap_or((&text, ""));
    let message = message.trim().trim_start_matches("error: ");
    let hint = hint.split_whitespace().collect::<Vec<_>>().join(" ");
    let error = CommandError::usage(message, hint);
    // A closed terminal needs no word.
    let _ = output::print_event(&Event::from(&error));
    ExitCode::from(2)
}

/// A better word for what is missing where only one thing was said: the parser takes that for the
/// last argument.
fn explained(error: &clap::Error, name: &str) -> Option<String> {
    lacks(error, "<PATH>...").then(|| {
        format!(
            "error: one of two is missing: what to send, or where to\n\nUsage: {name} send \
             <PATH>... <TICKET|PEER/INBOX>\n       {name} send <PATH>... --to \
             <TICKET|PEER/INBOX>\n\nFor more information, try '{name} send --help'."
        )
    })
}

/// Returns `true` if this argument, and no other, is missing.
fn lacks(error: &clap::Error, argument: &str) -> bool {
    let missing = error.get(ContextKind::InvalidArg);
    let only_this =
        matches!(missing, Some(ContextValue::Strings(missing)) if missing == &[argument]);
    error.kind() == ErrorKind::MissingRequiredArgument && only_this
}

/// Returns `true` if `--json` was asked for on a command line that can't be understood.
fn wants_json(given: &[OsString]) -> bool {
    let flagged = given
        .iter()
        .skip(1)
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json");
    let falsey = ["", "0", "f", "false", "n", "no", "off"];
    flagged
        || std::env::var("ESTAFETTE_JSON")
            .is_ok_and(|value| !falsey.contains(&value.to_ascii_lowercase().as_str()))
}
