//! `estafette graph --live`: how the nodes and routes of a topology are at this moment, as the
//! nodes of this machine tell by their control sockets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use estafette_topology::{Graph, Live, LiveState, RouteLook, Topology};
use futures_util::future::join_all;

use crate::control::{Reply, Request, ask_at};
use crate::units;

/// From one look to the next: rates are differences of two.
const BETWEEN: Duration = Duration::from_secs(1);

/// The word of each node of this machine: its routes, or the reason why there are none.
type Told = BTreeMap<String, Result<Vec<RouteLook>, String>>;

/// Shows in the drawing how all of it is. It takes a second.
pub(super) async fn show(graph: &mut Graph, topology: &Topology) {
    let before = look(topology).await;
    let began = Instant::now();
    tokio::time::sleep(BETWEEN).await;
    let now = look(topology).await;
    let seconds = began.elapsed().as_secs_f64();
    for name in topology.nodes.keys() {
        let live = match now.get(name) {
            None => Live::new(LiveState::Idle, "not of this machine"),
            Some(Err(why)) => Live::new(LiveState::Bad, why.clone()),
            Some(Ok(_)) => Live::new(LiveState::Good, "runs"),
        };
        graph.show_node(name, live);
    }
    for (node, looks) in &now {
        let Ok(looks) = looks else { continue };
        let was = before.get(node).and_then(|was| was.as_ref().ok());
        show_routes(graph, (was.map_or(&[], Vec::as_slice), looks), seconds);
    }
}

fn show_routes(graph: &mut Graph, (before, now): (&[RouteLook], &[RouteLook]), seconds: f64) {
    let mut routes = BTreeMap::<&str, (LiveState, u64, u64)>::new();
    for look in now {
        let was = before.iter().find(|was| (&was.route, &was.to) == (&look.route, &look.to));
        let moved = was.map_or(0, |was| look.moved.saturating_sub(was.moved));
        let speed = moved as f64 / seconds.max(f64::MIN_POSITIVE);
        let state = state_of(look);
        let words = match moved {
            0 => String::new(),
            _ => units::rate(speed),
        };
        if let Some(target) = look.to.split_once('/') {
            graph.show_way(&look.route, target, &Live::new(state, words));
        }
        let all = routes.entry(&look.route).or_insert((LiveState::Idle, 0, 0));
        let under_way = look.running.len() as u64 + look.more_running;
        *all = (all.0.max(state), all.1 + look.delivered + look.relayed, all.2 + under_way);
    }
    for (route, (state, delivered, under_way)) in routes {
        let words = format!("{delivered} delivered, {under_way} under way");
        graph.show_route(route, Live::new(state, words));
    }
}

fn state_of(look: &RouteLook) -> LiveState {
    match look {
        look if look.failure.is_some() && look.failed > 0 => LiveState::Bad,
        look if look.failure.is_some() => LiveState::Warn,
        look if look.delivered + look.relayed > 0 || !look.running.is_empty() => LiveState::Good,
        _ => LiveState::Idle,
    }
}

async fn look(topology: &Topology) -> Told {
    let here: Vec<_> = topology.nodes.keys().filter(|name| topology.is_here(name)).collect();
    let asked = here.iter().map(|name| async move {
        match ask_at(&topology.spool_of(name), &Request::Routes).await {
            Ok(Some((_, replies))) => Ok(replies
                .into_iter()
                .find_map(|reply| match reply {
                    Reply::Routes(looks) => Some(looks),
                    _ => None,
                })
                .unwrap_or_default()),
            Ok(None) => Err("does not run".to_owned()),
            Err(error) => Err(error.message),
        }
    });
    let told = join_all(asked).await;
    here.into_iter().cloned().zip(told).collect()
}
