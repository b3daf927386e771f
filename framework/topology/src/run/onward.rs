//! What arrives in an inbox goes on, by all routes that begin there, once.

use std::time::Duration;

use estafette::node::{Arrival, Direction, NodeEvent, Processed, TransferEvent};
use estafette::{Node, PeerId, TransferId, TransferNews};

use super::RouteNews;
use super::route::{Route, RouteError};
use crate::model::Kind;

/// Events may be missed where many come at once: so long after the last one it is looked anyway.
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
                if !self.pass_on(sender, id, &arrival).await {
                    break;
                }
            }
            tokio::select! {
                event = events.next() => match event {
                    Some(NodeEvent::Transfer(TransferEvent {
                        direction: Direction::Incoming,
                        news: TransferNews::Delivered { .. },
                        ..
                    })) => {}
                    Some(_) => continue,
                    None => return,
                },
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// What has arrived and has not gone on, the oldest first.
    fn waiting(&self) -> Vec<(PeerId, TransferId, Arrival)> {
        let mut waiting = self.node.arrivals();
        waiting.retain(|(_, _, arrival)| {
            arrival.inbox == self.inbox && arrival.processed == Processed::No
        });
        waiting.sort_by_key(|(_, id, arrival)| (arrival.at, *id));
        waiting
    }

    /// Whether it went on; what did not is tried again.
    async fn pass_on(&self, sender: PeerId, id: TransferId, arrival: &Arrival) -> bool {
        let (key, mark) = (format!("{sender}/{id}"), id.to_string());
        for route in &self.routes {
            let sent = route.send_to_all(&key, &mark, || async {
                let place = arrival.receipt.place.as_str();
                route.source(&Kind::path(place)).await.map_err(|error| {
                    RouteError::Source(format!("{} can't go on: {error}", arrival.name))
                })
            });
            if let Err(error) = sent.await {
                route.tell(RouteNews::Failed { why: error.to_string(), again: LOOK_AGAIN });
                return false;
            }
        }
        match self.node.processed(sender, id).await {
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "what went on could not be noted as processed");
                return false;
            }
        }
        // The note has served: what is processed does not come again.
        for route in &self.routes {
            route.forget(&key).await;
        }
        true
    }
}
