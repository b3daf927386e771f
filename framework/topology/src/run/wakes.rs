//! Wakes routes when one of their deliveries has ended: then a worker is free, or an entry can be
//! removed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use estafette::Node;
use estafette::TransferNews;
use estafette::node::{Direction, NodeEvent, TransferEvent};
use tokio::sync::Notify;

use super::memory::Memory;

/// Returns `true` if a worker may be free: one who refuses a delivery for now, too, has none.
fn is_over(news: &TransferNews) -> bool {
    matches!(
        news,
        TransferNews::Delivered { .. }
            | TransferNews::Failed { .. }
            | TransferNews::Deferred { .. }
    )
}

/// The routes that wait, by their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Wakes(Arc<Mutex<HashMap<Box<str>, Weak<Notify>>>>);

impl Wakes {
    /// The place where a route is told.
    pub(super) fn of(&self, route: &str) -> Arc<Notify> {
        let told = Arc::new(Notify::new());
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of routes that have gone go at each reload.
        routes.retain(|_, told| told.strong_count() > 0);
        routes.insert(route.into(), Arc::downgrade(&told));
        told
    }

    /// Tells routes, until the node stops.
    pub(super) async fn follow(self, node: Node, memory: Memory) {
        let mut events = node.events();
        while let Some(event) = events.next().await {
            if let NodeEvent::Transfer(TransferEvent { transfer, direction, news, .. }) = event
                && direction == Direction::Outgoing
                && is_over(&news)
                && let Some((route, _)) = memory.way_of(transfer)
            {
                self.wake(&route);
            }
        }
    }

    fn wake(&self, route: &str) {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = routes.get(route).and_then(Weak::upgrade) {
            told.notify_one();
        }
    }
}
