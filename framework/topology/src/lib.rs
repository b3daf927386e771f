//! Topologies: which nodes there are, what goes from where to where, and where it ends up, in a
//! file that can be checked, drawn and run.

mod model;

pub use self::model::{
    EachSpec, InboxSpec, Kind, NodeSpec, RouteSpec, Schedule, SourceSpec, Target, Then, Topology,
};
