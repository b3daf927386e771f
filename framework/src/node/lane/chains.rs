//! The chains of stages of a lane: started when a transfer needs them, kept for the next one,
//! supervised.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::{AsyncContext, Context, Handler, Message, Recipient, ResponseFuture};

use tokio::sync::oneshot;

use super::{Admitted, Lane};
use crate::node::RegistryError;
use crate::pipeline::Wiring;
use crate::pipeline::{BalancedReplica, Chunk, Outlet, Parcel, Sealed, Transfer};
use crate::supervise::{Adopt, Check, Checked, RouteId};
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
    /// Takes its chunks when they have passed the stages.
    pub(crate) assembler: Outlet<Chunk>,
    pub(crate) stages: Vec<String>,
}

/// Looks whether the actors of all chains live; the stage that died too often, if one did.
#[derive(Debug, Message)]
#[rtype(result = "Option<Arc<str>>")]
pub(crate) struct CheckChains;

impl Lane {
    /// Has the actors of a chain watched, by this name.
    ///
    /// Without waiting for the supervisor: another transfer that needs the same chain meanwhile
    /// must find it, not make another in its place that nobody would watch.
    fn supervise(
        &self,
        way: &str,
        wiring: Wiring,
        ended: oneshot::Receiver<Infallible>,
    ) -> RouteId {
        let name = format!("{way} {} lane {}", self.shared.identity.peer().short(), self.index);
        let worker =
            self.shared.workers[usize::from(self.index) % self.shared.workers.len()].clone();
        let id = RouteId::new();
        self.shared.supervisor.do_send(Adopt {
            id,
            name,
            arbiter: worker,
            children: wiring.into_children(),
            ended,
        });
        id
    }

    /// The head of the chain that sends with these stages; wired, where there is none yet.
    fn sending_chain(
        &mut self,
        stages: Vec<String>,
        suite: Suite,
        tail: Recipient<Sealed>,
    ) -> Result<Outlet<Chunk>, RegistryError> {
        let key = (stages, suite.0);
        if let Some(chain) = self.sending.get(&key) {
            return Ok(chain.inlet.clone());
        }
        if self.sending.len() >= CHAINS {
            return Err(RegistryError::TooManyChains { limit: CHAINS });
        }
        let pipeline = self.shared.registry.stages().sending(&key.0, suite)?;
        let mut wiring = Wiring::new(self.shared.metrics.clone());
        let (tail, ended) = Outlet::last(tail);
        let inlet = pipeline.wire(&mut wiring, tail);
        let route = self.supervise("to", wiring, ended);
        self.sending.insert(key, Chain { inlet: inlet.clone(), route });
        Ok(inlet)
    }

    /// The head of the chain that receives with these stages; wired, where there is none yet.
    fn receiving_chain(
        &mut self,
        stages: Vec<String>,
        suite: Suite,
        tail: Recipient<Chunk>,
    ) -> Result<Outlet<Sealed>, RegistryError> {
        let key = (stages, suite.0);
        if let Some(chain) = self.receiving.get(&key) {
            return Ok(chain.inlet.clone());
        }
        if self.receiving.len() >= CHAINS {
            return Err(RegistryError::TooManyChains { limit: CHAINS });
        }
        let pipeline = self.shared.registry.stages().receiving(&key.0, suite)?;
        let mut wiring = Wiring::new(self.shared.metrics.clone());
        let (tail, ended) = Outlet::last(tail);
        let inlet = pipeline.wire(&mut wiring, tail);
        let route = self.supervise("from", wiring, ended);
        self.receiving.insert(key, Chain { inlet: inlet.clone(), route });
        Ok(inlet)
    }
}

impl Handler<SendingChain> for Lane {
    type Result = Result<BalancedReplica, RegistryError>;

    fn handle(
        &mut self,
        SendingChain { stages, suite }: SendingChain,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        let inlet = self.sending_chain(stages, suite, ctx.address().recipient())?;
        let up = Arc::clone(&self.up);
        Ok(BalancedReplica {
            inlet,
            load: Arc::clone(&self.load),
            ready: Arc::new(move || up.load(Ordering::Relaxed)),
        })
    }
}

impl Handler<Admit> for Lane {
    type Result = Result<(), RegistryError>;

    fn handle(
        &mut self,
        Admit { transfer, assembler, stages }: Admit,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        let inlet =
            self.receiving_chain(stages, transfer.scope.suite, ctx.address().recipient())?;
        let stream = transfer.stream;
        self.streams.borrow_mut().insert(stream, Admitted { transfer, inlet, assembler });
        Ok(())
    }
}

impl Handler<CheckChains> for Lane {
    type Result = ResponseFuture<Option<Arc<str>>>;

    fn handle(&mut self, _: CheckChains, _: &mut Context<Self>) -> Self::Result {
        let routes = self
            .sending
            .values()
            .map(|chain| chain.route)
            .chain(self.receiving.values().map(|chain| chain.route));
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
