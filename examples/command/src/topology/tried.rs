//! Changes of nodes, tried beside what runs: nothing of it is done.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use estafette::node::{KindError, StageRegistry};
use estafette_topology::{NodeChange, RunError, Topology};

use crate::arguments::Paging;
use crate::control::{self, Reply, Request, ask_at};
use crate::error::{CommandError, ErrorKind};
use crate::{page, units};

/// The longest that a spool may be in use by a process that does not answer: one that starts or
/// stops.
const BUSY_MOST: Duration = Duration::from_secs(5);
const BUSY_AGAIN: Duration = Duration::from_millis(25);

/// A change of a node.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) change: NodeChange,
    /// The topology that it runs, if it runs here.
    pub(super) applied: Option<Arc<Topology>>,
}

impl Part {
    /// The topology of its process, if that ends for the change.
    fn ends(&self) -> Option<&Topology> {
        let ends = matches!(self.change, NodeChange::Ends | NodeChange::Restarts { .. });
        self.applied.as_deref().filter(|_| ends)
    }

    /// Returns `true` if its spool, or the key that opens it, is another one afterwards, or nobody
    /// runs it.
    pub(super) fn leaves_its_spool(&self) -> bool {
        match &self.change {
            NodeChange::Ends => true,
            NodeChange::Restarts { keys } => {
                keys.iter().any(|key| ["id", "key", "spool"].contains(key))
            }
            _ => false,
        }
    }

    fn starts(&self) -> bool {
        matches!(self.change, NodeChange::Starts | NodeChange::Restarts { .. })
    }
}

/// Tries them, and returns why some can't be done, by node.
pub(super) async fn tried(
    parts: Vec<Part>,
    new: &Arc<Topology>,
    registry: &StageRegistry,
) -> Vec<(String, CommandError)> {
    // Together they would make the same ones.
    let topology = Arc::clone(new);
    let made = tokio::task::spawn_blocking(move || topology.make_keys()).await;
    if let Ok(Err(error)) = made {
        let name = of_node(&error).unwrap_or_default().to_owned();
        return vec![(name, unchanged(error.into()))];
    }
    let ending = parts.iter().filter_map(|part| Some((part.ends()?, &part.name)));
    let held: Vec<_> = ending
        .flat_map(|(applied, name)| applied.listened(name).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let mut faults = Vec::new();
    for part in &parts {
        let looked = async {
            if let Some(applied) = &part.applied {
                leaves_nothing(part, applied, new, registry).await?;
            }
            if part.starts() {
                let page = page_of(new, &part.name);
                page::look_at_token(page.as_ref())?;
                page::look(page.as_ref())?;
                new.rehearse(&part.name, registry, &held).await.map_err(unusable)?;
            }
            Ok::<_, CommandError>(())
        };
        if let Err(error) = looked.await {
            faults.push((part.name.clone(), unchanged(error)));
        }
    }
    faults
}

/// An error of what can't be made beside what runs: of a file that others run already, it is no
/// fault of the file that a folder of an inbox is not there.
pub(super) fn unusable(error: RunError) -> CommandError {
    match &error {
        RunError::Inbox { error: KindError::Make { .. }, .. } => {
            CommandError::io(error, "mend what is named, or change it in the topology")
        }
        _ => error.into(),
    }
}

/// The same error of a reload.
pub(super) fn unchanged(error: CommandError) -> CommandError {
    CommandError { message: format!("{}; nothing is changed", error.message), ..error }
}

/// Refuses a change by which something is left that nobody goes on with: of a relay for others, or
/// at a door.
pub(super) async fn leaves_nothing(
    part: &Part,
    applied: &Topology,
    new: &Topology,
    registry: &StageRegistry,
) -> Result<(), CommandError> {
    if part.leaves_its_spool() {
        keeps_nothing(applied, &part.name, registry).await?;
    }
    match applied.left_at_a_door(&part.name, new, registry).await? {
        Some(left) => Err(CommandError::new(ErrorKind::Refused, left, "")),
        None => Ok(()),
    }
}

/// Refuses to end a relay that keeps something for others.
async fn keeps_nothing(
    applied: &Topology,
    name: &str,
    registry: &StageRegistry,
) -> Result<(), CommandError> {
    let count = keeps(applied, name, registry).await?;
    if count == 0 {
        return Ok(());
    }
    let text = format!(
        "{} that it keeps as a relay would be lost with it, as it is out of the file, or has \
         another key or spool there: let it run empty first, with no route by it, or cancel them \
         in its outbox; or start all of it again, which does at once what the file says",
        units::count(count, "delivery")
    );
    Err(CommandError::new(ErrorKind::Refused, text, ""))
}

/// The deliveries that a node keeps for others; one that does not run may have some, too.
pub(super) async fn keeps(
    applied: &Topology,
    name: &str,
    registry: &StageRegistry,
) -> Result<u64, CommandError> {
    let began = Instant::now();
    loop {
        if let Some((_, replies)) = ask_at(&applied.spool_of(name), &Request::Keeps).await? {
            let count = |reply: &Reply| match reply {
                Reply::Keeps(count) => Some(*count),
                _ => None,
            };
            return Ok(replies.iter().find_map(count).unwrap_or(0));
        }
        match applied.kept_for_others(name, registry).await {
            Ok(count) => return Ok(count as u64),
            Err(RunError::Io { error, .. }) if error.kind() == io::ErrorKind::ResourceBusy => {
                if began.elapsed() > BUSY_MOST {
                    return Err(control::spool_fault(error));
                }
                tokio::time::sleep(BUSY_AGAIN).await;
            }
            // Something may be in it.
            Err(error @ RunError::Outbox { .. }) => return Err(error.into()),
            // Nobody delivers out of it.
            Err(error) => {
                tracing::warn!(%error, node = name, "what it keeps for others can't be told");
                return Ok(0);
            }
        }
    }
}

/// The node that an error of making keys is about.
fn of_node(error: &RunError) -> Option<&str> {
    match error {
        RunError::Key { name, .. } | RunError::OtherKey { name, .. } => Some(name),
        _ => None,
    }
}

/// The page that the topology says a node has.
pub(super) fn page_of(topology: &Topology, name: &str) -> Option<Paging> {
    let http = topology.nodes.get(name)?.http.as_ref()?;
    let token = http.token_file.as_ref().map(|file| topology.at(file));
    let (http, http_host) = (Some(http.listen.clone()), http.hosts.clone());
    Some(Paging { http, http_token_file: token, http_host })
}
