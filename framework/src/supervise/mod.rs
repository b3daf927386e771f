//! Supervision: actors are started from factories, watched, restarted with backoff, and given up on
//! with an error that names them.

mod policy;
mod supervisor;

pub(crate) use policy::Lives;
pub use policy::{Decision, RestartPolicy, Strategy};
pub(crate) use supervisor::StopSupervisor;
pub use supervisor::{Adopt, Check, Checked, NodeSupervisor, Retire, RouteId};
