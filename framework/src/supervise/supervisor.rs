//! The actor that watches the chains of a node.
//!
//! It hears of a death through [`Check`], which whoever lost a chunk sends; it looks who is dead, waits as the policy says,
//! starts the dead anew from their factories on their own arbiters, and answers when the chain is whole again or given up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, ActorContext, ActorFutureExt, ArbiterHandle, Context, Handler, Message, ResponseActFuture, WrapFuture};
use tokio::sync::oneshot;

use super::policy::{Decision, RestartHistory, RestartPolicy};
use super::route::Child;
use crate::metrics::Metrics;

/// Names a supervised chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(u64);

impl RouteId {
    /// A route no supervisor knows.
    pub(crate) const NONE: Self = Self(u64::MAX);
}

/// Starts, watches and restarts the actors of routes.
#[derive(Debug)]
pub struct NodeSupervisor {
    policy: RestartPolicy,
    metrics: Metrics,
    routes: HashMap<RouteId, Route>,
    next: u64,
}

#[derive(Debug)]
struct Route {
    name: String,
    arbiter: ArbiterHandle,
    children: Vec<Child>,
    history: RestartHistory,
}

/// Puts a chain that was just wired under supervision.
#[derive(Debug, Message)]
#[rtype(result = "RouteId")]
pub struct Adopt {
    /// For logs: to whom, which way, on which lane.
    pub name: String,
    /// Where its actors run.
    pub arbiter: ArbiterHandle,
    /// Its actors.
    pub children: Vec<Child>,
}

/// Looks whether all actors of a route live, and starts dead ones anew.
#[derive(Debug, Message)]
#[rtype(result = "Checked")]
pub struct Check(pub RouteId);

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// All actors live; so many were started anew.
    Whole(usize),
    /// This stage dies too often: the route is given up.
    GivenUp(Arc<str>),
    /// There is no such route any more.
    Unknown,
}

/// Ends the supervision of a route. Its actors handle what they have, then stop, head first.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Retire(pub RouteId);

/// Stops the supervisor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StopSupervisor;

impl NodeSupervisor {
    /// A supervisor without routes.
    pub fn new(policy: RestartPolicy, metrics: Metrics) -> Self {
        Self { policy, metrics, routes: HashMap::new(), next: 0 }
    }
}

impl Actor for NodeSupervisor {
    type Context = Context<Self>;
}

impl Handler<Adopt> for NodeSupervisor {
    type Result = actix::MessageResult<Adopt>;

    fn handle(&mut self, Adopt { name, arbiter, children }: Adopt, _: &mut Context<Self>) -> Self::Result {
        let id = RouteId(self.next);
        self.next += 1;
        self.routes.insert(id, Route { name, arbiter, children, history: RestartHistory::default() });
        actix::MessageResult(id)
    }
}

impl Handler<Check> for NodeSupervisor {
    type Result = ResponseActFuture<Self, Checked>;

    fn handle(&mut self, Check(id): Check, _: &mut Context<Self>) -> Self::Result {
        let Some(route) = self.routes.get_mut(&id) else { return Box::pin(actix::fut::ready(Checked::Unknown)) };
        let dead: Vec<_> = route.children.iter().filter(|child| !child.is_alive()).collect();
        let Some(first) = dead.first() else { return Box::pin(actix::fut::ready(Checked::Whole(0))) };
        let wait = match route.history.died(&self.policy, Instant::now()) {
            Decision::Restart(wait) => wait,
            Decision::GiveUp => {
                let stage = Arc::clone(first.name());
                tracing::error!(route = route.name, %stage, "an actor dies too often: its route is given up");
                self.routes.remove(&id);
                return Box::pin(actix::fut::ready(Checked::GivenUp(stage)));
            }
        };
        for child in &dead {
            tracing::warn!(route = route.name, stage = %child.name(), ?wait, "an actor died: starting it anew");
            self.metrics.stage(child.name()).restarted();
        }
        let (count, arbiter) = (dead.len(), route.arbiter.clone());
        let restarts: Vec<_> = dead.into_iter().map(Child::restarter).collect();
        let restart = async move {
            tokio::time::sleep(wait).await;
            let (done, is_done) = oneshot::channel::<()>();
            arbiter.spawn_fn(move || {
                restarts.iter().for_each(|restart| restart());
                drop(done);
            });
            // Resolves when the arbiter ran it, or is gone: either way there is nothing more to wait for.
            let _ = is_done.await;
        };
        Box::pin(restart.into_actor(self).map(move |(), _, _| Checked::Whole(count)))
    }
}

impl Handler<Retire> for NodeSupervisor {
    type Result = ();

    fn handle(&mut self, Retire(id): Retire, _: &mut Context<Self>) {
        self.routes.remove(&id);
    }
}

impl Handler<StopSupervisor> for NodeSupervisor {
    type Result = ();

    fn handle(&mut self, _: StopSupervisor, ctx: &mut Context<Self>) {
        self.routes.clear();
        ctx.stop();
    }
}
