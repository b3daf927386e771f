//! The chains of stages of a lane: started when a transfer needs them, kept for the next one, supervised.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, ResponseFuture, WrapFuture, fut};

use tokio::sync::oneshot;

use super::{Admitted, Lane};
use crate::pipeline::{BalancedReplica, Outlet, Parcel, Transfer};
use crate::supervise::{Adopt, Check, Checked, RegistryError, RouteId, Wiring};
use crate::wire::Suite;

/// The most different chains of stages a lane keeps; transfers with still another one are refused.
const CHAINS: usize = 16;

pub(super) struct Chain<M: Parcel> {
    pub(super) inlet: Outlet<M>,
    pub(super) route: RouteId,
}

/// The head of the chain that sends with these stages.
#[derive(Debug, Message)]
#[rtype(result = "Result<BalancedReplica, RegistryError>")]
pub(crate) struct SendingChain {
    pub(crate) stages: Vec<String>,
    pub(crate) suite: Suite,
}

/// Chunks of this transfer may come in from now on.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), RegistryError>")]
pub(crate) struct Admit {
    pub(crate) transfer: Arc<Transfer>,
    pub(crate) stages: Vec<String>,
}

/// Looks whether the actors of all chains live; the stage that died too often, if one did.
#[derive(Debug, Message)]
#[rtype(result = "Option<Arc<str>>")]
pub(crate) struct CheckChains;

impl Lane {
    fn supervise(&self, way: &str, wiring: Wiring, ended: oneshot::Receiver<Infallible>) -> ResponseFuture<RouteId> {
        let name = format!("{way} {} lane {}", self.shared.identity.peer().short(), self.index);
        let worker = self.shared.workers[usize::from(self.index) % self.shared.workers.len()].clone();
        let adopt = Adopt { name, arbiter: worker, children: wiring.into_children(), ended };
        let supervisor = self.shared.supervisor.clone();
        Box::pin(async move { supervisor.send(adopt).await.unwrap_or(RouteId::NONE) })
    }
}

impl Handler<SendingChain> for Lane {
    type Result = ResponseActFuture<Self, Result<BalancedReplica, RegistryError>>;

    fn handle(&mut self, SendingChain { stages, suite }: SendingChain, ctx: &mut Context<Self>) -> Self::Result {
        let (load, up) = (Arc::clone(&self.load), Arc::clone(&self.up));
        let replica = move |inlet| BalancedReplica { inlet, load, ready: Arc::new(move || up.load(Ordering::Relaxed)) };
        let key = (stages, suite.0);
        if let Some(chain) = self.sending.get(&key) {
            return Box::pin(fut::ready(Ok(replica(chain.inlet.clone()))));
        }
        if self.sending.len() >= CHAINS {
            return Box::pin(fut::ready(Err(RegistryError::TooManyChains { limit: CHAINS })));
        }
        let pipeline = match self.shared.registry.sending(&key.0, suite) {
            Ok(pipeline) => pipeline,
            Err(error) => return Box::pin(fut::ready(Err(error))),
        };
        let mut wiring = Wiring::new(self.shared.metrics.clone());
        let (tail, ended) = Outlet::last(ctx.address().recipient());
        let inlet = pipeline.wire(&mut wiring, tail);
        let adopted = self.supervise("to", wiring, ended).into_actor(self);
        Box::pin(adopted.map(move |route, lane, _| {
            lane.sending.insert(key, Chain { inlet: inlet.clone(), route });
            Ok(replica(inlet))
        }))
    }
}

impl Handler<Admit> for Lane {
    type Result = ResponseActFuture<Self, Result<(), RegistryError>>;

    fn handle(&mut self, Admit { transfer, stages }: Admit, ctx: &mut Context<Self>) -> Self::Result {
        let suite = transfer.scope.suite;
        let key = (stages, suite.0);
        if let Some(chain) = self.receiving.get(&key) {
            let inlet = chain.inlet.clone();
            self.streams.borrow_mut().insert(transfer.stream, Admitted { transfer, inlet });
            return Box::pin(fut::ready(Ok(())));
        }
        if self.receiving.len() >= CHAINS {
            return Box::pin(fut::ready(Err(RegistryError::TooManyChains { limit: CHAINS })));
        }
        let pipeline = match self.shared.registry.receiving(&key.0, suite) {
            Ok(pipeline) => pipeline,
            Err(error) => return Box::pin(fut::ready(Err(error))),
        };
        let mut wiring = Wiring::new(self.shared.metrics.clone());
        let (tail, ended) = Outlet::last(ctx.address().recipient());
        let inlet = pipeline.wire(&mut wiring, tail);
        let adopted = self.supervise("from", wiring, ended).into_actor(self);
        Box::pin(adopted.map(move |route, lane, _| {
            lane.streams.borrow_mut().insert(transfer.stream, Admitted { transfer, inlet: inlet.clone() });
            lane.receiving.insert(key, Chain { inlet, route });
            Ok(())
        }))
    }
}

impl Handler<CheckChains> for Lane {
    type Result = ResponseFuture<Option<Arc<str>>>;

    fn handle(&mut self, _: CheckChains, _: &mut Context<Self>) -> Self::Result {
        let routes = self.sending.values().map(|chain| chain.route).chain(self.receiving.values().map(|chain| chain.route));
        let (routes, supervisor) = (routes.collect::<Vec<_>>(), self.shared.supervisor.clone());
        Box::pin(async move {
            let mut given_up = None;
            for route in routes {
                if let Ok(Checked::GivenUp(stage)) = supervisor.send(Check(route)).await {
                    given_up = Some(stage);
                }
            }
            given_up
        })
    }
}
