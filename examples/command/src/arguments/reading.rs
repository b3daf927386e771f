//! Options that say how what is sent is read.

use clap::{Args, ValueEnum};
use estafette_actors::source::{PatternError, check_pattern};
use serde::{Deserialize, Serialize};

use super::switch::Switch;
use crate::units::parse_called;

/// Options of how what is sent is read. Goes to whichever process sends it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// The rule for symbolic links that lead out of what is sent, absolute ones among them; all
    /// others are kept, and a link that is given by name is what it leads to
    #[arg(
        long,
        value_name = "HOW",
        default_value = "keep",
        env = "ESTAFETTE_LINKS",
        hide_env = true
    )]
    pub(crate) links: Links,
    /// Send extended attributes of users, and ACLs, too. Of a file that is sent alone these are 64,
    /// of 12 KiB in all, at most: what is beyond that is left behind, and said
    #[arg(long, env = "ESTAFETTE_XATTRS", hide_env = true, value_parser = Switch)]
    pub(crate) xattrs: bool,
    /// Its name at the receiver [default: its name here]
    #[arg(long = "as", value_name = "NAME", value_parser = parse_called, env = "ESTAFETTE_AS", hide_env = true)]
    pub(crate) called: Option<String>,
    /// Leave out of folders what this fits; may be repeated. `*.o` and `target/` are for names,
    /// `/build/**` and `a/*.o` for paths in what is sent
    #[arg(long, value_name = "PATTERN", env = "ESTAFETTE_EXCLUDE", hide_env = true, value_parser = pattern)]
    pub(crate) exclude: Vec<String>,
    /// Send nothing of what the receiver has from an earlier delivery of this node, under the same
    /// name and unchanged since: it is read here first, and the receiver is asked. A folder is
    /// there only if nothing in it changed, at either end
    #[arg(long, conflicts_with = "stored", env = "ESTAFETTE_SKIP_EXISTING", hide_env = true, value_parser = Switch)]
    #[serde(default)]
    pub(crate) skip_existing: bool,
    /// Bytes each second, if there is a limit.
    #[arg(skip)]
    #[serde(default)]
    pub(crate) limit: Option<u64>,
    /// The name of a stream, if it is one.
    #[arg(skip)]
    pub(crate) stream: Option<String>,
    /// The name of a stream that comes in pieces. A field of its own: a process of an earlier build
    /// does not send the pieces as they are.
    #[arg(skip)]
    #[serde(default)]
    pub(crate) pieces: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub(crate) enum Links {
    /// Send them as links; the receiver decides whether it makes them
    #[default]
    Keep,
    /// Leave them out, and say so
    Skip,
    /// Send what they lead to
    Follow,
}

fn pattern(text: &str) -> Result<String, PatternError> {
    check_pattern(text).map(|()| text.to_owned())
}
