//! The calculation of what routes will do, from what the topology says of content and lines: how
//! long a delivery takes, how busy lines are, and how long a receiver may be away. Pure.

use std::time::Duration;

use estafette::NodeConfig;
use estafette::node::StageRegistry;
use estafette::wire::HEADER_LENGTH;
use serde::{Deserialize, Serialize};

use crate::model::{Expected, Line, NodeSpec, RouteSpec, SourceSpec, Target, Topology};

/// Bytes that sealing adds to a chunk: its prefix, and the tag.
const SEAL: u64 = 16 + 16;

/// The calculation for one target of a route: T = E(D·R)/S.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Prediction {
    /// The route.
    pub route: String,
    /// The target.
    pub to: Target,
    /// D: the bytes of a delivery.
    pub bytes: u64,
    /// E(D·R): the bytes of it that are sent, when chunks are compressed and sealed.
    pub wire_bytes: u64,
    /// The ways of a delivery, one after the other: one, or two by a relay. None where no line is
    /// said.
    pub ways: Vec<Way>,
    /// T: the seconds that the ways take together. None where no line is said.
    pub seconds: Option<f64>,
    /// The time for which the receiver may be away before something is lost or refused.
    pub away: Away,
}

/// One way of a delivery, from a node to the next.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Way {
    /// The node that sends.
    pub from: String,
    /// The node that takes it.
    pub to: String,
    /// S: bytes in each second.
    pub speed: f64,
    /// The part that sets it.
    pub bound_by: Bound,
    /// The seconds that a delivery takes.
    pub seconds: f64,
    /// The share of the time for which deliveries of this route are under way: 1 is all of it, and
    /// with more than that they come faster than they go.
    pub busy: f64,
}

/// The part that sets the speed of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Bound {
    /// The line of the node that sends.
    Sender,
    /// The line of the node that takes it.
    Receiver,
    /// The rate that the route keeps to.
    Rate,
    /// The window of the sender, which has to be granted again over the latency of both lines.
    Window,
}

/// The time for which a receiver may be away.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Away {
    /// The time, in seconds.
    pub seconds: f64,
    /// The limit that ends it.
    pub bound_by: Full,
    /// The limit of that: bytes, or deliveries, or the seconds of `expires`.
    pub limit: u64,
}

/// A limit that ends the time for which a receiver may be away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Full {
    /// Deliveries expire.
    Expires,
    /// The deliveries that the sender's outbox may hold.
    Outbox,
    /// The bytes that packages and copies in the sender's outbox may take.
    OutboxBytes,
    /// The packages that the relay keeps for the sender.
    RelayPackages,
    /// Their bytes.
    RelayBytes,
}

impl Topology {
    /// Calculates what each route will do that says what is expected of it (`expected`): one for
    /// each of its targets. Routes of one node are taken to run by themselves.
    pub fn predictions(&self, registry: &StageRegistry) -> Vec<Prediction> {
        let routes = self.routes.iter().filter_map(|(name, route)| {
            let expected = route.expected.as_ref()?;
            Some(route.to.iter().map(|to| self.prediction(name, route, expected, to, registry)))
        });
        routes.flatten().collect()
    }

    /// Calculates one delivery of a route, of so many bytes, to a target: with what is left of them
    /// as `expected` says, or all of them. `None` where there is no such route.
    pub fn predict(
        &self,
        route: &str,
        to: &Target,
        bytes: u64,
        registry: &StageRegistry,
    ) -> Option<Prediction> {
        let spec = self.routes.get(route)?;
        let (every, ratio) = (Duration::from_secs(24 * 3600), 1.0);
        let expected = spec.expected.unwrap_or(Expected { bytes, every, ratio });
        let expected = Expected { bytes: bytes.max(1), ..expected };
        Some(self.prediction(route, spec, &expected, to, registry))
    }

    fn prediction(
        &self,
        name: &str,
        route: &RouteSpec,
        expected: &Expected,
        to: &Target,
        registry: &StageRegistry,
    ) -> Prediction {
        let limits = self.nodes.get(&route.from).map(|node| node.limits.clone());
        let limits = limits.unwrap_or_default();
        let wire_bytes = on_the_wire(route, expected, &limits, registry);
        // Of a queue, each target has its share.
        let every = match route.deliver {
            crate::Deliver::One => {
                expected.every.saturating_mul(u32::try_from(route.to.len()).unwrap_or(u32::MAX))
            }
            crate::Deliver::All => expected.every,
        };
        let stops = [&route.from].into_iter().chain(&route.via).chain([&to.node]);
        let stops: Vec<&String> = stops.collect();
        let ways: Option<Vec<_>> = stops
            .windows(2)
            .map(|ends| match ends {
                [from, to] => {
                    // The rate is one of content: as much less goes over the line.
                    let sent = wire_bytes as f64 / expected.bytes as f64;
                    let paced = route.rate.filter(|_| *from == &route.from);
                    let paced = paced.map(|rate| rate as f64 * sent);
                    self.way(from, to, wire_bytes, (every, paced))
                }
                _ => None,
            })
            .collect();
        let ways = ways.unwrap_or_default();
        let seconds = ways.iter().map(|way| way.seconds).reduce(|all, one| all + one);
        let away = self.away(route, wire_bytes, every, &limits, registry);
        let (route, to) = (name.to_owned(), to.clone());
        Prediction { route, to, bytes: expected.bytes, wire_bytes, ways, seconds, away }
    }

