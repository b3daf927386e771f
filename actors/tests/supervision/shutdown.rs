//! Tests of the shutdown of a node. Transfers that run are let end. Then the actors stop, each when
//! it has nothing more to do, the first of a chain first.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use estafette::delivery::FailureKind;
use estafette::pipeline::{Chunk, Hosting, Outlet, Pipeline};
use estafette::{Node, NodeConfig};

use super::fragile::{sound, with};
use super::gate::Gate;
use super::harness::{World, config, content, source, within};

async fn waits_for_what_runs(node: impl Fn(&World) -> Node) {
    let world = World::new(sound(), sound()).await;
    let gate = Gate::closed();
    world.paris.receive("slow", gate.clone()).unwrap();
    let running = world.send("slow", source(&content(100, &[]))).await;
    within(gate.reached()).await;
    let ending = node(&world);
    let shutdown = tokio::spawn(async move { ending.shutdown().await });
    // What is new is refused from the moment the node drains.
    within(async {
        while world.send("in", source(b"late")).await.delivered().await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!shutdown.is_finished(), "it did not wait");
    assert!(running.status().outcome.is_none());
    gate.open();
    within(running.delivered()).await.unwrap();
    within(shutdown).await.unwrap();
}

#[tokio::test]
async fn a_sender_waits_for_the_transfers_that_run() {
    waits_for_what_runs(|world| world.lyon.clone()).await;
}

#[tokio::test]
async fn a_receiver_waits_for_the_transfers_that_run() {
    waits_for_what_runs(|world| world.paris.clone()).await;
}

#[tokio::test]
async fn what_still_runs_at_the_end_of_the_drain_fails_at_both_ends() {
    for sender in [true, false] {
        let limits = NodeConfig { drain_for: Duration::from_millis(20), ..config() };
        let world = World::with(limits, sound(), sound()).await;
        let gate = Gate::closed();
        world.paris.receive("slow", gate.clone()).unwrap();
        let ending = if sender { world.lyon.clone() } else { world.paris.clone() };
        let watched = gate.clone();
        let shutdown = tokio::spawn(async move {
            watched.reached().await;
            ending.shutdown().await;
        });
        let (_, [failure, told]) = world.fail_somehow("slow", source(&content(100, &[]))).await;
        assert_eq!(failure.kind, FailureKind::Shutdown, "{failure}");
        // What a sender has not stored ends with it.
        assert_eq!(
            told.kind,
            if sender { FailureKind::Cancelled } else { FailureKind::Shutdown },
            "{told}"
        );
        gate.open();
        within(shutdown).await.unwrap();
    }
}

/// Passes chunks on, and says when it stops.
struct Link {
    name: &'static str,
    stopped: Arc<Mutex<Vec<&'static str>>>,
    outlet: Outlet<Chunk>,
}

impl Actor for Link {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.stopped.lock().unwrap().push(self.name);
    }
}

impl Handler<Chunk> for Link {
    type Result = ();

    fn handle(&mut self, chunk: Chunk, _: &mut Context<Self>) {
        self.outlet.send(chunk);
    }
}

fn chain(
    names: [&'static str; 3],
    stopped: &Arc<Mutex<Vec<&'static str>>>,
) -> Pipeline<Chunk, Chunk> {
    names.into_iter().fold(Pipeline::new(), |chain, name| {
        let stopped = Arc::clone(stopped);
        chain.then_actor(name, move |outlet| {
            Link { name, stopped: Arc::clone(&stopped), outlet }.start().recipient()
        })
    })
}

#[tokio::test]
async fn the_actors_of_a_route_stop_in_the_reverse_order_of_their_start_before_shutdown_returns() {
    let (there, here) = (Arc::default(), Arc::default());
    let lyon = with(chain(["a", "b", "c"], &here), Pipeline::new());
    let paris = with(Pipeline::new(), chain(["x", "y", "z"], &there));
    let mut world =
        World::with(NodeConfig { hosting: Hosting::Parallel(1), ..config() }, lyon, paris).await;
    world.deliver(&content(40, &[])).await;
    assert!(here.lock().unwrap().is_empty(), "a chain is kept for the next transfer");
    within(world.lyon.shutdown()).await;
    // Each one hands on what it has before the next one stops. Chains are wired from their tail.
    assert_eq!(*here.lock().unwrap(), ["a", "b", "c"]);
    assert!(there.lock().unwrap().is_empty());
    within(world.paris.shutdown()).await;
    assert_eq!(*there.lock().unwrap(), ["x", "y", "z"]);
}
