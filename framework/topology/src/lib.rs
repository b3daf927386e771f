//! Topologies: which nodes there are, what goes from where to where, and where it ends up, in a
//! file that can be checked, drawn and run.

mod check;
mod fault;
mod graph;
mod model;
mod read;
mod run;

pub use self::fault::{Fault, Report};
pub use self::graph::{
    DrawError, EdgeKind, Graph, GraphEdge, GraphNode, GraphPart, GraphRoute, PartKind,
};
pub use self::model::{
    EachSpec, InboxSpec, Kind, NodeSpec, RouteSpec, Schedule, SourceSpec, Target, Then, Topology,
};
pub use self::read::{Document, LONGEST, LoadError};
pub use self::run::{RouteEvent, RouteNews, RunError, RunningNode};
