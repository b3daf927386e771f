//! The state of the processes of nodes, and of what is done to them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use estafette_topology::{NodeChange, Topology};
use rustix::process::Pid;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::accepted::Accepted;
use super::lines::Lines;
use crate::arguments::{Global, RunOptions};
use crate::control::{Asked, Outcome};
use crate::error::CommandError;
use crate::output::Output;

/// The wait before a process that has ended is started again: doubled each time, up to the second.
pub(super) const RESTART: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(30));

/// Something that a process did, or that was found out.
pub(super) enum Said {
    Line {
        from_log: bool,
        text: String,
    },
    Ended(Option<i32>),
    /// The same, of one whose spool nobody opens with its key any more, and why that can't be.
    Left(Option<i32>, Option<CommandError>),
    /// The same, and whether a file is lacking that a start needs.
    Looked(Option<i32>, bool),
    /// It runs no more: its last words are still heard.
    Gone,
    /// The wait of this number is over.
    Again(u64),
    /// The reasons why a reload can't be done, by node.
    Checked(Vec<(String, CommandError)>),
}

/// One node, and its process.
pub(super) struct Node {
    pub(super) process: Option<Process>,
    pub(super) restart: Duration,
    /// The number of the wait after which it is started again. Others that end were for a start
    /// that has come about in another way.
    pub(super) wait: Option<u64>,
    /// The topology that its process runs.
    pub(super) applied: Arc<Topology>,
    /// The topology that the one before it ran, until it is up.
    pub(super) before: Option<Arc<Topology>>,
    /// Set if it runs what it has noted, as it could not start by the file.
    pub(super) as_before: bool,
    /// Set when its process has said that it is up.
    pub(super) is_up: bool,
    /// Its words that are awaited: that it is up, and what comes of each reload.
    pub(super) owes: u32,
    /// The last error that its process has told.
    pub(super) fault: Option<String>,
    /// Set if it could not start as a file that it needs is missing, or can be read by others.
    pub(super) lacks: bool,
    /// Looks at these files, while it waits for them.
    pub(super) looks: Option<JoinSet<()>>,
    /// Held by a look at them, as long as it takes.
    pub(super) looking: Arc<()>,
    /// Set if its process was started before the file said what it says now of it.
    pub(super) is_outdated: bool,
    /// The exit code of the last one.
    pub(super) code: Option<i32>,
    /// Set if its last process ended by a signal.
    pub(super) is_killed: bool,
    /// Open, given up, and what has happened.
    pub(super) pending: Option<[u64; 3]>,
    /// Entries that are not in what its processes delivered, since they could not be read: those of
    /// the last one, and of those before it.
    pub(super) unread: (u64, u64),
    /// Routes that send nothing, as their source has become empty.
    pub(super) held: u64,
    /// The step that follows the end of its process.
    pub(super) next: Next,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It was not meant to end.
    Restart,
    /// It is started again for a reload: at once, or when the addresses are free that it takes.
    Now,
    /// It is in the topology no longer.
    Nothing,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            process: None,
            restart: RESTART.0,
            wait: None,
            applied: Arc::default(),
            before: None,
            as_before: false,
            is_up: false,
            owes: 0,
            fault: None,
            lacks: false,
            looks: None,
            looking: Arc::default(),
            is_outdated: false,
            code: None,
            is_killed: false,
            pending: None,
            unread: (0, 0),
            held: 0,
            next: Next::Restart,
        }
    }
}

impl Node {
    /// Returns `true` if it waits for its start.
    pub(super) fn will_start(&self) -> bool {
        self.wait.is_some() || self.next == Next::Now
    }
}

pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) stdin: ChildStdin,
    pub(super) since: Instant,
    /// Set while it has not answered what it still has to do.
    pub(super) is_asked: bool,
    /// Set when it has ended, and its last words are heard, or its spool is looked at.
    pub(super) has_ended: bool,
}

pub(super) struct Children<'a> {
    /// The path at the start: where another version took its place, the system says that the one
    /// which runs is deleted.
    pub(super) program: PathBuf,
    pub(super) global: &'a Global,
    pub(super) options: &'a RunOptions,
    /// The topology that is in effect, which the file may say no more.
    pub(super) topology: Arc<Topology>,
    /// Its text, which nodes are started with.
    pub(super) accepted: Accepted,
    /// Set if what the file says can't be done, or is no topology.
    pub(super) is_refused: bool,
    pub(super) is_faulty: bool,
    /// Set if the file has changed since it was looked at.
    pub(super) is_unseen: bool,
    pub(super) nodes: BTreeMap<String, Node>,
    /// Set if a signal asks for a reload.
    pub(super) wants_reload: bool,
    /// The reload that is under way, and those who ask for the next one.
    pub(super) reloading: Option<Reloading>,
    pub(super) asked: Vec<Asked>,
    /// The number of the last wait.
    pub(super) waits: u64,
    pub(super) lines: Lines,
    pub(super) output: &'a Output,
    pub(super) said: mpsc::Sender<(String, Said)>,
    /// The time when all that still run are killed, once they are to end.
    pub(super) killed_at: Option<Instant>,
    /// Set when all that was to be sent once is delivered.
    pub(super) is_done: bool,
    /// Deliveries that were given up, in the end.
    pub(super) dead: u64,
}

/// A reload that is under way.
#[derive(Default)]
pub(super) struct Reloading {
    pub(super) new: Arc<Topology>,
    /// Its text.
    pub(super) text: String,
    /// Those who wait for its end.
    pub(super) asked: Vec<Asked>,
    /// The changes, while they are tried.
    pub(super) tried: Option<Vec<(String, NodeChange)>>,
    /// Nodes that have not done their part, and what that is, if they do not say so themselves.
    pub(super) left: BTreeMap<String, Option<String>>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) until: Option<Instant>,
}
