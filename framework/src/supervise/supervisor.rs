//! The actor that watches the chains of a node.
//!
//! It hears of a death through [`Check`], which whoever lost a chunk sends; it looks who is dead,
//! waits as the policy says, starts the dead anew from their factories on their own arbiters, and
//! answers when the chain is whole again or given up.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext, ActorFutureExt, ArbiterHandle, AtomicResponse, Context, Handler, Message,
    ResponseActFuture, WrapFuture,
};
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::policy::{Decision, RestartHistory, RestartPolicy};
use crate::metrics::Metrics;
use crate::pipeline::Child;

/// The time that actors have to stop, when they are asked to, before their threads end.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Names a supervised chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(u64);

impl RouteId {
    /// A name that no other route of this process has.
    #[allow(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Starts, watches and restarts the actors of routes.
#[derive(Debug)]
pub struct NodeSupervisor {
    policy: RestartPolicy,
    metrics: Metrics,
    routes: HashMap<RouteId, Route>,
    /// Routes that are over, by name, whose actors may still have something to do.
    ending: Vec<(String, oneshot::Receiver<Infallible>)>,
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
#[rtype(result = "()")]
pub struct Adopt {
    /// The id by which it is checked and retired.
    pub id: RouteId,
    /// For logs: to whom, which way, on which lane.
    pub name: String,
    /// The arbiter on which its actors run.
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

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// All actors live; so many were started anew.
    Whole(usize),
    /// This stage dies too often: what it dies of is to be given up. Its actors were started anew
    /// for others.
    GivenUp(Arc<str>),
    /// There is no such route any more.
    Unknown,
}

/// Ends the supervision of a route. Its actors handle what they have, then stop, head first.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Retire(pub RouteId);

/// Ends the supervision of all routes. Answered when their actors have stopped, or have had the
/// time for it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct StopSupervisor;

impl NodeSupervisor {
    /// A supervisor without routes.
    pub fn new(policy: RestartPolicy, metrics: Metrics) -> Self {
        Self { policy, metrics, routes: HashMap::new(), ending: Vec::new() }
    }
}

impl NodeSupervisor {
    /// Without their children, whose factories hold them, its actors stop as soon as nobody sends
    /// to them.
    fn retire(&mut self, id: RouteId) {
        self.ending.retain_mut(|(_, ended)| matches!(ended.try_recv(), Err(TryRecvError::Empty)));
        if let Some(Route { name, ended, .. }) = self.routes.remove(&id) {
            self.ending.push((name, ended));
        }
    }

    /// Starts these children of a route anew, after the wait that is due.
    fn restart(&mut self, id: RouteId, dead: &[usize]) -> ResponseActFuture<Self, Checked> {
        let Some(route) = self.routes.get_mut(&id) else {
            return Box::pin(actix::fut::ready(Checked::Unknown));
        };
        let dead: Vec<_> = dead.iter().map(|&child| &route.children[child]).collect();
        let Some(first) = dead.first() else {
            return Box::pin(actix::fut::ready(Checked::Whole(0)));
        };
        let (wait, checked) = match route.history.died(&self.policy, Instant::now()) {
            Decision::Restart(wait) => (wait, Checked::Whole(dead.len())),
            Decision::GiveUp => {
                let stage = Arc::clone(first.name());
                tracing::error!(
                    route = route.name, %stage,
                    "an actor dies too often: the transfer it dies of is given up"
                );
                // Others go on, or come later: they are not to pay for it.
                route.history = RestartHistory::default();
                (Duration::ZERO, Checked::GivenUp(stage))
            }
        };
        for child in &dead {
            tracing::warn!(
                route = route.name, stage = %child.name(), ?wait,
                "an actor died: starting it anew"
            );
            self.metrics.stage(child.name()).restarted();
        }
        let arbiter = route.arbiter.clone();
        let restarts: Vec<_> =
            dead.into_iter().map(|child| (child.watcher(), child.restarter())).collect();
        let restart = async move {
            tokio::time::sleep(wait).await;
            // An arbiter that is gone has nothing to start. One that another check has started
            // meanwhile is left alone.
            on_arbiter(&arbiter, move || {
                restarts.iter().filter(|(alive, _)| !alive()).for_each(|(_, restart)| restart())
            })
            .await;
        };
        Box::pin(restart.into_actor(self).map(move |(), _, _| checked))
    }
}

impl Actor for NodeSupervisor {
    type Context = Context<Self>;
}

impl Handler<Adopt> for NodeSupervisor {
    type Result = ();

