//! Counts of what routes have done and are doing, made from the events of their node, with what was
//! calculated of each delivery beside what it took.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use estafette::node::{Direction, NodeEvent, StageRegistry, TransferEvent};
use estafette::{Node, TransferId, TransferNews};
use serde::{Deserialize, Serialize};

use super::memory::Memory;
use crate::model::{Target, Topology};
use crate::predict::Bound;

/// Deliveries under way that are told of one route.
const TOLD: usize = 32;
/// Deliveries under way that are followed.
const FOLLOWED: usize = 10_000;

/// A route of a running node, to one of its targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteLook {
    /// The route.
    pub route: String,
    /// The target: `NODE/INBOX`.
    pub to: String,
    /// Bytes of content that have gone since the start of the process, by whatever attempt.
    pub moved: u64,
    /// Deliveries that were made, and their bytes.
    pub delivered: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Deliveries that a relay has taken.
    pub relayed: u64,
    /// Tries that failed, and will be made again.
    pub deferred: u64,
    /// Deliveries that were given up.
    pub failed: u64,
    /// The reason that the last try failed, if none has been made since that succeeded.
    pub failure: Option<String>,
    /// The last delivery.
    pub last: Option<Measured>,
    /// Deliveries under way, at most 32.
    pub running: Vec<Running>,
    /// The number of further ones.
    pub more_running: u64,
}

/// A delivery under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Its id.
    pub transfer: String,
    /// The time at which it began to run, in milliseconds since the Unix epoch.
    pub since: u64,
    /// Seconds that it should take, where the topology says what lines carry.
    pub predicted: Option<f64>,
    /// The part that sets that.
    pub bound_by: Option<Bound>,
}

/// A delivery that was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Bytes of its content.
    pub bytes: u64,
    /// Seconds that it took, from when it began to run.
    pub seconds: f64,
    /// Seconds that it should have taken.
    pub predicted: Option<f64>,
    /// The part that sets that.
    pub bound_by: Option<Bound>,
}

/// The last look at the routes of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    topology: Topology,
    /// The number of times that it was another one.
    changes: u64,
    ways: BTreeMap<(String, String), RouteLook>,
    running: BTreeMap<TransferId, Followed>,
}

/// A delivery that is followed.
#[derive(Debug)]
struct Followed {
    way: (String, String),
    began: Instant,
    since: u64,
    done: u64,
    predicted: Option<(f64, Bound)>,
}

impl Looks {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The routes are those that begin at a node of this topology from now on.
    pub(super) fn set(&self, topology: &Topology, name: &str) {
        let mut seen = self.seen();
        let routes = topology.routes.iter().filter(|(_, route)| route.from == name);
        let ways = routes.flat_map(|(route, spec)| {
            spec.to.iter().map(move |to| (route.clone(), to.to_string()))
        });
        let mut before = std::mem::take(&mut seen.ways);
        let look = |way: (String, String)| {
            let (route, to) = way.clone();
            let look = before.remove(&way);
            (way, look.unwrap_or_else(|| RouteLook { route, to, ..RouteLook::default() }))
        };
        seen.ways = ways.map(look).collect();
        seen.topology = topology.clone();
        seen.changes += 1;
    }

    /// The topology as it is now, and a number that changes with it.
    pub(super) fn topology(&self) -> (u64, Topology) {
        let seen = self.seen();
        (seen.changes, seen.topology.clone())
    }

    /// All of them, by name and target.
    pub(super) fn all(&self) -> Vec<RouteLook> {
        let seen = self.seen();
        let mut ways = seen.ways.clone();
        for (id, followed) in &seen.running {
            let Some(look) = ways.get_mut(&followed.way) else { continue };
            if look.running.len() >= TOLD {
                look.more_running += 1;
                continue;
            }
            let (predicted, bound_by) = followed.predicted.unzip();
            let (transfer, since) = (id.to_string(), followed.since);
            look.running.push(Running { transfer, since, predicted, bound_by });
        }
        ways.into_values().collect()
    }

