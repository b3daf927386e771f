//! Looks at routes while they run: taps, recordings, and what is sent again from those.
//!
//! Invariant: no route waits for who looks. What can't be taken at once is left out, and counted.

mod pipe;
mod record;
mod replay;
mod watch;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use estafette::node::{RegistryError, StageRegistry};
use estafette::pipeline::TAPPED_SOURCE;
use estafette::wire::Suite;
use estafette::{Identity, Node, PeerId};

use super::look::{Looks, RouteLook};
use super::memory::Memory;
use super::route::Route;
use crate::model::{Shows, StageSpec, Topology};

pub use self::record::{Recorded, Recording};
pub use self::replay::{ReplayError, Replayed};
pub use self::watch::{RouteTap, TapContent, TapNews, TapOptions, TapPiece, TapRate};

/// The routes of a running node, for those who look at them. It follows its reloads.
#[derive(Clone, Debug)]
pub struct RouteTaps {
    /// The name of the node.
    pub(super) name: String,
    pub(super) node: Node,
    pub(super) identity: Identity,
    pub(super) registry: StageRegistry,
    pub(super) memory: Memory,
    pub(super) looks: Looks,
    routes: Arc<RwLock<Vec<Route>>>,
}

/// A route can't be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TapError {
    /// No such route begins at the node.
    #[error("no route `{route}` begins at this node; those that do: {known}")]
    Unknown {
        /// The name asked for.
        route: String,
        /// The names there are.
        known: String,
    },
    /// The topology says that nothing of it may be seen.
    #[error("the topology lets nobody tap the route `{0}`")]
    Nothing(String),
    /// A delivery of the route passes no such stage.
    #[error("deliveries of the route `{route}` pass no stage `{stage}`, but {known}")]
    Stage {
        /// The route.
        route: String,
        /// The stage asked for.
        stage: String,
        /// The stages that there are.
        known: String,
    },
    /// Nothing may be recorded for that node.
    #[error("the topology lets nothing of the route `{route}` be recorded for `{receiver}`")]
    Recorder {
        /// The route.
        route: String,
        /// The node that would be able to open it.
        receiver: String,
    },
    /// A reload lets nothing be recorded any more for the node for which it was.
    #[error(
        "the topology was changed, and lets nothing of the route `{0}` be recorded for that node any more"
    )]
    NoMore(String),
    /// The program makes no packages, or has not all stages.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A folder can't be used.
    #[error("{} can't be written to: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
}

impl RouteTaps {
    pub(super) fn new(
        (name, node): (&str, Node),
        identity: Identity,
        registry: StageRegistry,
        memory: Memory,
        routes: Vec<Route>,
    ) -> Self {
        let (looks, routes) = (Looks::default(), Arc::new(RwLock::new(routes)));
        Self { name: name.to_owned(), node, identity, registry, memory, looks, routes }
    }

    /// Returns what the routes have done and are doing, one for each of their targets.
    pub fn looks(&self) -> Vec<RouteLook> {
        self.looks.all()
    }

    /// The topology that the node runs, and a number that is another one after a reload.
    pub fn topology(&self) -> (u64, Topology) {
        self.looks.topology()
    }

    /// After a reload.
    pub(super) fn set_routes(&self, routes: Vec<Route>) {
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = routes;
    }

    /// Before a reload: what no longer may be seen or recorded then may not be from now on, and
    /// what may be seen only then may not be yet.
    pub(super) fn narrow(&self, new: &[Route]) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        for route in &mut *routes {
            let new = new.iter().find(|new| new.name == route.name);
            let shows = new.map_or(Shows::Nothing, |new| new.spec.tap.shows);
            let tap = &mut Arc::make_mut(&mut route.spec).tap;
            tap.shows = tap.shows.min(shows);
            Arc::make_mut(&mut route.recorders)
                .retain(|recorder| new.is_some_and(|new| new.recorders.contains(recorder)));
        }
    }

    fn find(&self, name: &str) -> Result<Route, TapError> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.iter().find(|route| &*route.name == name).cloned().ok_or_else(|| {
            let known: Vec<_> =
                routes.iter().take(20).map(|route| route.name.to_string()).collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            TapError::Unknown { route: name.to_owned(), known }
        })
    }

    /// Returns what may be seen of a route as it is now; nothing of one that is gone.
    fn shows(&self, name: &str) -> Shows {
        self.find(name).map_or(Shows::Nothing, |route| route.spec.tap.shows)
    }

    /// Returns `true` if what passes a route as it is now may be recorded for a node.
    fn may_record(&self, name: &str, receiver: PeerId) -> bool {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let found = routes.iter().find(|route| &*route.name == name);
        found.is_some_and(|route| route.recorders.iter().any(|(_, id)| *id == receiver))
    }

    /// The node for which a recording is sealed: the one that is named, or the only one.
    fn recorder(&self, route: &Route, named: Option<&str>) -> Result<PeerId, TapError> {
        let found = match named {
            Some(name) => route.recorders.iter().find(|(recorder, _)| recorder == name),
            None => route.recorders.first(),
        };
        found.map(|(_, id)| *id).ok_or_else(|| TapError::Recorder {
            route: route.name.to_string(),
            receiver: named.unwrap_or("any node").to_owned(),
        })
    }

    /// The places at which deliveries of a route can be looked at, in their order.
    fn stages(&self, route: &Route) -> Result<Vec<String>, TapError> {
        let is_coder = |stage: &&StageSpec| !stage.is_filter(&self.registry);
        let coders = route.spec.stages.iter().filter(is_coder).map(|stage| stage.name.clone());
        let coders: Vec<_> = coders.collect();
        let pipeline = self.registry.stages().sending(&coders, Suite::XSALSA20_POLY1305)?;
        let stages = pipeline.stage_names().map(str::to_owned);
        Ok(std::iter::once(TAPPED_SOURCE.to_owned()).chain(stages).collect())
    }
}
