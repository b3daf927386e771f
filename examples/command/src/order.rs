//! Options of `send` may stand anywhere, between the paths and where they go, too. The parser takes
//! a list that is followed by one more argument only in one piece.

use std::ffi::{OsStr, OsString};

use clap::Command;

/// The same arguments, with the options of `send` before its paths. What is not understood is left
/// to the parser to name.
pub(crate) fn ordered(command: &Command, arguments: Vec<OsString>) -> Vec<OsString> {
    let Some(at) = position_of_send(command, &arguments) else { return arguments };
    let Some(send) = command.find_subcommand("send") else { return arguments };
    let (before, after) = arguments.split_at(at + 1);
    let (mut options, mut others) = (before.to_vec(), Vec::new());
    let mut rest = after.iter();
    while let Some(argument) = rest.next() {
        match Kind::of(&[send, command], argument) {
            Kind::Unknown => return arguments,
            Kind::Other => others.push(argument.clone()),
            Kind::End => {
                others.extend(std::iter::once(argument).chain(rest.by_ref()).cloned());
            }
            Kind::Flag => options.push(argument.clone()),
            Kind::WithValue => {
                options.extend(std::iter::once(argument).chain(rest.next()).cloned())
            }
        }
    }
    options.extend(others);
    options
}

/// The position of `send`, if that is the command.
fn position_of_send(command: &Command, arguments: &[OsString]) -> Option<usize> {
    position_of_subcommand(command, arguments).filter(|at| arguments[*at] == "send")
}

/// The position of the subcommand.
pub(crate) fn position_of_subcommand(command: &Command, arguments: &[OsString]) -> Option<usize> {
    let mut rest = arguments.iter().enumerate().skip(1);
    while let Some((at, argument)) = rest.next() {
        match Kind::of(&[command], argument) {
            Kind::Other => return Some(at),
            Kind::Flag => {}
            Kind::WithValue => _ = rest.next(),
            Kind::End | Kind::Unknown => return None,
        }
    }
    None
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An option that says all itself.
    Flag,
    /// An option whose value comes next.
    WithValue,
    /// `--`: no options follow.
    End,
    /// A path, or where it goes.
    Other,
    Unknown,
}

impl Kind {
    fn of(commands: &[&Command], argument: &OsStr) -> Self {
        let Some(text) = argument.to_str() else { return Self::Other };
        match text.strip_prefix("--") {
            Some("") => Self::End,
            Some("help") => Self::Flag,
            Some(long) => {
                let (name, value) =
                    long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
                let found = commands
                    .iter()
                    .flat_map(|command| command.get_arguments())
                    .find(|known| known.get_long() == Some(name));
                match found {
                    None => Self::Unknown,
                    Some(known) if value.is_none() && known.get_action().takes_values() => {
                        Self::WithValue
                    }
                    Some(_) => Self::Flag,
                }
            }
            // Of one letter there are only flags.
            None if text.len() > 1 && text.starts_with('-') => Self::Flag,
            None => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::arguments::Arguments;

    fn ordered(line: &str) -> String {
        let arguments = line.split(' ').map(OsString::from).collect();
        let ordered = super::ordered(&Arguments::command(), arguments);
        ordered.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn options_of_send_come_first_and_the_rest_stays_in_its_order() {
        for (given, expected) in [
            ("e send a b --limit 1M T", "e send --limit 1M a b T"),
            ("e --key send send a --json T -v", "e --key send send --json -v a T"),
            ("e send a --limit=1M --detach - -- -T", "e send --limit=1M --detach a - -- -T"),
            (
                "e send --exclude *.o a --exclude b T --to U",
                "e send --exclude *.o --exclude b --to U a T",
            ),
            ("e send a T --limit", "e send --limit a T"),
        ] {
            assert_eq!(ordered(given), expected);
            assert_eq!(ordered(expected), expected);
        }
    }

    #[test]
    fn what_is_not_understood_and_other_commands_are_left_as_they_are() {
        for line in [
            "e",
            "e send",
            "e send a --limti 1M T",
            "e receive --into send",
            "e -- send a --json T",
            "e trust add --name send ID",
            "e --odd send a -v T",
        ] {
            assert_eq!(ordered(line), line);
        }
    }
}
