//! Names that a shell completes: of peers and what they take, and of what a topology has.
//!
//! Invariant: who presses Tab makes and changes nothing, and waits for another node for
//! [`PATIENCE`] at most. Shells put what they are given into the line as it is, and peers choose
//! their own names: nothing is offered that a shell would read as more than a word.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches};
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use estafette::node::Trust;
use estafette::pipeline::ChunkCodec;
use estafette_topology::{Document, Topology};
use serde_json::Value;

use crate::program::Program;
use crate::settings;
use crate::units::parse_duration;

/// The time that a peer has to say what it takes, unless [`WITHIN`] says otherwise.
const PATIENCE: Duration = Duration::from_secs(2);
const WITHIN: &str = "ESTAFETTE_COMPLETE_WITHIN";

/// The node and the actor that a command line is about, as far as it is there.
#[derive(Debug, Default)]
struct Line {
    key: Option<PathBuf>,
    topology: Option<PathBuf>,
    /// An actor of a peer.
    actor: Option<String>,
    coders: Vec<String>,
    codecs: Vec<String>,
}

/// The kind of thing that an argument names.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Peer,
    /// A path, or an inbox of a peer: the last of what `send` is given is one.
    PathOrInbox,
    Inbox,
    Actor,
    /// A peer, or anything of it.
    Described,
    MessageType,
    TopologyFile,
    Node,
    Route,
    Coder,
    Codec,
}

impl Kind {
    fn of(command: &str, argument: &str) -> Option<Self> {
        Some(match (command, argument) {
            ("send", "paths") => Self::PathOrInbox,
            ("send", "to" | "also") => Self::Inbox,
            ("send", "stages") => Self::Coder,
            ("send", "compress") => Self::Codec,
            ("send", "via") | ("remove", "peer") | ("node" | "receive", "connect") => Self::Peer,
            ("ask" | "tell" | "deliver" | "download" | "upload" | "open", "to") => Self::Actor,
            ("ask" | "tell" | "deliver" | "download" | "upload" | "open", "message") => {
                Self::MessageType
            }
            ("describe", "what") => Self::Described,
            ("top", "topology") | (_, "file") => Self::TopologyFile,
            ("run", "node") | ("trace", "node") | ("record", "receiver") => Self::Node,
            ("tap" | "record" | "replay", "route") => Self::Route,
            _ => return None,
        })
    }
}

/// The same syntax, which knows what there is by name on this machine, and at its peers.
pub(crate) fn with_names(
    syntax: clap::Command,
    program: &Program,
    matches: Option<&ArgMatches>,
) -> clap::Command {
    let line = Arc::new(Line::of(program, matches));
    named(syntax, &line)
}

fn named(syntax: clap::Command, line: &Arc<Line>) -> clap::Command {
    let command = syntax.get_name().to_owned();
    let syntax = syntax.mut_args(|argument| complete(argument, &command, line));
    syntax.mut_subcommands(|command| named(command, line))
}

fn complete(argument: Arg, command: &str, line: &Arc<Line>) -> Arg {
    let Some(kind) = Kind::of(command, argument.get_id().as_str()) else { return argument };
    let line = line.clone();
    argument.add(ArgValueCompleter::new(move |begun: &OsStr| line.candidates(kind, begun)))
}

impl Line {
    fn of(program: &Program, matches: Option<&ArgMatches>) -> Self {
        let coders = program.registry.stages().coder_names().map(ToString::to_string).collect();
        let codecs = program.registry.stages().codecs().map(ChunkCodec::name).map(Into::into);
        let codecs = codecs.chain([settings::OFF.to_owned()]).collect();
        let key = matches.and_then(|matches| get::<PathBuf>(matches, "key"));
        let action = matches.and_then(ArgMatches::subcommand).map(|(_, action)| action);
        let topology = action.and_then(|action| get(action, "file"));
        let actor = action.and_then(|action| get(action, "to"));
        Self { key: settings::key_file(key.as_deref()).ok(), topology, actor, coders, codecs }
    }

