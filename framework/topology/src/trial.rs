//! A trial: all nodes of a topology in one process, on a network in memory that breaks and with
//! nodes that die, until everything is delivered.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use estafette::node::{NodeConfig, StageRegistry, blocking};
use estafette::testing::{Faults, Network, Random};

use crate::model::{NodeSpec, TestFile, TestSpec, Topology};
use crate::run::{RunError, RunningNode};

/// The longest that a test may take that does not say.
const WITHIN: Duration = Duration::from_secs(60);
/// The time between two looks whether all is done.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// A connection that is cut carries fewer bytes, either way.
const CUT_WITHIN: u64 = 64 << 10;
/// The longest file that is told in full where it is not as expected, in bytes.
const SHOWN: usize = 200;

/// The seed and the faults of a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// The seed of all that is random about it.
    pub seed: u64,
    /// The number of connections that break while they carry something.
    pub cuts: u64,
    /// The number of times that a node dies, and is started again.
    pub kills: u64,
}

/// The report of a trial in which everything was as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrialReport {
    /// Connections that were cut.
    pub cuts: u64,
    /// Nodes that died.
    pub kills: u64,
    /// Deliveries that nodes have taken.
    pub arrivals: u64,
}

/// A trial that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrialError {
    /// A node does not start.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is no folder for it.
    #[error("no temporary folder can be made in {}: {error}", path.display())]
    NoPlace {
        /// The folder in which it was to be.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// A given file can't be written, or an expected one can't be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// It was not over in time.
    #[error("not all was delivered within {within:?}: {left}")]
    Late {
        /// The time there was.
        within: Duration,
        /// The deliveries that are left, by node, and the last words of routes.
        left: String,
    },
    /// Something is not as it is expected.
    #[error("{}", .0.join("\n"))]
    Unexpected(Vec<String>),
}

impl Topology {
    /// Tries one of its tests in a folder of its own, which is removed: nothing of it touches the
    /// paths or the addresses that the topology names. Kinds that read their paths by
    /// [`units::path`](estafette::node::units::path) are kept there, too.
    pub async fn try_test(
        &self,
        test: &TestSpec,
        trial: Trial,
        registry: &StageRegistry,
    ) -> Result<TrialReport, TrialError> {
        let failed = |path: &Path, error| TrialError::Io { path: path.to_owned(), error };
        let place = tempfile::tempdir().map_err(|error| {
            let path = std::env::temp_dir();
            TrialError::NoPlace { path, error }
        })?;
        let (here, given, base) = (self.confined(place.path()), test.clone(), self.base.clone());
        let prepared = here.clone();
        blocking(move || give(&prepared, &base, &given))
            .await
            .map_err(|error| failed(place.path(), io::Error::other(error)))??;
        let report = World::new(&here, trial, registry).run(test).await?;
        let (test, base) = (test.clone(), self.base.clone());
        let wrong = blocking(move || unexpected(&here, &base, &test)).await;
        let wrong = wrong.map_err(|error| failed(place.path(), io::Error::other(error)))??;
        if wrong.is_empty() { Ok(report) } else { Err(TrialError::Unexpected(wrong)) }
    }

    /// The same, all of whose paths lie below `base`, and whose nodes meet on a network where each
    /// is called by its name.
    fn confined(&self, base: &Path) -> Self {
        let mut topology =
            Self { base: base.to_owned(), state: "state".into(), confined: true, ..self.clone() };
        for (name, node) in &mut topology.nodes {
            let dialled = !node.dialled_at().is_empty();
            *node = NodeSpec {
                id: None,
                key: None,
                spool: None,
                listen: if dialled { vec![name.clone()] } else { Vec::new() },
                addresses: Vec::new(),
                limits: NodeConfig {
                    // A machine that tries it has other things to do, too.
                    hosting: estafette::pipeline::Hosting::Parallel(1),
                    ..node.limits.clone()
                },
                ..node.clone()
            };
        }
        topology
    }
}

/// The nodes of a trial.
struct World<'t> {
    topology: &'t Topology,
    registry: &'t StageRegistry,
    network: Network,
    random: Random,
    trial: Trial,
    cuts: Arc<AtomicU64>,
    nodes: BTreeMap<String, RunningNode>,
}

