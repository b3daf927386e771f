//! Topologies: which nodes there are, what goes from where to where, and where it ends up, in a
//! file that can be checked, drawn and run.
//!
//! ```no_run
//! use estafette_actors::standard;
//! use estafette_topology::Topology;
//!
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! // Fails with all faults of the file, drawn as rustc draws its own.
//! let topology = Topology::load("two-nodes.toml", &standard())?;
//! let paris = topology.start("paris", standard()).await?;
//! println!("{}", paris.node().peer());
//! paris.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! A topology needs no file: [`Topology::new`] begins one, and what a program makes has the same
//! faults.
//!
//! ```
//! use estafette_actors::standard;
//! use estafette_topology::{InboxSpec, Kind, NodeSpec, RouteSpec, Target, Topology};
//!
//! let topology = Topology::new(".")
//!     .node("lyon", NodeSpec::default())
//!     .node("paris", NodeSpec::listening("127.0.0.1:7411"))
//!     .inbox("letters", InboxSpec::at("paris", Kind::folder("received")))
//!     .route("post", RouteSpec::new("lyon", Kind::path("out"), Target::new("paris", "letters")));
//! assert!(topology.check(&standard()).is_empty());
//! ```
//!
//! `framework/docs/topologies.md` has every key.

mod change;
mod check;
mod fault;
mod graph;
mod model;
mod neighbour;
mod predict;
mod read;
mod run;
#[cfg(feature = "schema")]
mod schema;
mod trace;
#[cfg(feature = "trial")]
mod trial;

pub use self::change::{Change, NodeChange, Reload};
pub use self::check::PrivateFile;
pub use self::fault::{Fault, Report};
pub use self::graph::{
    DrawError, EdgeKind, Graph, GraphEdge, GraphNode, GraphPart, GraphRoute, Live, LiveState,
    PartKind,
};
pub use self::model::{
    Deliver, DoorSpec, EachSpec, Expected, HttpSpec, InboxSpec, Kind, Line, NodeSpec,
    ReceiptWanted, RouteSpec, Schedule, Shows, SourceSpec, StageSpec, TapSpec, Target, TestFile,
    TestSpec, Then, Topology,
};
pub use self::predict::{Away, Bound, Full, Prediction, Way};
pub use self::read::{Document, LONGEST, LoadError};
pub use self::run::{
    LeftAtDoor, Measured, Observed, Pending, Recorded, Recording, ReloadError, ReplayError,
    Replayed, RouteEvent, RouteLook, RouteNews, RouteTap, RouteTaps, RunError, Running,
    RunningNode, TapContent, TapError, TapNews, TapOptions, TapPiece, TapRate, waiting_routes,
};
pub use self::trace::{Step, StepKind};
#[cfg(feature = "trial")]
pub use self::trial::{Trial, TrialError, TrialReport};

/// Its code is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/topologies.md")]
struct Topologies;
