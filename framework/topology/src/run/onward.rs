//! Sends on what arrives in an inbox, by all routes that begin there, once.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use estafette::node::{Arrival, Direction, EventStream, NodeEvent, Processed, TransferEvent};
use estafette::{Node, PeerId, TransferId, TransferNews};

use super::RouteNews;
use super::failure::RouteError;
use super::route::Route;
use crate::model::Kind;

/// The most places of which is known what went on from there last.
const PLACES: usize = 4096;
/// Events may be missed where many come at once: so long after the last look it is looked anyway.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// An inbox, and the routes that begin there.
pub(super) struct Onward {
    pub(super) node: Node,
    pub(super) inbox: String,
    pub(super) routes: Vec<Route>,
    pub(super) gone_on: GoneOn,
}

/// The last thing that went on from each place, in the order of the places: what takes its place
/// while it waits is all that can be read there.
#[derive(Debug, Default)]
pub(super) struct GoneOn(VecDeque<Gone>);

#[derive(Debug)]
struct Gone {
    place: String,
    /// The time of its arrival, and its id: one came before the other.
    arrival: (u64, TransferId),
    /// Its deliveries, and the numbers of their routes.
    sent: Vec<(usize, TransferId)>,
}

impl GoneOn {
    /// Returns the deliveries of an earlier arrival that went on from that place.
    fn before(&self, place: &str, arrival: (u64, TransferId)) -> &[(usize, TransferId)] {
        let found = self.0.iter().find(|gone| gone.place == place && gone.arrival < arrival);
        found.map_or(&[], |gone| &gone.sent)
    }

    fn note(&mut self, gone: Gone) {
        self.0.retain(|before| before.place != gone.place);
        self.0.push_back(gone);
        if self.0.len() > PLACES {
            self.0.pop_front();
        }
    }
}

impl Onward {
    /// Runs until the node stops. A delivery is processed, for its sender, when all routes have it
    /// durably.
    pub(super) async fn run(mut self) {
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
    async fn pass_on(
        &mut self,
        sender: PeerId,
        id: TransferId,
        arrival: &Arrival,
    ) -> ControlFlow<()> {
        let (key, mark) = (format!("{sender}/{id}"), id.to_string());
        // The place in the receipt is for people: what can't be shown in it is escaped.
        let path = arrival.path.as_deref().and_then(std::path::Path::to_str);
        let place = path.unwrap_or(arrival.receipt.place.as_str());
        // Of two at once, the older one could come last.
        for &(at, before) in self.gone_on.before(place, (arrival.at, id)) {
            let Some(route) = self.routes.get(at) else { continue };
            let may_go = match route.content(&Kind::path(place)).await {
                Ok(source) => route.may_replace(before, &*source).await,
                // Below it is told why.
                Err(_) => true,
            };
            if !may_go {
                return ControlFlow::Continue(());
            }
        }
        for route in &self.routes {
            let sent = route.send_to_all(&key, &mark, || async {
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
        let mut sent = Vec::new();
        // The note has served: what is processed does not come again.
        for (at, route) in self.routes.iter().enumerate() {
            sent.extend(route.sent(&key).into_iter().map(|id| (at, id)));
            route.forget(&key).await;
        }
        let (place, arrival) = (place.to_owned(), (arrival.at, id));
        self.gone_on.note(Gone { place, arrival, sent });
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
