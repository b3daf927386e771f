//! `estafette token`: who may come in by a door.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use estafette_doors::{TokenInfo, Tokens, TokensError};

use crate::arguments::{Global, Token as Action};
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::output::Output;
use crate::settings;
use crate::units::{count, moment, now, printable};

pub(crate) fn run(
    global: &Global,
    action: &Action,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let tokens = open(global)?;
    match action {
        Action::List => list(&tokens.list()?, output),
        Action::Add { name, to, rate, expires } => {
            if expires.is_some_and(|time| time.is_zero()) {
                return Err(CommandError::usage(
                    "a token that expires at once lets nobody in",
                    "say how long it is good for: --expires 30d",
                ));
            }
            let until = expires.map(|time| SystemTime::now() + time);
            let issued = tokens.add(name, to, *rate, until)?;
            output.event(&Event::TokenAdded { name, token: issued.text() });
            output.result(issued.text());
            output.remark(&format!(
                "This is shown once. {} leads to {}: Authorization: Bearer TOKEN",
                printable(name),
                to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            ));
        }
        Action::Remove { name } => {
            if !tokens.remove(name)? {
                let text = format!("there is no token {name:?}");
                return Err(CommandError::usage(text, "`estafette token list` prints all"));
            }
            output.event(&Event::TokenRemoved { name });
            output.result(&format!("{} lets nobody in any more", printable(name)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The tokens that belong to the key in use.
pub(crate) fn open(global: &Global) -> Result<Tokens, CommandError> {
    open_of(settings::key_path(global)?)
}

/// The tokens that belong to the key in this file.
pub(crate) fn open_of(key: PathBuf) -> Result<Tokens, CommandError> {
    Ok(Tokens::load(settings::store_of(key)?)?)
}

fn list(all: &[TokenInfo], output: &Output) {
    if all.is_empty() {
        output.remark("there are no tokens yet: `estafette token add` makes one");
    }
    for token in all {
        let TokenInfo { name, to, rate, created, expires, .. } = token;
        let to: Vec<String> = to.iter().map(ToString::to_string).collect();
        let rate = rate.map(|rate| rate.to_string());
        let (rate_told, made) = (rate.as_deref(), *created);
        output.event(&Event::Token { name, to: &to, rate: rate_told, made, expires: *expires });
        let ends = match expires {
            None => String::new(),
            Some(end) if *end <= now() => "  expired".into(),
            Some(end) => format!("  until {}", moment(*end, now())),
        };
        let rate = rate.map(|rate| format!("  {rate}")).unwrap_or_default();
        output.result(&format!("{}  {}{rate}{ends}", printable(name), printable(&to.join(", "))));
    }
    if all.len() > 1 {
        output.remark(&count(all.len() as u64, "token"));
    }
}

impl From<TokensError> for CommandError {
    fn from(error: TokensError) -> Self {
        match error {
            TokensError::Taken { .. } | TokensError::Name { .. } => {
                Self::usage(error, "`estafette token list` prints those that there are")
            }
            TokensError::Rights { .. } => Self::usage(error, "say --to paris/shop"),
            TokensError::Full => Self::usage(error, "`estafette token remove` removes one"),
            _ => Self::new(
                ErrorKind::Io,
                error,
                "check that the trust folder beside the key can be read and written",
            ),
        }
    }
}