    /// Follows the events of a node until it stops.
    pub(super) async fn follow(self, node: Node, memory: Memory, registry: StageRegistry) {
        let mut events = node.events();
        while let Some(event) = events.next().await {
            let NodeEvent::Transfer(event) = event else { continue };
            if event.direction == Direction::Outgoing {
                self.take(event, &memory, &registry);
            }
        }
    }

    fn take(&self, event: TransferEvent, memory: &Memory, registry: &StageRegistry) {
        let id = event.transfer;
        let mut seen = self.seen();
        match event.news {
            TransferNews::Started { content, .. } => {
                let Some((route, to)) = memory.way_of(id) else { return };
                let predicted = content
                    .length
                    .and_then(|bytes| seen.topology.predicted_time(&route, &to, bytes, registry));
                let (began, since, done) = (Instant::now(), now_ms(), 0);
                // Of more than that, nothing is told but what becomes of them.
                if seen.running.len() < FOLLOWED {
                    let way = (route, to);
                    seen.running.insert(id, Followed { way, began, since, done, predicted });
                }
            }
            TransferNews::Progress { bytes, .. } => seen.moved(id, bytes),
            TransferNews::Delivered { receipt } => {
                seen.moved(id, receipt.length);
                let followed = seen.running.remove(&id);
                let way = match &followed {
                    Some(followed) => Some(followed.way.clone()),
                    None => memory.way_of(id),
                };
                let Some(way) = way else { return };
                let Some(look) = seen.ways.get_mut(&way) else { return };
                look.delivered += 1;
                look.bytes += receipt.length;
                look.failure = None;
                if let Some(Followed { began, predicted, .. }) = followed {
                    let (predicted, bound_by) = predicted.unzip();
                    let (bytes, seconds) = (receipt.length, began.elapsed().as_secs_f64());
                    look.last = Some(Measured { bytes, seconds, predicted, bound_by });
                }
            }
            TransferNews::Relayed { .. } => {
                if let Some(look) = seen.over(id, memory) {
                    (look.relayed, look.failure) = (look.relayed + 1, None);
                }
            }
            TransferNews::Recalled => _ = seen.over(id, memory),
            TransferNews::Deferred { failure } => {
                if let Some(look) = seen.over(id, memory) {
                    look.deferred += 1;
                    look.failure = Some(failure.to_string());
                }
            }
            TransferNews::Failed { failure } => {
                if let Some(look) = seen.over(id, memory) {
                    look.failed += 1;
                    look.failure = Some(failure.to_string());
                }
            }
            _ => {}
        }
    }
}

impl Seen {
    /// So many bytes of a delivery have gone.
    fn moved(&mut self, id: TransferId, bytes: u64) {
        let Some(followed) = self.running.get_mut(&id) else { return };
        // What goes once more, in another attempt, has gone once more.
        let more = if bytes < followed.done { bytes } else { bytes - followed.done };
        followed.done = bytes;
        if let Some(look) = self.ways.get_mut(&followed.way) {
            look.moved += more;
        }
    }

    /// The route of a delivery that runs no more.
    fn over(&mut self, id: TransferId, memory: &Memory) -> Option<&mut RouteLook> {
        let followed = self.running.remove(&id);
        let way = followed.map(|followed| followed.way).or_else(|| memory.way_of(id))?;
        self.ways.get_mut(&way)
    }
}

impl Topology {
    /// The seconds that a delivery of a route takes, and what sets that, where its lines are said.
    fn predicted_time(
        &self,
        route: &str,
        to: &str,
        bytes: u64,
        registry: &StageRegistry,
    ) -> Option<(f64, Bound)> {
        let spec = self.routes.get(route)?;
        let to: &Target = spec.to.iter().find(|target| target.to_string() == to)?;
        let prediction = self.predict(route, to, bytes, registry)?;
        let slowest =
            prediction.ways.iter().max_by(|one, other| one.seconds.total_cmp(&other.seconds))?;
        Some((prediction.seconds?, slowest.bound_by))
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
