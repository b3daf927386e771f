//! News of what a node does, told to other nodes of its topology by the sealed link: to those that its
//! table lets observe it (`observe`), and to nobody else, whatever they may deliver.

use std::time::Duration;

use actix::{Actor, Context, Handler, Message};
use estafette::RemoteError;
use estafette::RemoteMessage;
use estafette::node::HostError;
use estafette::remote::Asked;
use serde::{Deserialize, Serialize};

use super::look::RouteLook;
use super::tap::RouteTaps;

/// The name under which a node answers.
pub(crate) const OBSERVE: &str = "estafette.observe";
/// Happenings that are told.
const HAPPENINGS: usize = 16;
/// Routes that are told, each to one target.
const ROUTES: usize = 1000;
/// A longer snapshot is told without its lists.
const SNAPSHOT_MOST: usize = 512 << 10;
/// For an answer.
const WITHIN: Duration = Duration::from_secs(2);

/// The question of who looks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Observe {}

impl Message for Observe {
    type Result = Observed;
}

impl RemoteMessage for Observe {
    const NAME: &'static str = "estafette.Observe";
    const VERSION: u32 = 1;
}

/// The state of a node and of its routes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The snapshot of it as JSON, with its last happenings alone.
    pub snapshot: String,
    /// Its routes, 1,000 at most.
    pub routes: Vec<RouteLook>,
}

/// Answers who may ask.
struct Observer(RouteTaps);

impl Actor for Observer {
    type Context = Context<Self>;
}

impl Handler<Asked<Observe>> for Observer {
    type Result = ();

    fn handle(&mut self, Asked { reply, .. }: Asked<Observe>, _: &mut Context<Self>) {
        let taps = self.0.clone();
        let asker = reply.caller().and_then(|peer| taps.node.trust().peer(&peer));
        // Who may deliver to all inboxes may not see all of it for that.
        if !asker.is_some_and(|asker| taps.lets_observe(&asker.name)) {
            return reply.fail("the topology does not let that node observe this one");
        }
        actix::spawn(async move {
            let routes = taps.looks().into_iter().take(ROUTES).collect();
            reply.send(&Observed { snapshot: taps.snapshot().await, routes });
        });
    }
}

impl RouteTaps {
    /// Answers from now on, if the topology lets somebody ask. Once is enough.
    pub(super) async fn answer(&self) -> Result<(), HostError> {
        if self.observers().is_empty() {
            return Ok(());
        }
        let taps = self.clone();
        let hosted = self.node.host(OBSERVE, move || Observer(taps.clone()));
        match hosted.takes_asked::<Observe>().start().await {
            // It does already.
            Ok(_) | Err(HostError::Name(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn observers(&self) -> Vec<String> {
        let (_, topology) = self.topology();
        topology.nodes.get(&self.name).map(|node| node.observe.clone()).unwrap_or_default()
    }

    fn lets_observe(&self, name: &str) -> bool {
        self.observers().iter().any(|observer| observer == name)
    }

    /// The nodes that let this one observe them.
    pub fn observed(&self) -> Vec<String> {
        let (_, topology) = self.topology();
        let lets = topology
            .nodes
            .into_iter()
            .filter(|(name, node)| *name != self.name && node.observe.contains(&self.name));
        lets.map(|(name, _)| name).collect()
    }

    /// Asks another node of the topology what it does.
    pub async fn observe(&self, name: &str) -> Result<Observed, RemoteError> {
        let remote = self.node.remote::<Observe>(&format!("{name}/{OBSERVE}"))?;
        remote.within(WITHIN).ask(Observe {}).await
    }

    async fn snapshot(&self) -> String {
        let mut snapshot = self.node.snapshot().await;
        let excess = snapshot.happenings.len().saturating_sub(HAPPENINGS);
        snapshot.happenings.drain(..excess);
        let text = serde_json::to_string(&snapshot).unwrap_or_default();
        if text.len() <= SNAPSHOT_MOST {
            return text;
        }
        snapshot.links.clear();
        snapshot.transfers.clear();
        snapshot.actors.clear();
        snapshot.happenings.clear();
        serde_json::to_string(&snapshot).unwrap_or_default()
    }
}
