//! The actors of one chain, as their supervisor sees them.

use std::fmt;
use std::sync::Arc;

use crate::metrics::Metrics;

/// Collects the actors of a chain while it is wired.
#[derive(Debug)]
pub struct Wiring {
    metrics: Metrics,
    children: Vec<Child>,
}

impl Wiring {
    /// Nothing wired yet; stages will count into `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, children: Vec::new() }
    }

    /// Returns the metrics in which stages count.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Enters an actor. Chains are wired from the tail, so the last one entered is the head.
    pub fn adopt(&mut self, child: Child) {
        self.children.push(child);
    }

    /// All actors entered.
    pub fn into_children(self) -> Vec<Child> {
        self.children
    }
}

/// One supervised actor: how to see whether it lives, and how to start it anew in its place.
pub struct Child {
    name: Arc<str>,
    alive: Arc<dyn Fn() -> bool + Send + Sync>,
    restart: Arc<dyn Fn() + Send + Sync>,
}

impl Child {
    /// `restart` starts the actor and rewires those that send to it; it is called on the arbiter
    /// the actor runs on.
    pub fn new(
        name: Arc<str>,
        alive: impl Fn() -> bool + Send + Sync + 'static,
        restart: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { name, alive: Arc::new(alive), restart: Arc::new(restart) }
    }

    /// The stage's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns whether its mailbox is open.
    pub fn is_alive(&self) -> bool {
        (self.alive)()
    }

    /// Says whether its mailbox is open, when called.
    pub(crate) fn watcher(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        Arc::clone(&self.alive)
    }

    /// Starts it anew when called, on the arbiter it is to run on.
    pub fn restarter(&self) -> Arc<dyn Fn() + Send + Sync> {
        Arc::clone(&self.restart)
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("name", &self.name)
            .field("alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}
