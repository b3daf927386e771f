//! The actor that watches the chains of a node.
//!
//! It hears of a death through [`Check`], which whoever lost a chunk sends; it looks who is dead, waits as the policy says,
//! starts the dead anew from their factories on their own arbiters, and answers when the chain is whole again or given up.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, ActorFutureExt, ArbiterHandle, AtomicResponse, Context, Handler, Message, ResponseActFuture, WrapFuture};
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::policy::{Decision, RestartHistory, RestartPolicy};
use super::route::Child;
use crate::metrics::Metrics;

/// How long actors have to stop, when they are asked to, before their threads end.
const STOP_WITHIN: Duration = Duration::from_secs(5);

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
    /// Routes that are over, by name, whose actors may still have something to do.
    ending: Vec<(String, oneshot::Receiver<Infallible>)>,
    next: u64,
}

#[derive(Debug)]
struct Route {
    name: String,
    arbiter: ArbiterHandle,
    children: Vec<Child>,
    ended: oneshot::Receiver<Infallible>,
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
    /// Fails when all of them are gone.
    pub ended: oneshot::Receiver<Infallible>,
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
    /// This stage dies too often: what it dies of is to be given up. Its actors were started anew for others.
    GivenUp(Arc<str>),
    /// There is no such route any more.
    Unknown,
}

/// Ends the supervision of a route. Its actors handle what they have, then stop, head first.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Retire(pub RouteId);

/// Ends the supervision of all routes. Answered when their actors have stopped, or have had the time for it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StopSupervisor;

impl NodeSupervisor {
    /// A supervisor without routes.
    pub fn new(policy: RestartPolicy, metrics: Metrics) -> Self {
        Self { policy, metrics, routes: HashMap::new(), ending: Vec::new(), next: 0 }
    }
}

impl NodeSupervisor {
    /// Without their children, whose factories hold them, its actors stop as soon as nobody sends to them.
    fn retire(&mut self, id: RouteId) {
        self.ending.retain_mut(|(_, ended)| matches!(ended.try_recv(), Err(TryRecvError::Empty)));
        if let Some(Route { name, ended, .. }) = self.routes.remove(&id) {
            self.ending.push((name, ended));
        }
    }
}

impl Actor for NodeSupervisor {
    type Context = Context<Self>;
}

impl Handler<Adopt> for NodeSupervisor {
    type Result = actix::MessageResult<Adopt>;

    fn handle(&mut self, Adopt { name, arbiter, children, ended }: Adopt, _: &mut Context<Self>) -> Self::Result {
        let id = RouteId(self.next);
        self.next += 1;
        self.routes.insert(id, Route { name, arbiter, children, ended, history: RestartHistory::default() });
        actix::MessageResult(id)
    }
}

impl Handler<Check> for NodeSupervisor {
    type Result = ResponseActFuture<Self, Checked>;

    fn handle(&mut self, Check(id): Check, _: &mut Context<Self>) -> Self::Result {
        let Some(route) = self.routes.get_mut(&id) else { return Box::pin(actix::fut::ready(Checked::Unknown)) };
        let dead: Vec<_> = route.children.iter().filter(|child| !child.is_alive()).collect();
        let Some(first) = dead.first() else { return Box::pin(actix::fut::ready(Checked::Whole(0))) };
        let (wait, checked) = match route.history.died(&self.policy, Instant::now()) {
            Decision::Restart(wait) => (wait, Checked::Whole(dead.len())),
            Decision::GiveUp => {
                let stage = Arc::clone(first.name());
                tracing::error!(route = route.name, %stage, "an actor dies too often: the transfer it dies of is given up");
                // Others go on, or come later: they are not to pay for it.
                route.history = RestartHistory::default();
                (Duration::ZERO, Checked::GivenUp(stage))
            }
        };
        for child in &dead {
            tracing::warn!(route = route.name, stage = %child.name(), ?wait, "an actor died: starting it anew");
            self.metrics.stage(child.name()).restarted();
        }
        let arbiter = route.arbiter.clone();
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
        Box::pin(restart.into_actor(self).map(move |(), _, _| checked))
    }
}

impl Handler<Retire> for NodeSupervisor {
    type Result = ();

    fn handle(&mut self, Retire(id): Retire, _: &mut Context<Self>) {
        self.retire(id);
    }
}

impl Handler<StopSupervisor> for NodeSupervisor {
    // Atomic: who asks once more meanwhile waits, too.
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: StopSupervisor, _: &mut Context<Self>) -> Self::Result {
        self.routes.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| self.retire(id));
        let (ending, until) = (std::mem::take(&mut self.ending), tokio::time::Instant::now() + STOP_WITHIN);
        let stopped = async move {
            for (route, ended) in ending {
                if tokio::time::timeout_at(until, ended).await.is_err() {
                    tracing::warn!(route, "actors of a route have not stopped in {STOP_WITHIN:?}: they end with their thread");
                }
            }
        };
        AtomicResponse::new(Box::pin(stopped.into_actor(self).map(|(), _, ctx| ctx.stop())))
    }
}
