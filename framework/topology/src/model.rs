//! The topology itself: plain data, from a file or from a program.

mod door;
mod expectation;
mod places;
mod tapping;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use estafette::PeerId;
use estafette::node::{NodeConfig, RelayQuota, StageRegistry};
use estafette::pipeline::Priority;

pub use self::door::DoorSpec;
pub use self::expectation::{TestFile, TestSpec};
pub(crate) use self::places::Places;
pub use self::tapping::{Shows, TapSpec};

/// The kind of sink that is a folder, from which deliveries can go on.
const FOLDER: &str = "folder";
/// The kind of source that is files and folders.
const PATHS: &str = "paths";

/// Nodes, inboxes and routes, by their names.
///
/// Made from a file ([`Topology::load`]) or by a program ([`Topology::new`]); nothing of it is
/// looked at until [`Topology::check`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    /// The folder that relative paths begin at.
    pub base: PathBuf,
    /// The folder of keys, spools and what routes remember, for nodes that name no other one.
    pub state: PathBuf,
    /// The nodes.
    pub nodes: BTreeMap<String, NodeSpec>,
    /// The inboxes.
    pub inboxes: BTreeMap<String, InboxSpec>,
    /// The routes.
    pub routes: BTreeMap<String, RouteSpec>,
    /// The doors.
    pub doors: BTreeMap<String, DoorSpec>,
    /// The tests of what is expected of it.
    pub tests: Vec<TestSpec>,
    /// Set if none of its paths leads out of `base`: for trials.
    pub(crate) confined: bool,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeSpec {
    /// Its id. A node without one is of this machine: its key is made at its first start.
    pub id: Option<PeerId>,
    /// The file of its key. Default: `node.key` in its folder of the state.
    pub key: Option<PathBuf>,
    /// The folder of its spool. Default: the path of its key, and `.spool`.
    pub spool: Option<PathBuf>,
    /// The addresses it listens at.
    pub listen: Vec<String>,
    /// The addresses by which others dial it. Default: those it listens at.
    pub addresses: Vec<String>,
    /// Nodes that may deliver to all of its inboxes, whatever the routes say.
    pub trust: Vec<String>,
    /// Nodes that may see what it does.
    pub observe: Vec<String>,
    /// The quota of each sender, if it keeps packages for others.
    pub relay: Option<RelayQuota>,
    /// Its limits.
    pub limits: NodeConfig,
    /// Its line, for what is calculated.
    pub line: Option<Line>,
    /// The page that shows what it does, for programs that serve one, as `estafette run` does.
    pub http: Option<HttpSpec>,
}

/// The line by which a node is reached. Nothing is limited by it: it is what is calculated with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Bytes that it carries in each second, each way.
    pub speed: u64,
    /// The time that a byte takes from the node to the other end of its line.
    pub latency: Duration,
}

/// A page of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSpec {
    /// The address it is served at: `127.0.0.1:7480`.
    pub listen: String,
    /// The file of the token that whoever looks has to have.
    pub token_file: Option<PathBuf>,
    /// Names by which it may be asked for, besides `localhost` and IP addresses.
    pub hosts: Vec<String>,
}

/// An inbox.
#[derive(Clone, Debug, PartialEq)]
pub struct InboxSpec {
    /// The nodes that have it. In settings, `{node}` stands for the name of the node.
    pub nodes: Vec<String>,
    /// The sink that takes deliveries.
    pub sink: Kind,
}

/// A kind of sink or source, and its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// The name that it is registered by.
    pub name: String,
    /// Its settings.
    pub settings: toml::Value,
}

/// A route: what goes from one node to the inboxes of others.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSpec {
    /// The node that sends.
    pub from: String,
    /// The content of its deliveries.
    pub source: SourceSpec,
    /// The inboxes that deliveries go to.
    pub to: Vec<Target>,
    /// The choice of targets for each delivery: all of them, or one.
    pub deliver: Deliver,
    /// The relays that keep deliveries for receivers who are away: each hands them to the next one,
    /// and the last one to the receivers. None: directly.
    pub via: Vec<String>,
    /// The filters that its content passes at the sender, and then the coders that every chunk
    /// passes.
    pub stages: Vec<StageSpec>,
    /// The codec of chunks. Default: as the limits of the node say.
    pub codec: Option<String>,
    /// The time for which a delivery is worth delivering. Default: as the limits of the node say.
    pub expiry: Option<Duration>,
    /// Bytes of a chunk. Default: as the limits of the node say.
    pub chunk_size: Option<u32>,
    /// Bytes of content in each second, of all its deliveries together. Default: as fast as they
    /// go.
    pub rate: Option<u64>,
    /// The order of deliveries where room at the sender is scarce.
    pub priority: Priority,
    /// The word of the receiver by which a delivery is done.
    pub receipt: ReceiptWanted,
    /// The times at which its source is sent.
    pub schedule: Schedule,
    /// Sends a source that has become empty all at once, too, which empties mirrors.
    pub empties: bool,
    /// The time after which what is quiet is sent of a source that is always written to.
    pub patience: Option<Duration>,
    /// Its content, as far as it is known beforehand, for what is calculated.
    pub expected: Option<Expected>,
    /// The part of it that may be seen while it runs.
    pub tap: TapSpec,
}