    fn candidates(&self, kind: Kind, begun: &OsStr) -> Vec<CompletionCandidate> {
        // Where one of them has to be quoted, the shell, which can, is left to complete them itself.
        let paths = |completer: PathCompleter| {
            let found = completer.complete(begun);
            let all = found.iter().all(|path| path.get_value().to_str().is_some_and(is_plain));
            if all { found } else { Vec::new() }
        };
        match kind {
            Kind::TopologyFile => {
                let is_topology = |path: &Path| {
                    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("toml"))
                };
                paths(PathCompleter::file().filter(is_topology))
            }
            Kind::PathOrInbox => {
                let mut found = paths(PathCompleter::any());
                found.extend(candidates(self.names(Kind::Inbox, begun), begun));
                found
            }
            kind => candidates(self.names(kind, begun), begun),
        }
    }

    fn names(&self, kind: Kind, begun: &OsStr) -> Vec<String> {
        let text = begun.to_str().unwrap_or_default();
        match kind {
            Kind::Peer => self.peers(),
            Kind::Coder => self.coders.clone(),
            Kind::Codec => self.codecs.clone(),
            Kind::Node => {
                self.topology().map_or_else(Vec::new, |it| it.nodes.into_keys().collect())
            }
            Kind::Route => {
                self.topology().map_or_else(Vec::new, |it| it.routes.into_keys().collect())
            }
            Kind::MessageType => self.message_types(),
            Kind::TopologyFile
            | Kind::PathOrInbox
            | Kind::Inbox
            | Kind::Actor
            | Kind::Described => match text.split_once('/') {
                Some((peer, _)) => self.things(peer, kind),
                None if matches!(kind, Kind::Described) => self.peers(),
                None => self.peers().into_iter().map(|peer| peer + "/").collect(),
            },
        }
    }

    /// The peers by their names, or by their ids, where others have the same name.
    fn peers(&self) -> Vec<String> {
        let Some(key) = &self.key else { return Vec::new() };
        // It would be made.
        if !settings::trust_path_of(key.clone()).is_dir() {
            return Vec::new();
        }
        let Some(trust) =
            settings::store_of(key.clone()).ok().and_then(|store| Trust::load(store).ok())
        else {
            return Vec::new();
        };
        let known = trust.list();
        let alike = |name: &str| known.iter().filter(|(_, other)| other.name == name).count();
        known
            .iter()
            .map(
                |(id, peer)| {
                    if alike(&peer.name) == 1 { peer.name.clone() } else { id.to_string() }
                },
            )
            .collect()
    }

    /// The things of a kind that a peer has, as `PEER/NAME`.
    fn things(&self, peer: &str, kind: Kind) -> Vec<String> {
        let wanted = |thing: &Value| match kind {
            Kind::Inbox => thing["inbox"] == true,
            Kind::Actor => thing["inbox"] == false,
            _ => true,
        };
        let said = self.described(peer);
        let found = said.iter().filter(|thing| wanted(thing));
        found.filter_map(|thing| Some(format!("{peer}/{}", thing["name"].as_str()?))).collect()
    }

    fn message_types(&self) -> Vec<String> {
        let Some(actor) = &self.actor else { return Vec::new() };
        let taken = self.described(actor).into_iter().filter_map(|thing| match thing {
            Value::Object(mut thing) => thing.remove("takes"),
            _ => None,
        });
        let types = taken.flat_map(|taken| taken.as_array().cloned().unwrap_or_default());
        types
            .filter_map(|taken| {
                let name = taken["message"].as_str()?;
                Some(match taken["version"].as_u64() {
                    Some(1) | None => name.to_owned(),
                    Some(version) => format!("{name}@{version}"),
                })
            })
            .collect()
    }

    /// Returns what `describe` says of a peer, by a process that does not go on for longer than a
    /// person waits.
    fn described(&self, what: &str) -> Vec<Value> {
        let mut said = Vec::new();
        let (Some(key), Ok(this)) = (&self.key, std::env::current_exe()) else { return said };
        // Whoever is no peer would be looked for all the same, and a key would be made.
        let peer = what.split('/').next().unwrap_or_default();
        if !self.peers().iter().any(|known| known == peer) || !key.is_file() {
            return said;
        }
        let mut command = Command::new(this);
        command.arg("--key").arg(key).args(["--json", "--quiet", "describe", what]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { return said };
        let (heard, hear) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            // It ends when the process does.
            std::thread::spawn(move || {
                BufReader::new(output)
                    .lines()
                    .map_while(Result::ok)
                    .try_for_each(|line| heard.send(line))
            });
        }
        let within = std::env::var(WITHIN).ok().and_then(|text| parse_duration(&text).ok());
        let end = Instant::now() + within.unwrap_or(PATIENCE);
        while let Ok(line) = hear.recv_timeout(end.saturating_duration_since(Instant::now())) {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["event"] == "name" {
                said.push(event);
            }
        }
        // Gone already, unless it takes too long.
        let _ = child.kill().and_then(|()| child.wait());
        said
    }

    fn topology(&self) -> Option<Topology> {
        Some(Document::open(self.topology.as_ref()?).ok()?.topology().clone())
    }
}

fn get<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, id: &str) -> Option<T> {
    matches.try_get_one::<T>(id).ok().flatten().cloned()
}

fn candidates(names: Vec<String>, begun: &OsStr) -> Vec<CompletionCandidate> {
    let fits = |name: &String| {
        OsString::from(name).as_encoded_bytes().starts_with(begun.as_encoded_bytes())
    };
    let plain = names.into_iter().filter(|name| is_plain(name));
    plain.filter(fits).map(CompletionCandidate::new).collect()
}

/// Returns `true` if a text is the same word in every shell, without quotes.
fn is_plain(text: &str) -> bool {
    text.chars().all(|it| it.is_alphanumeric() || "/_.@:+=,-".contains(it))
        && text.starts_with(|first: char| first.is_alphanumeric() || "/_.".contains(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_are_offered() {
        let offered = |name: &str| !candidates(vec![name.to_owned()], OsStr::new("")).is_empty();
        for name in ["paris/shop", "shop.Order@2", "büro/im-2.stock", "../files/a_b", "東京"] {
            assert!(offered(name), "{name}");
        }
        let hostile =
            "$(id) `id` a;b a&b a|b a>b a<b a* a? [a] {a,b} !a ~ ~a #a -x =a a'b a\"b a\\b %a ^a";
        let more =
            ["", "paris/x y", "a\nb", "a\tb", "a\u{b}b", "a\u{1b}[1m", "a\u{a0}b", "a\u{202e}b"];
        for name in hostile.split(' ').chain(more) {
            assert!(!offered(name) && !offered(&format!("paris/{name}$")), "{name:?}");
        }
    }
}