    fn handle(
        &mut self,
        Adopt { id, name, arbiter, children, ended }: Adopt,
        _: &mut Context<Self>,
    ) {
        self.routes.insert(
            id,
            Route { name, arbiter, children, ended, history: RestartHistory::default() },
        );
    }
}

impl Handler<Check> for NodeSupervisor {
    type Result = ResponseActFuture<Self, Checked>;

    fn handle(&mut self, Check(id): Check, _: &mut Context<Self>) -> Self::Result {
        let Some(route) = self.routes.get(&id) else {
            return Box::pin(actix::fut::ready(Checked::Unknown));
        };
        let alive: Vec<_> = route.children.iter().map(Child::watcher).collect();
        // On their own thread: whoever asks may have heard of a panic that is still unwinding
        // there, and an actor counts as alive until it has. Behind it, all that died with
        // the actor has been said, too.
        let look = on_arbiter(&route.arbiter, move || {
            (0..alive.len()).filter(|&child| !(alive[child])()).collect::<Vec<_>>()
        });
        Box::pin(
            look.into_actor(self)
                .then(move |dead, supervisor, _| supervisor.restart(id, &dead.unwrap_or_default())),
        )
    }
}

/// Does some work on an arbiter; `None` when that is gone.
fn on_arbiter<T, F>(arbiter: &ArbiterHandle, work: F) -> impl Future<Output = Option<T>> + use<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (done, is_done) = oneshot::channel();
    arbiter.spawn_fn(move || _ = done.send(work()));
    async { is_done.await.ok() }
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
        let (ending, until) =
            (std::mem::take(&mut self.ending), tokio::time::Instant::now() + STOP_WITHIN);
        let stopped = async move {
            for (route, ended) in ending {
                if tokio::time::timeout_at(until, ended).await.is_err() {
                    tracing::warn!(
                        route,
                        "actors of a route have not stopped in {STOP_WITHIN:?}: they end with \
                         their thread"
                    );
                }
            }
        };
        AtomicResponse::new(Box::pin(stopped.into_actor(self).map(|(), _, ctx| ctx.stop())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use actix::Arbiter;

    use super::*;
    use crate::pipeline::{Chunk, Outlet, Pipeline, Wiring};

    /// Dies as soon as it lives, the first time; and says so while it does, until it is let go.
    struct Dying(Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>);

    impl Drop for Dying {
        fn drop(&mut self) {
            if let Some((said, go_on)) = self.0.take() {
                said.send(()).unwrap();
                go_on.recv().unwrap();
            }
        }
    }

    impl Actor for Dying {
        type Context = Context<Self>;

        fn started(&mut self, _: &mut Context<Self>) {
            assert!(self.0.is_none(), "on purpose");
        }
    }

    impl Handler<Chunk> for Dying {
        type Result = ();

        fn handle(&mut self, _: Chunk, _: &mut Context<Self>) {}
    }

    #[actix::test]
    async fn a_check_that_comes_while_an_actor_still_dies_waits_until_it_has() {
        let metrics = Metrics::default();
        let supervisor = NodeSupervisor::new(RestartPolicy::default(), metrics.clone()).start();
        let ((said, is_said), (go, go_on)) = (mpsc::channel(), mpsc::channel());
        let fate = Mutex::new(Some((said, go_on)));
        let pipeline = Pipeline::new().then_actor("mortal", move |_: Outlet<Chunk>| {
            Dying(fate.lock().unwrap().take()).start().recipient()
        });
        let arbiter = Arbiter::new();
        let (wired, is_wired) = oneshot::channel();
        let tail = Outlet::into_stage("tail".into(), metrics.stage("tail"));
        arbiter.spawn_fn(move || {
            let mut wiring = Wiring::new(metrics);
            pipeline.wire(&mut wiring, tail);
            assert!(wired.send(wiring.into_children()).is_ok());
        });
        let children = is_wired.await.unwrap();
        let (_held, ended) = oneshot::channel();
        let id = RouteId::new();
        supervisor.do_send(Adopt {
            id,
            name: "route".into(),
            arbiter: arbiter.handle(),
            children,
            ended,
        });
        is_said.recv().unwrap();
        let check = actix::spawn(supervisor.send(Check(id)));
        assert_eq!(
            supervisor.send(Check(RouteId::new())).await.unwrap(),
            Checked::Unknown,
            "the first one has been heard"
        );
        go.send(()).unwrap();
        assert_eq!(check.await.unwrap().unwrap(), Checked::Whole(1), "it was taken for alive");
        assert_eq!(supervisor.send(Check(id)).await.unwrap(), Checked::Whole(0));
        arbiter.stop();
    }
}
