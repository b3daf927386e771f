//! `estafette reload`: has the processes that run a topology look at its file now, and tells what
//! they have done.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use estafette_topology::Topology;
use futures_util::future::join_all;
use serde_json::{Map, Value};

use super::plan::applied;
use crate::arguments::{Global, TopologyFile};
use crate::control::{Outcome, Reply, Request, reload_at};
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::output::Output;
use crate::{settings, units};

/// The folder, in that of a node, with the control socket of the process that has started it and
/// others.
const RUN: &str = "run";

/// The folder with the control socket of a process that starts these nodes, each in one of its own.
pub(super) fn folder_of_run(topology: &Topology, nodes: &[String]) -> Option<PathBuf> {
    nodes.first().map(|node| topology.folder_of(node).join(RUN))
}

/// The file of a topology as it is told to other processes: it may be replaced by another one.
pub(super) fn told(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize();
    match (folder, file.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => file.to_owned(),
    }
}

pub(crate) async fn run(
    global: &Global,
    options: &TopologyFile,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let document = match super::open(&options.file, global, output) {
        Ok(document) => document,
        Err(faulty) => return faulty.end(),
    };
    let topology = document.topology();
    let places = Places::find(topology, &options.file).map_err(|error| {
        let folder = settings::shown(&topology.at(&topology.state));
        let text = format!("it can't be told who runs it: {folder}: {error}");
        CommandError::io(text, "ask as the user who runs it")
    })?;
    let request = Request::Reload(told(&options.file).as_os_str().as_bytes().to_vec());
    // Whoever has started others knows more of them than they do.
    let mut heard = Heard::default();
    heard.ask(&places.runs, &request).await;
    heard.ask(&places.nodes, &request).await;
    let Heard { told, mut faults, strange } = heard;
    if told.is_empty() && faults.is_empty() {
        let file = settings::shown(&options.file);
        let nobody = CommandError::usage(
            format!("nobody runs {file} here"),
            "start it: `estafette run FILE`; where `state` was changed in a file that runs, end \
             that process first",
        );
        return Err(strange.into_iter().next().unwrap_or(nobody));
    }
    for error in strange {
        tracing::info!(error = error.message, "a process of another topology is passed over");
    }
    let outcomes: Vec<_> = told.into_iter().flatten().collect();
    for outcome in &outcomes {
        tell(outcome, output);
    }
    let kinds = outcomes.iter().filter_map(|outcome| outcome.kind);
    faults.extend(kinds.max_by_key(|kind| kind.exit_code()).map(|kind| {
        let hint = "put right what is named, then say `estafette reload` again";
        CommandError::new(kind, "not all of it is done, as is said above", hint)
    }));
    faults.sort_by_key(|error| error.kind.exit_code());
    let Some(worst) = faults.pop() else {
        if outcomes.is_empty() {
            output.result("nothing changes");
        }
        return Ok(ExitCode::SUCCESS);
    };
    faults.iter().for_each(|error| output.error(error));
    Err(worst)
}

/// An error: the file that is to be reloaded is at fault, as is told.
pub(super) fn at_fault(file: &Path) -> CommandError {
    let text = format!("{} is at fault: nothing is changed", settings::shown(file));
    CommandError::usage(text, "`estafette validate` tells all that is wrong with it")
}

fn tell(outcome: &Outcome, output: &Output) {
    output.value(&outcome.event().into());
    let Outcome { node, change, kind } = outcome;
    let [node, change] = [node, change].map(|text| units::printable(text));
    let not = if kind.is_some() { "not reloaded: " } else { "" };
    output.result(&format!("{node}: {not}{change}"));
}

/// The answers of processes.
#[derive(Default)]
struct Heard {
    /// The outcomes of each that runs the topology.
    told: Vec<Vec<Outcome>>,
    /// The errors of those that run it, or may.
    faults: Vec<CommandError>,
    /// Those of processes of nodes that the file does not name.
    strange: Vec<CommandError>,
}

impl Heard {
    /// Asks all of them, whatever one of them says.
    async fn ask(&mut self, places: &[Place], request: &Request) {
        let asked = join_all(places.iter().map(|place| reload_at(&place.folder, request)));
        for (replies, place) in asked.await.into_iter().zip(places) {
            match replies {
                Ok(None) => {}
                Ok(Some(replies)) if replies.contains(&Reply::NotOfIt) => {}
                Ok(Some(replies)) => {
                    let outcome = |reply| match reply {
                        Reply::Reloaded(outcome) => Some(outcome),
                        _ => None,
                    };
                    self.told.push(replies.into_iter().filter_map(outcome).collect());
                }
                // It has not said what it runs.
                Err(error) if !place.is_named && error.kind == ErrorKind::Io => {
                    self.strange.push(error);
                }
                Err(error) => self.faults.push(error),
            }
        }
    }
}

/// The folder in which a process may listen.
struct Place {
    folder: PathBuf,
    /// Set if the topology names its node.
    is_named: bool,
}

/// The places of those who may run a topology.
struct Places {
    /// Those who have started nodes.
    runs: Vec<Place>,
    /// The nodes.
    nodes: Vec<Place>,
}

impl Places {
    /// Also of nodes that are out of the file by now.
    fn find(topology: &Topology, file: &Path) -> io::Result<Self> {
        let mut nodes: BTreeMap<String, PathBuf> = BTreeMap::new();
        let is_named = |name: &str| topology.nodes.contains_key(name);
        let mut runs = Vec::new();
        let folders = match std::fs::read_dir(topology.at(&topology.state)) {
            // The keys of all may be elsewhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            folders => Some(folders?),
        };
        for folder in folders.into_iter().flatten() {
            let folder = folder?;
            let Ok(name) = folder.file_name().into_string() else { continue };
            runs.push(Place { folder: folder.path().join(RUN), is_named: is_named(&name) });
            if !is_named(&name)
                && let Some(old) = applied(topology, &name, file)
            {
                nodes.insert(name.clone(), old.topology().spool_of(&name));
            }
        }
        let named = topology.nodes.keys().filter(|name| topology.is_here(name));
        nodes.extend(named.map(|name| (name.clone(), topology.spool_of(name))));
        let place = |(name, folder): (String, _)| Place { folder, is_named: is_named(&name) };
        Ok(Self { runs, nodes: nodes.into_iter().map(place).collect() })
    }
}

impl Outcome {
    /// A node that is not reloaded.
    pub(super) fn failed(node: &str, error: &CommandError) -> Self {
        Self { node: node.to_owned(), change: error.message.clone(), kind: Some(error.kind) }
    }

    /// Returns the event of it, with the node.
    pub(super) fn event(&self) -> Map<String, Value> {
        let (change, kind) = (self.change.clone(), self.kind);
        let event = Event::Reloaded { change, failed: kind.is_some(), kind };
        let mut fields = match serde_json::to_value(event) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        fields.insert("node".into(), self.node.as_str().into());
        fields
    }
}