    /// `None` where neither end says what its line carries.
    fn way(
        &self,
        from: &str,
        to: &str,
        bytes: u64,
        (every, paced): (Duration, Option<f64>),
    ) -> Option<Way> {
        let line = |name: &str| self.nodes.get(name).and_then(|node: &NodeSpec| node.line);
        let (here, there) = (line(from), line(to));
        let latency = [here, there].into_iter().flatten().map(|line: Line| line.latency);
        let latency: f64 = latency.map(|latency| latency.as_secs_f64()).sum();
        let window = self.nodes.get(from).map_or(0, |node| node.limits.window);
        let window = if latency > 0.0 { window as f64 / (2.0 * latency) } else { f64::INFINITY };
        let speeds = [
            (here.map(|line| line.speed as f64), Bound::Sender),
            (there.map(|line| line.speed as f64), Bound::Receiver),
            (window.is_finite().then_some(window), Bound::Window),
            (paced, Bound::Rate),
        ];
        let speeds = speeds.into_iter().filter_map(|(speed, bound)| Some((speed?, bound)));
        let (speed, bound_by) = speeds.min_by(|one, other| one.0.total_cmp(&other.0))?;
        let seconds = bytes as f64 / speed.max(1.0) + latency;
        let busy = seconds / every.as_secs_f64().max(f64::MIN_POSITIVE);
        let (from, to) = (from.to_owned(), to.to_owned());
        Some(Way { from, to, speed, bound_by, seconds, busy })
    }

    fn away(
        &self,
        route: &RouteSpec,
        bytes: u64,
        every: Duration,
        limits: &NodeConfig,
        registry: &StageRegistry,
    ) -> Away {
        let every = every.as_secs_f64();
        let holds = |limit: u64, bound_by| {
            let seconds = (limit / bytes.max(1)) as f64 * every;
            Away { seconds, bound_by, limit }
        };
        let counts = |limit: u64, bound_by| Away { seconds: limit as f64 * every, bound_by, limit };
        let expiry = route.expiry.unwrap_or(limits.expiry);
        let (seconds, limit) = (expiry.as_secs_f64(), expiry.as_secs());
        let mut all = vec![
            Away { seconds, bound_by: Full::Expires, limit },
            counts(limits.outbox as u64, Full::Outbox),
        ];
        if !route.via.is_empty() || is_copied(route, registry) {
            all.push(holds(limits.outbox_bytes, Full::OutboxBytes));
        }
        // Each keeps it until the receiver has it.
        for quota in route.via.iter().filter_map(|via| self.nodes.get(via)?.relay) {
            all.push(counts(quota.packages as u64, Full::RelayPackages));
            all.push(holds(quota.bytes, Full::RelayBytes));
        }
        let first = all.into_iter().min_by(|one, other| one.seconds.total_cmp(&other.seconds));
        first.unwrap_or(Away { seconds, bound_by: Full::Expires, limit })
    }
}

/// E(D·R): what is left of the content when it is compressed, with the header, the prefix and the
/// tag of each chunk, and what coders add.
fn on_the_wire(
    route: &RouteSpec,
    expected: &Expected,
    limits: &NodeConfig,
    registry: &StageRegistry,
) -> u64 {
    let chunk = route.chunk_size.unwrap_or(limits.chunk_size);
    let coders = route.stages.iter().filter(|stage| !stage.is_filter(registry));
    let coders: Vec<_> = coders.map(|stage| stage.name.clone()).collect();
    let growth = registry.stages().growth(&coders, chunk).unwrap_or_default();
    // One more frame ends it.
    let chunks = expected.bytes.div_ceil(u64::from(chunk.max(1))) + 1;
    let each = HEADER_LENGTH as u64 + SEAL + u64::from(growth);
    let content = (expected.bytes as f64 * expected.ratio).ceil() as u64;
    content.saturating_add(chunks.saturating_mul(each))
}

/// Returns `true` if the sender's spool keeps the content: nothing leads back to what a filter
/// makes, or to a text.
fn is_copied(route: &RouteSpec, registry: &StageRegistry) -> bool {
    let is_text = matches!(&route.source, SourceSpec::Kind(kind) if kind.name != "paths");
    is_text || route.stages.iter().any(|stage| stage.is_filter(registry))
}
