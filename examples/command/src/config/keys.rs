//! The keys that are flags, and their values as arguments.

use std::error::Error;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use toml::de::DeValue;

/// The commands that take more of a file than the general keys.
const COMMANDS: [&str; 2] = ["node", "receive"];
/// Flags that are for one time only, or lead to the file itself.
const NOT_KEYS: [&str; 5] = ["config", "check", "report", "help", "version"];

/// A key that is a flag.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    /// That of the argument.
    pub(crate) id: String,
    /// Set if all commands take it.
    pub(crate) is_general: bool,
    /// The commands that take it.
    pub(crate) commands: Vec<&'static str>,
    argument: Arg,
}

/// All keys.
pub(crate) fn keys(syntax: &Command) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    let general = syntax.get_arguments().map(|argument| (argument, None));
    let own = COMMANDS.into_iter().filter_map(|name| Some((syntax.find_subcommand(name)?, name)));
    let own =
        own.flat_map(|(command, name)| command.get_arguments().map(move |it| (it, Some(name))));
    for (argument, command) in general.chain(own) {
        let Some(name) = argument.get_long().map(|long| long.replace('-', "_")) else { continue };
        match keys.iter_mut().find(|key| key.name == name) {
            Some(known) => known.commands.extend(command),
            None if NOT_KEYS.contains(&&*name) => {}
            None => keys.push(Key {
                name,
                id: argument.get_id().to_string(),
                is_general: command.is_none(),
                commands: command.into_iter().collect(),
                argument: argument.clone(),
            }),
        }
    }
    keys
}

impl Key {
    /// The default of the flag, as text.
    #[cfg(test)]
    pub(super) fn default(&self) -> Option<String> {
        let default = self.argument.get_default_values().first()?;
        Some(default.to_string_lossy().into_owned())
    }

    /// The arguments that its value is on a command line, if the flag takes it.
    pub(super) fn arguments(
        &self,
        value: &DeValue<'_>,
        syntax: &Command,
    ) -> Result<Vec<OsString>, String> {
        let flag = format!("--{}", self.name.replace('_', "-"));
        let arguments = match (self.argument.get_action(), value) {
            (ArgAction::SetTrue, DeValue::Boolean(is_set)) => {
                if *is_set {
                    vec![flag.clone()]
                } else {
                    Vec::new()
                }
            }
            (ArgAction::SetTrue, _) => return Err("is true or false".into()),
            (ArgAction::Count, value) => match number(value) {
                Some(count @ 0..=3) => vec![flag.clone(); count as usize],
                _ => return Err("is a number from 0 to 3".into()),
            },
            (ArgAction::Append, DeValue::Array(values)) => values
                .iter()
                .map(|value| self.argument_of(&flag, value.get_ref()))
                .collect::<Result<_, _>>()?,
            (_, value) => vec![self.argument_of(&flag, value)?],
        };
        let command = self.commands.first().copied().unwrap_or("node");
        let line = ["estafette", command].into_iter().chain(arguments.iter().map(String::as_str));
        if let Err(error) = syntax.clone().try_get_matches_from(line)
            && let Some(why) = why(&error, &flag)
        {
            return Err(why);
        }
        Ok(arguments.into_iter().map(Into::into).collect())
    }

    /// The ids of the flags that its command takes it with alone, if it is said with these words.
    pub(super) fn needs(&self, arguments: &[OsString], syntax: &Command) -> Vec<String> {
        let Some(command) = self.commands.first() else { return Vec::new() };
        let missing = |arguments: &[OsString]| {
            let line = [OsString::from("estafette"), command.into()];
            let parsed = syntax.clone().try_get_matches_from(line.iter().chain(arguments));
            match parsed.as_ref().err().and_then(|error| error.get(ContextKind::InvalidArg)) {
                Some(ContextValue::Strings(missing)) => missing.clone(),
                _ => Vec::new(),
            }
        };
        // What the command can't do without whatever is said is none of this key's.
        let always = missing(&[]);
        let own = missing(arguments).into_iter().filter(|missing| !always.contains(missing));
        let ids = own.filter_map(|missing| {
            let name = missing.trim_start_matches("--").split(' ').next()?.to_owned();
            Some(name.replace('-', "_"))
        });
        if arguments.is_empty() { Vec::new() } else { ids.collect() }
    }

    fn argument_of(&self, flag: &str, value: &DeValue<'_>) -> Result<String, String> {
        let text = match value {
            DeValue::String(text) => text.to_string(),
            DeValue::Float(number) => number.as_str().to_owned(),
            value => match number(value) {
                Some(number) => number.to_string(),
                None => return Err(format!("is a text or a number, no {}", value.type_str())),
            },
        };
        if self.argument.get_value_delimiter().is_some_and(|mark| text.contains(mark)) {
            return Err("has a comma in it: write several as a list".into());
        }
        Ok(format!("{flag}={text}"))
    }
}

fn number(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// The fault of this flag's value, if it is that which is wrong.
fn why(error: &clap::Error, flag: &str) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let name = text(ContextKind::InvalidArg)?.split([' ', '=']).next()?;
    let value = text(ContextKind::InvalidValue)?;
    let wanted = match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(why), _) => why.to_string(),
        (None, Some(ContextValue::Strings(valid))) if !valid.is_empty() => {
            format!("it is one of {}", valid.join(", "))
        }
        (None, _) => "it must not be empty: leave the key out, or say what it is".into(),
    };
    (name == flag).then(|| format!("{value:?}: {wanted}"))
}
