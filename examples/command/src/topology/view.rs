//! The view of a topology on the page of its node: the drawing, and what goes by its routes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use estafette_page::View;
use estafette_topology::{Graph, Observed, RouteLook, RouteTaps};
use futures_util::future::{BoxFuture, join_all};
use serde_json::{Value, json};

/// So long one look is good for all pages.
const GOOD: Duration = Duration::from_millis(800);

/// The number of a drawing, and the drawing, or why there is none.
type Drawn = (u64, Result<String, String>);

/// What other nodes told, or why they did not.
type Others = BTreeMap<String, Result<Observed, String>>;

/// The topology of a running node.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) taps: RouteTaps,
    drawn: Arc<Mutex<Option<Drawn>>>,
    /// The last look. It is held while nodes are asked, so that they are asked once.
    looked: Arc<tokio::sync::Mutex<Option<(Instant, Value)>>>,
}

impl Seen {
    pub(super) fn of(name: &str, taps: RouteTaps) -> Self {
        Self { name: name.to_owned(), taps, drawn: Arc::default(), looked: Arc::default() }
    }

    /// Asks all nodes that let this one observe them, at the same time.
    async fn others(&self) -> Others {
        let observed = self.taps.observed();
        let asked = observed
            .iter()
            .map(|name| async { self.taps.observe(name).await.map_err(|error| error.to_string()) });
        let told = join_all(asked).await;
        observed.iter().cloned().zip(told).collect()
    }

    async fn look(&self) -> Value {
        let others = self.others().await;
        let (number, topology) = self.taps.topology();
        let graph = Graph::of(&topology);
        let nodes = graph.nodes.iter().map(|node| match others.get(&node.name) {
            _ if node.name == self.name => told(&node.name, &node.id, "here"),
            None => told(&node.name, &node.id, "elsewhere"),
            Some(Ok(observed)) => {
                let mut told = told(&node.name, &node.id, "seen");
                told["seen"] = summary(observed);
                told
            }
            Some(Err(why)) => {
                let mut told = told(&node.name, &node.id, "silent");
                told["why"] = why.clone().into();
                told
            }
        });
        let nodes: Vec<_> = nodes.collect();
        let own = self.taps.looks();
        let all = own.iter().chain(others.values().flatten().flat_map(|other| &other.routes));
        let looks: BTreeMap<_, _> =
            all.map(|look| ((look.route.as_str(), look.to.as_str()), look)).collect();
        let mut routes = Vec::new();
        for route in &graph.routes {
            let Some(spec) = topology.routes.get(&route.name) else { continue };
            let mut targets: Vec<_> = spec.to.iter().collect();
            // In the order of their parts.
            targets.sort();
            targets.dedup();
            for (target, to_part) in targets.into_iter().zip(&route.to) {
                let to = target.to_string();
                let look = looks.get(&(route.name.as_str(), to.as_str()));
                let mut told = json!(look.map_or_else(RouteLook::default, |look| (*look).clone()));
                told["looked"] = look.is_some().into();
                told["route"] = route.name.clone().into();
                told["to"] = to.into();
                told["part"] = route.part.clone().into();
                told["to_part"] = to_part.clone().into();
                told["via_part"] = route.via.first().cloned().into();
                routes.push(told);
            }
        }
        json!({ "version": 1, "drawing": number, "nodes": nodes, "routes": routes })
    }
}

/// A drawing without its style: the page allows none but in a file of its own.
fn bare(svg: &str) -> String {
    let parts = svg.split_once("<style>").and_then(|(before, rest)| {
        let (_, after) = rest.split_once("</style>")?;
        Some(format!("{before}{after}"))
    });
    parts.unwrap_or_else(|| svg.to_owned())
}

fn told(name: &str, part: &str, state: &str) -> Value {
    json!({ "name": name, "part": part, "state": state })
}

/// What there is to be seen of another node at a glance.
fn summary(observed: &Observed) -> Value {
    let snapshot: Value = serde_json::from_str(&observed.snapshot).unwrap_or_default();
    let count = |list: &str, more: &str| {
        let listed = snapshot[list].as_array().map_or(0, Vec::len) as u64;
        listed + snapshot[more].as_u64().unwrap_or(0)
    };
    let happenings = snapshot["happenings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let fault = happenings.iter().rev().find(|told| told["severity"] == "fault");
    json!({
        "answers": snapshot["answers"],
        "at": snapshot["at"],
        "since": snapshot["node"]["since"],
        "version": snapshot["node"]["version"],
        "totals": snapshot["totals"],
        "transfers": count("transfers", "more_transfers"),
        "outbox": snapshot["outbox"],
        "relay": snapshot["relay"],
        "fault": fault.map(|told| json!({ "at": told["at"], "text": told["text"] })),
    })
}

impl View for Seen {
    fn drawing(&self) -> Result<String, String> {
        let (number, topology) = self.taps.topology();
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, drawing)) = drawn.as_ref().filter(|(of, _)| *of == number) {
            return drawing.clone();
        }
        let drawing = Graph::of(&topology).to_svg();
        let drawing = drawing.map(|svg| bare(&svg)).map_err(|error| error.to_string());
        *drawn = Some((number, drawing.clone()));
        drawing
    }

    fn style(&self) -> &'static str {
        Graph::STYLE
    }

    fn now(&self) -> BoxFuture<'static, Value> {
        let seen = self.clone();
        Box::pin(async move {
            let mut looked = seen.looked.lock().await;
            match looked.as_ref().filter(|(at, _)| at.elapsed() < GOOD) {
                Some((_, told)) => told.clone(),
                None => {
                    let told = seen.look().await;
                    *looked = Some((Instant::now(), told.clone()));
                    told
                }
            }
        })
    }
}
