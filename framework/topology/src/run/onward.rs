//! Sends on what arrives in an inbox, by all routes that begin there, once.

use std::ops::ControlFlow;
use std::time::Duration;

use estafette::node::{Arrival, Direction, EventStream, NodeEvent, Processed, TransferEvent};
use estafette::{Node, PeerId, TransferId, TransferNews};

use super::RouteNews;
use super::route::{Route, RouteError};
use crate::model::Kind;

/// Events may be missed where many come at once: so long after the last look it is looked anyway.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// An inbox, and the routes that begin there.
pub(super) struct Onward {
    pub(super) node: Node,
    pub(super) inbox: String,
    pub(super) routes: Vec<Route>,
}

impl Onward {
    /// Runs until the node stops. A delivery is processed, for its sender, when all routes have it
    /// durably.
    pub(super) async fn run(self) {
        let mut events = self.node.events();
        loop {
            for (sender, id, arrival) in self.waiting() {
                // What can't go on by itself keeps no other back.
                if self.pass_on(sender, id, &arrival).await.is_break() {
                    break;
                }
            }
            // It looks again when the time comes, and not when anything else happens.
            if let Ok(false) = tokio::time::timeout(LOOK_AGAIN, arrives(&mut events)).await {
                return;
            }
        }
    }

    /// Returns what has arrived and has not gone on, the oldest first.
    fn waiting(&self) -> Vec<(PeerId, TransferId, Arrival)> {
        let mut waiting = self.node.arrivals();
        waiting.retain(|(_, _, arrival)| {
            arrival.inbox == self.inbox && arrival.processed == Processed::No
        });
        waiting.sort_by_key(|(_, id, arrival)| (arrival.at, *id));
        waiting
    }

    /// Lets it go on; what does not is tried again. `Break`: no other one can, either.
    async fn pass_on(&self, sender: PeerId, id: TransferId, arrival: &Arrival) -> ControlFlow<()> {
        let (key, mark) = (format!("{sender}/{id}"), id.to_string());
        for route in &self.routes {
            let sent = route.send_to_all(&key, &mark, || async {
                // The place in the receipt is for people: what can't be shown in it is escaped.
                let path = arrival.path.as_deref().and_then(std::path::Path::to_str);
                let place = path.unwrap_or(arrival.receipt.place.as_str());
                route.content(&Kind::path(place)).await.map_err(|error| {
                    RouteError::Source(format!("{} can't go on: {error}", arrival.name))
                })
            });
            if let Err(error) = sent.await {
                route.tell(RouteNews::Failed { why: error.to_string(), again: LOOK_AGAIN });
                return match error {
                    RouteError::Source(_) => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                };
            }
        }
        match self.node.processed(sender, id).await {
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "what went on could not be noted as processed");
                return ControlFlow::Break(());
            }
        }
        // The note has served: what is processed does not come again.
        for route in &self.routes {
            route.forget(&key).await;
        }
        ControlFlow::Continue(())
    }
}

/// Waits until a delivery has arrived; `false` when none does any more.
async fn arrives(events: &mut EventStream) -> bool {
    loop {
        match events.next().await {
            Some(NodeEvent::Transfer(TransferEvent {
                direction: Direction::Incoming,
                news: TransferNews::Delivered { .. },
                ..
            })) => return true,
            Some(_) => {}
            None => return false,
        }
    }
}