/// The content that is expected of a route.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// D: the bytes of a delivery.
    pub bytes: u64,
    /// The time from one delivery to the next.
    pub every: Duration,
    /// R: the share of its bytes that is left when it is compressed. Default 1.
    pub ratio: f64,
}

/// A stage of a route: a coder, or a filter.
#[derive(Clone, Debug, PartialEq)]
pub struct StageSpec {
    /// The name that it is registered by.
    pub name: String,
    /// The settings of a filter. None: those that it has without any, or a coder, which has none.
    pub settings: Option<toml::Value>,
}

/// The word of a receiver by which a delivery of a route is done: its source may be removed, and
/// whoever waits until all is sent once is told so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReceiptWanted {
    /// The receiver has verified it, and it is where its inbox puts it.
    #[default]
    Delivered,
    /// The application of the receiver is done with it, or it has gone on to the next node.
    Processed,
}

/// The targets that each delivery of a route goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deliver {
    /// All of them.
    #[default]
    All,
    /// The one that has least to do: a queue of work. What can't be delivered to it goes to another
    /// one.
    One,
}

/// The content of the deliveries of a route.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceSpec {
    /// A source of a registered kind, such as `paths`.
    Kind(Kind),
    /// A folder, each entry of which is a delivery.
    Each(EachSpec),
    /// An inbox of the sending node: what arrives there goes on, once.
    Inbox(String),
}

/// A folder, each entry of which becomes a delivery as soon as it has been left alone for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EachSpec {
    /// The folder.
    pub folder: PathBuf,
    /// The treatment of an entry that was delivered.
    pub then: Then,
}

/// The treatment of an entry that was delivered to all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// It stays, and is not sent again unless it changes.
    #[default]
    Keep,
    /// It is removed.
    Remove,
}

/// An inbox of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The node.
    pub node: String,
    /// The inbox.
    pub inbox: String,
}

/// The times at which the source of a route is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Once, whatever becomes of the process.
    #[default]
    Once,
    /// At the start, and whenever it has changed.
    Change,
    /// At the start, and so long after each time.
    Every(Duration),
}

impl Topology {
    /// A topology without nodes, whose relative paths begin at `base`.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { state: ".estafette".into(), base: base.into(), ..Self::default() }
    }

    /// Adds a node.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>, node: NodeSpec) -> Self {
        self.nodes.insert(name.into(), node);
        self
    }

    /// Adds an inbox.
    #[must_use]
    pub fn inbox(mut self, name: impl Into<String>, inbox: InboxSpec) -> Self {
        self.inboxes.insert(name.into(), inbox);
        self
    }

    /// Adds a route.
    #[must_use]
    pub fn route(mut self, name: impl Into<String>, route: RouteSpec) -> Self {
        self.routes.insert(name.into(), route);
        self
    }

    /// The folder that holds what the node `name` keeps.
    pub fn folder_of(&self, name: &str) -> PathBuf {
        self.at(&self.state).join(name)
    }

    /// The file of the key of a node.
    pub fn key_of(&self, name: &str) -> PathBuf {
        let key = self.nodes.get(name).and_then(|node| node.key.as_ref());
        key.map_or_else(|| self.folder_of(name).join("node.key"), |key| self.at(key))
    }

    /// The folder of the spool of a node.
    pub fn spool_of(&self, name: &str) -> PathBuf {
        if let Some(spool) = self.nodes.get(name).and_then(|node| node.spool.as_ref()) {
            return self.at(spool);
        }
        let mut spool = self.key_of(name).into_os_string();
        spool.push(".spool");
        spool.into()
    }

    /// A path of the topology, from where this process is.
    pub fn at(&self, path: &Path) -> PathBuf {
        self.places().at(path)
    }

    /// Returns the folder in which its paths begin.
    pub(crate) fn places(&self) -> Places {
        // Absolute, as parts of it are put together more than once.
        let base = std::path::absolute(&self.base).unwrap_or_else(|_| self.base.clone());
        Places { base, confined: self.confined }
    }
}

impl NodeSpec {
    /// A node that listens at `address`.
    pub fn listening(address: impl Into<String>) -> Self {
        Self { listen: vec![address.into()], ..Self::default() }
    }

    /// The addresses by which others dial it: none whose port is any free one.
    pub fn dialled_at(&self) -> Vec<String> {
        if !self.addresses.is_empty() {
            return self.addresses.clone();
        }
        self.listen.iter().filter(|address| !address.ends_with(":0")).cloned().collect()
    }
}

impl InboxSpec {
    /// An inbox of one node.
    pub fn at(node: impl Into<String>, sink: Kind) -> Self {
        Self { nodes: vec![node.into()], sink }
    }
}

