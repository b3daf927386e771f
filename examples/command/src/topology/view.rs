//! The view of a topology on the page of its node: the drawing, and what goes by its routes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use estafette_page::View;
use estafette_topology::{Graph, Observed, RouteLook, RouteTaps, Topology};
use futures_util::future::{BoxFuture, join_all};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// So long one look is good for all pages.
const GOOD: Duration = Duration::from_millis(800);

/// The number of a drawing, and the drawing, or why there is none.
type Drawn = (u64, Result<String, String>);

/// The words of other nodes, or the reasons why there are none.
type Others = BTreeMap<String, Result<Other, String>>;

/// The word of another node: its own, of which nothing may harm the page.
struct Other {
    glance: Glance,
    routes: Vec<RouteLook>,
}

/// The part of another node's snapshot that the page takes. One without this is none.
#[derive(Debug, Deserialize)]
struct Snapshot {
    answers: bool,
    at: u64,
    node: Own,
    totals: Totals,
    #[serde(default)]
    transfers: Vec<IgnoredAny>,
    #[serde(default)]
    more_transfers: u64,
    outbox: Option<Outbox>,
    #[serde(default)]
    happenings: Vec<Happening>,
}

#[derive(Debug, Deserialize)]
struct Own {
    since: u64,
    version: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Totals {
    delivered_out: u64,
    delivered_out_bytes: u64,
    delivered_in: u64,
    delivered_in_bytes: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Outbox {
    stored: Amount,
    dead: Amount,
}

#[derive(Debug, Deserialize, Serialize)]
struct Amount {
    count: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct Happening {
    at: u64,
    text: String,
    #[serde(skip_serializing)]
    severity: String,
}

/// The sight of another node at a glance.
#[derive(Debug, Serialize)]
struct Glance {
    answers: bool,
    at: u64,
    since: u64,
    version: String,
    totals: Totals,
    transfers: u64,
    outbox: Option<Outbox>,
    fault: Option<Happening>,
}

impl Other {
    fn of(observed: Observed) -> Result<Self, String> {
        let snapshot: Snapshot = serde_json::from_str(&observed.snapshot)
            .map_err(|error| format!("what it told can't be read: {error}"))?;
        let mut happenings = snapshot.happenings.into_iter().rev();
        let glance = Glance {
            answers: snapshot.answers,
            at: snapshot.at,
            since: snapshot.node.since,
            version: snapshot.node.version,
            totals: snapshot.totals,
            transfers: snapshot.more_transfers.saturating_add(snapshot.transfers.len() as u64),
            outbox: snapshot.outbox,
            fault: happenings.find(|happening| happening.severity == "fault"),
        };
        Ok(Self { glance, routes: observed.routes })
    }
}

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
        let asked = observed.iter().map(|name| async {
            let told = self.taps.observe(name).await.map_err(|error| error.to_string());
            told.and_then(Other::of)
        });
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
            Some(Ok(other)) => {
                let mut told = told(&node.name, &node.id, "seen");
                told["seen"] = json!(other.glance);
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
        let looks = known(&topology, &own, &others);
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

/// The looks at routes, by route and target: of each node those of the routes that begin at it.
fn known<'a>(
    topology: &Topology,
    own: &'a [RouteLook],
    others: &'a Others,
) -> BTreeMap<(&'a str, &'a str), &'a RouteLook> {
    let told = others.iter().filter_map(|(name, told)| Some((name, told.as_ref().ok()?)));
    let told = told.flat_map(|(name, other)| {
        let is_its = |look: &&RouteLook| {
            topology.routes.get(&look.route).is_some_and(|route| route.from == *name)
        };
        other.routes.iter().filter(is_its)
    });
    told.chain(own).map(|look| ((look.route.as_str(), look.to.as_str()), look)).collect()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    const SNAPSHOT: &str = r#"{ "version": 1, "at": 9, "answers": true, "new": {},
        "node": { "since": 2, "version": "0.1.0" }, "transfers": [{}, {}], "more_transfers": 1,
        "totals": { "delivered_out": 1, "delivered_out_bytes": 2, "delivered_in": 3,
            "delivered_in_bytes": 4, "deferred": 5 }, "outbox": null, "happenings": [
            { "at": 3, "text": "one", "severity": "fault" },
            { "at": 4, "text": "two", "severity": "note" }] }"#;

    fn told(snapshot: &str, route: &str) -> Result<Other, String> {
        let routes =
            vec![RouteLook { route: route.into(), to: "b/in".into(), ..RouteLook::default() }];
        Other::of(Observed { snapshot: snapshot.into(), routes })
    }

    #[test]
    fn a_node_that_tells_no_snapshot_is_not_seen() {
        let seen = json!(told(SNAPSHOT, "post").unwrap().glance);
        assert_eq!((&seen["transfers"], &seen["since"]), (&3.into(), &2.into()));
        assert_eq!(seen["fault"], json!({ "at": 3, "text": "one" }));
        let parts = ["", "null", "{}", "[]"].map(str::to_owned);
        let without = ["totals", "node", "answers", "at"]
            .map(|part| SNAPSHOT.replace(&format!("\"{part}\""), "\"other\""));
        for snapshot in parts.into_iter().chain(without) {
            assert!(told(&snapshot, "post").is_err(), "{snapshot}");
        }
    }

    #[test]
    fn a_node_tells_of_its_own_routes_alone() {
        let text = "[node.a]\n[node.b]\nlisten = \"127.0.0.1:9\"\n[inbox.in]\nnode = \"b\"\n\
            sink = { folder = \"in\" }\n[route.post]\nfrom = \"a\"\nsource = { each = \"out\" }\n\
            to = \"b/in\"";
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("topology.toml");
        std::fs::write(&file, text).unwrap();
        let topology = Topology::load(&file, &estafette_actors::standard()).unwrap();
        let others = |name: &str| Others::from([(name.to_owned(), told(SNAPSHOT, "post"))]);
        assert!(known(&topology, &[], &others("b")).is_empty());
        let (others, way) = (others("a"), ("post", "b/in"));
        assert!(known(&topology, &[], &others).contains_key(&way));
        let own = [RouteLook { moved: 7, ..others["a"].as_ref().unwrap().routes[0].clone() }];
        assert_eq!(known(&topology, &own, &others)[&way].moved, 7);
    }
}