impl<'t> World<'t> {
    fn new(topology: &'t Topology, trial: Trial, registry: &'t StageRegistry) -> Self {
        let network = Network::seeded(trial.seed);
        let cuts = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&cuts);
        network.plan(move |_, random| {
            let more = counted.load(Ordering::Relaxed) < trial.cuts;
            if !more || random.below(2) == 0 {
                return Faults::default();
            }
            counted.fetch_add(1, Ordering::Relaxed);
            let (there, at) = (random.below(2) == 0, random.below(CUT_WITHIN));
            Faults {
                cut_there: there.then_some(at),
                cut_back: (!there).then_some(at),
                ..Faults::default()
            }
        });
        let random = Random::seeded(trial.seed);
        Self { topology, registry, network, random, trial, cuts, nodes: BTreeMap::new() }
    }

    async fn start(&mut self, name: &str) -> Result<(), RunError> {
        let registry = self.registry.clone().transport(self.network.transport(name));
        let running = self.topology.start(name, registry).await?;
        self.nodes.insert(name.to_owned(), running);
        Ok(())
    }

    async fn run(mut self, test: &TestSpec) -> Result<TrialReport, TrialError> {
        let names: Vec<_> = self.topology.nodes.keys().cloned().collect();
        for name in &names {
            self.start(name).await?;
        }
        let within = test.within.unwrap_or(WITHIN);
        let done = tokio::time::timeout(within, self.settle(&names)).await;
        let arrivals = self.nodes.values().map(|node| node.node().arrivals().len() as u64).sum();
        let left = self.left().await;
        for node in std::mem::take(&mut self.nodes).into_values() {
            node.shutdown().await;
        }
        let kills = done.map_err(|_| TrialError::Late { within, left })??;
        Ok(TrialReport { cuts: self.cuts.load(Ordering::Relaxed), kills, arrivals })
    }

    /// Waits until nothing is left to be done, and lets nodes die meanwhile: how often.
    async fn settle(&mut self, names: &[String]) -> Result<u64, TrialError> {
        let (mut kills, mut before, mut seen) = (0, None, None);
        loop {
            let (open, activity) = self.standing().await;
            // A node dies when something has happened since the last one did.
            if kills < self.trial.kills && seen != Some(activity) {
                seen = Some(activity);
                kills += 1;
                let at = self.random.below(names.len() as u64) as usize;
                let name = names.get(at).cloned().unwrap_or_default();
                if let Some(node) = self.nodes.remove(&name) {
                    node.node().abort().await;
                    drop(node);
                    self.start(&name).await?;
                }
                (before, seen) = (None, seen);
            } else if open == 0 && before == Some(activity) {
                return Ok(kills);
            } else {
                before = (open == 0).then_some(activity);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn standing(&self) -> (u64, u64) {
        let mut sum = (0, 0);
        for node in self.nodes.values() {
            match node.pending().await {
                Ok(pending) => sum = (sum.0 + pending.open, sum.1 + pending.activity),
                Err(_) => sum.0 += 1,
            }
        }
        sum
    }

    /// Returns what each node still has to do, for a person.
    async fn left(&mut self) -> String {
        let mut left = Vec::new();
        for (name, node) in &mut self.nodes {
            let open = node.pending().await.map_or(0, |pending| pending.open);
            let outbox = node.node().outbox().list().await.unwrap_or_default();
            let failures = outbox.iter().filter_map(|(_, entry)| {
                Some(format!("{}: {}", entry.name, entry.last_failure.as_ref()?.message))
            });
            let mut said: Vec<_> = failures.take(3).collect();
            while let Ok(event) = node.events().try_recv() {
                if let crate::RouteNews::Failed { why, .. } = event.news {
                    said.push(format!("route {}: {why}", event.route));
                }
            }
            said.dedup();
            if open > 0 || !said.is_empty() {
                left.push(format!("{name} has {open} to do ({})", said.join("; ")));
            }
        }
        if left.is_empty() { "nothing is said of why".into() } else { left.join(", ") }
    }
}

/// Writes what is given.
fn give(topology: &Topology, beside: &Path, test: &TestSpec) -> Result<(), TrialError> {
    for (path, file) in &test.given {
        let place = topology.at(path);
        let failed = |error| TrialError::Io { path: path.clone(), error };
        let content = content(file, path, beside)?;
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        std::fs::write(&place, content).map_err(failed)?;
        // As old as what nobody is writing any more.
        let old = std::time::SystemTime::now() - Duration::from_secs(60);
        let times = std::fs::FileTimes::new().set_modified(old);
        let file = std::fs::File::options().write(true).open(&place).map_err(failed)?;
        file.set_times(times).map_err(failed)?;
    }
    Ok(())
}

fn content(file: &TestFile, path: &Path, beside: &Path) -> Result<Vec<u8>, TrialError> {
    match file {
        TestFile::Text(text) => Ok(text.clone().into_bytes()),
        TestFile::Of(of) => std::fs::read(beside.join(of))
            .map_err(|error| TrialError::Io { path: of.clone(), error }),
        TestFile::Bytes(count) => {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            let seed = name
                .iter()
                .fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(*byte)));
            Ok(Random::seeded(seed).bytes(usize::try_from(*count).unwrap_or(usize::MAX)))
        }
    }
}

/// All that is not as it is expected.
fn unexpected(
    topology: &Topology,
    beside: &Path,
    test: &TestSpec,
) -> Result<Vec<String>, TrialError> {
    let mut wrong = Vec::new();
    for (path, file) in &test.expect {
        let (wanted, shown) = (content(file, path, beside)?, path.display());
        match std::fs::read(topology.at(path)) {
            Ok(found) if found == wanted => {}
            Ok(found) => wrong.push(format!(
                "{shown} is not as expected: {}, where {} is wanted",
                Shown(&found),
                Shown(&wanted)
            )),
            Err(error) => wrong.push(format!("{shown} is expected: {error}")),
        }
    }
    for path in test.absent.iter().filter(|path| topology.at(path).exists()) {
        wrong.push(format!("{} is there, where nothing is expected", path.display()));
    }
    Ok(wrong)
}

/// A file for a person.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if text.len() <= SHOWN => write!(f, "{text:?}"),
            _ => write!(f, "{} bytes", self.0.len()),
        }
    }
}