impl Kind {
    /// A kind with settings.
    pub fn new(name: impl Into<String>, settings: impl Into<toml::Value>) -> Self {
        Self { name: name.into(), settings: settings.into() }
    }

    /// A folder that deliveries go to.
    pub fn folder(into: impl Into<String>) -> Self {
        Self::new("folder", into.into())
    }

    /// The settings of a node: `{node}` in their texts is its name.
    pub(crate) fn settings_at(&self, node: &str) -> toml::Value {
        fn named(value: &toml::Value, node: &str) -> toml::Value {
            match value {
                toml::Value::String(text) => text.replace("{node}", node).into(),
                toml::Value::Array(list) => {
                    list.iter().map(|value| named(value, node)).collect::<Vec<_>>().into()
                }
                toml::Value::Table(table) => {
                    let named = table.iter().map(|(key, value)| (key.clone(), named(value, node)));
                    toml::Value::Table(named.collect())
                }
                other => other.clone(),
            }
        }
        named(&self.settings, node)
    }

    /// The folder that deliveries to a node go to, if it is one.
    pub(crate) fn folder_at(&self, node: &str) -> Option<String> {
        let settings = self.settings_at(node);
        let folder = match &settings {
            toml::Value::Table(table) => table.get("into")?.as_str(),
            settings => settings.as_str(),
        };
        folder.filter(|_| self.name == FOLDER).map(str::to_owned)
    }

    /// The paths that are sent, if it is files and folders.
    pub(crate) fn sent_paths(&self) -> Vec<&str> {
        let paths = match &self.settings {
            toml::Value::Table(table) => table.get("paths"),
            settings => Some(settings),
        };
        let paths = paths.filter(|_| self.name == PATHS);
        match paths {
            Some(toml::Value::String(path)) => vec![path],
            Some(toml::Value::Array(paths)) => {
                paths.iter().filter_map(toml::Value::as_str).collect()
            }
            _ => Vec::new(),
        }
    }

    /// A file or a folder that is sent.
    pub fn path(path: impl Into<String>) -> Self {
        Self::new(PATHS, path.into())
    }
}

impl Schedule {
    /// The shortest time between two deliveries by schedule.
    pub const SHORTEST: Duration = Duration::from_secs(1);
}

impl RouteSpec {
    /// A route that sends a source once.
    pub fn new(from: impl Into<String>, source: Kind, to: Target) -> Self {
        Self {
            from: from.into(),
            source: SourceSpec::Kind(source),
            to: vec![to],
            deliver: Deliver::All,
            via: Vec::new(),
            stages: Vec::new(),
            codec: None,
            expiry: None,
            chunk_size: None,
            rate: None,
            priority: Priority::Normal,
            receipt: ReceiptWanted::Delivered,
            schedule: Schedule::Once,
            empties: false,
            patience: None,
            expected: None,
            tap: TapSpec::default(),
        }
    }
}

impl StageSpec {
    /// A coder, or a filter without settings.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), settings: None }
    }

    /// A filter with settings.
    pub fn filter(name: impl Into<String>, settings: impl Into<toml::Value>) -> Self {
        Self { name: name.into(), settings: Some(settings.into()) }
    }

    /// Returns `true` if it is a filter in this program: a coder goes before a filter of its name.
    pub(crate) fn is_filter(&self, registry: &StageRegistry) -> bool {
        self.settings.is_some()
            || (registry.stages().coder_names().all(|coder| coder != self.name)
                && registry.filter_kinds().any(|filter| filter == self.name))
    }

    /// The settings of a filter.
    pub(crate) fn filter_settings(&self) -> toml::Value {
        self.settings.clone().unwrap_or_else(|| toml::Table::new().into())
    }
}

impl<N: Into<String>> From<N> for StageSpec {
    fn from(name: N) -> Self {
        Self::new(name)
    }
}

impl Target {
    /// The inbox of a node.
    pub fn new(node: impl Into<String>, inbox: impl Into<String>) -> Self {
        Self { node: node.into(), inbox: inbox.into() }
    }
}

impl serde::Serialize for Target {
    /// As `NODE/INBOX`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.node, self.inbox)
    }
}

impl SourceSpec {
    /// A few words for a drawing: `paths`, `each of out/`, `inbox letters`.
    pub fn label(&self) -> String {
        match self {
            Self::Kind(kind) => kind.name.clone(),
            Self::Each(each) => format!("each of {}", each.folder.display()),
            Self::Inbox(inbox) => format!("inbox {inbox}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_at_the_base_once_wherever_the_process_is() {
        let topology = Topology::new("somewhere");
        let place = topology.at(Path::new("out"));
        assert!(place.is_absolute() && place.ends_with("somewhere/out"), "{place:?}");
        // What was put together is put together again.
        assert_eq!(topology.at(&place), place);
        assert_eq!(topology.key_of("paris"), topology.at(Path::new(".estafette/paris/node.key")));
    }
}
