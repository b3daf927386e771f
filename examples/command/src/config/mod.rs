//! The configuration file: what flags say, and the limits of the node, in TOML.
//!
//! What stands in the file is put on the command line where neither a flag nor a variable says it,
//! so that the same parsers and the same rules hold for both. All that is wrong with a file is said
//! at once.

mod faults;
mod inboxes;
mod keys;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use estafette::NodeConfig;
use estafette::node::StageRegistry;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use self::faults::Faults;
use self::keys::{Key, keys};
use crate::arguments::InboxTable;
use crate::error::CommandError;
use crate::order::position_of_subcommand;
use crate::settings;

/// The longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// The content of a file.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    given: Vec<Given>,
    pub(crate) limits: NodeConfig,
    pub(crate) inboxes: Vec<InboxTable>,
}

/// The value of a key, and its place.
#[derive(Debug)]
struct Given {
    key: Key,
    arguments: Vec<OsString>,
    /// File and line, for a person.
    place: String,
}

type Table<'a> = Spanned<DeTable<'a>>;

impl ConfigFile {
    pub(crate) fn read(
        path: &Path,
        syntax: &clap::Command,
        registry: &StageRegistry,
    ) -> Result<Self, CommandError> {
        let text = text_of(path)?;
        let mut faults = Faults::new(path, &text);
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            faults.syntax(&error);
        }
        // What is no TOML has no keys that could be looked at.
        faults.said()?;
        let known = keys(syntax);
        let mut file = Self {
            path: path.to_owned(),
            given: Vec::new(),
            limits: NodeConfig::default(),
            inboxes: Vec::new(),
        };
        for (name, value) in table.into_inner() {
            let at = name.span();
            match (known.iter().find(|key| key.name == *name.get_ref()), &**name.get_ref()) {
                (Some(key), _) => match key.arguments(value.get_ref(), syntax) {
                    Ok(arguments) => {
                        let (key, place) = (key.clone(), faults.place(at.start));
                        file.given.push(Given { key, arguments, place });
                    }
                    Err(why) => faults.add(at.start, &key.name, why),
                },
                (None, "limits") => file.limits = limits(value, registry, &mut faults),
                (None, "inbox") => file.inboxes = inboxes::read(value, registry, &mut faults),
                (None, name) => {
                    let names =
                        known.iter().map(|key| key.name.as_str()).chain(["limits", "inbox"]);
                    faults.unknown(at.start, name, names);
                }
            }
        }
        faults.said()?;
        Ok(file)
    }

    /// The command line with all that the file says and nobody else does; or what of it needs
    /// something else, which nobody says.
    pub(crate) fn complete(
        &self,
        syntax: &clap::Command,
        matches: &ArgMatches,
        mut line: Vec<OsString>,
    ) -> Result<Vec<OsString>, CommandError> {
        let Some(((name, chosen), at)) =
            matches.subcommand().zip(position_of_subcommand(syntax, &line))
        else {
            return Ok(line);
        };
        let is_said = |id: &str| {
            let source = chosen.value_source(id);
            matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
        };
        let used = |given: &&Given| {
            let key = &given.key;
            (key.is_general || key.commands.contains(&name)) && !is_said(&key.id)
        };
        let used: Vec<_> = self.given.iter().filter(used).collect();
        let is_given =
            |id: &str| used.iter().any(|given| given.key.id == id && !given.arguments.is_empty());
        let lacking = used.iter().flat_map(|Given { key, arguments, place }| {
            let needs = key.needs(arguments, syntax).into_iter();
            let needs = needs.filter(|id| !is_said(id) && !is_given(id));
            needs.map(move |id| format!("{place}: `{}` is for a node with `{id}`", key.name))
        });
        faults::said(&self.path, lacking.collect())?;
        // Behind the subcommand, and before it: what stands there may end where another one begins.
        for (at, is_general) in [(at + 1, false), (1, true)] {
            let these = used.iter().filter(|given| given.key.is_general == is_general);
            line.splice(at..at, these.flat_map(|given| given.arguments.clone()));
        }
        Ok(line)
    }
}

fn text_of(path: &Path) -> Result<String, CommandError> {
    let shown = settings::shown(path);
    let failed = |error: std::io::Error| {
        CommandError::usage(
            format!("the configuration {shown} can't be read: {error}"),
            "name a file of TOML with --config",
        )
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LONGEST {
        return Err(CommandError::usage(
            format!("the configuration {shown} is longer than {LONGEST} bytes"),
            "name a file of TOML with --config",
        ));
    }
    Ok(text)
}

/// The limits of the node; the faults are said.
fn limits(
    value: Spanned<DeValue<'_>>,
    registry: &StageRegistry,
    faults: &mut Faults<'_>,
) -> NodeConfig {
    let span = value.span();
    let DeValue::Table(mut table) = value.into_inner() else {
        faults.add(span.start, "limits", "is a table: [limits]");
        return NodeConfig::default();
    };
    for (key, instead) in
        [("relay", "relay, relay_packages and relay_bytes"), ("drain_for", "drain")]
    {
        if let Some((name, _)) = table.remove_entry(key) {
            let text = format!("is said above the tables, by {instead}");
            faults.add(name.span().start, &format!("limits.{key}"), text);
        }
    }
    let starts: Vec<_> =
        table.keys().map(|name| (name.get_ref().to_string(), name.span().start)).collect();
    let before = faults.count();
    let config: NodeConfig = settings_in(Spanned::new(span.clone(), table), "limits", faults);
    if faults.count() > before {
        return NodeConfig::default();
    }
    let mut add = |key: &str, why: String| {
        let at = starts.iter().find(|(name, _)| name == key);
        faults.add(at.map_or(span.start, |(_, at)| *at), &format!("limits.{key}"), why);
    };
    for fault in config.faults() {
        add(fault.key, format!("{}: {}", fault.given, fault.wanted));
    }
    if let Err(error) = registry.stages().check_preference(config.compression) {
        add("compression", error.to_string());
    }
    config
}

/// The settings in a table, each key by itself, so that all faults are found.
fn settings_in<T: DeserializeOwned + Default>(
    table: Table<'_>,
    name: &str,
    faults: &mut Faults<'_>,
) -> T {
    let before = faults.count();
    for (key, value) in table.get_ref() {
        let one = DeTable::from_iter([(key.clone(), value.clone())]);
        let one = Deserializer::from(Spanned::new(table.span(), one));
        if let Err(error) = T::deserialize(one) {
            let at = error.span().map_or(key.span().start, |span| span.start);
            faults.of_value(at, &format!("{name}.{}", key.get_ref()), error.message());
        }
    }
    if faults.count() > before {
        return T::default();
    }
    let start = table.span().start;
    T::deserialize(Deserializer::from(table)).unwrap_or_else(|error| {
        faults.of_value(error.span().map_or(start, |span| span.start), name, error.message());
        T::default()
    })
}

#[cfg(test)]
mod tests;
