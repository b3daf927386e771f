//! Switches whose variables say whether they are on.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::{Arg, Command, Error};

/// Reads the variable of a switch, and refuses what is neither true nor false: a slip must not put
/// on what widens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch;

impl TypedValueParser for Switch {
    type Value = bool;

    fn parse_ref(&self, syntax: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<bool, Error> {
        let variable = arg.and_then(Arg::get_env).map(OsStr::to_string_lossy);
        let variable = variable.as_deref().unwrap_or("its variable").to_owned();
        let read = move |text: &str| match &*text.to_ascii_lowercase() {
            "true" | "t" | "1" | "yes" | "y" | "on" => Ok(true),
            "" | "false" | "f" | "0" | "no" | "n" | "off" => Ok(false),
            _ => {
                Err(format!("{variable} is true, 1, yes or on, or else false, 0, no, off or empty"))
            }
        };
        read.parse_ref(syntax, arg, value)
    }
}
