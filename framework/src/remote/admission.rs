//! The names of this node that a peer may send to.

use std::sync::Arc;

/// Whether the peer may send to a name. The number changes when an answer may have.
pub(crate) trait Admission: Send + Sync {
    /// Whether it may.
    fn admits(&self, name: &str) -> bool;
    /// All names that it may send to, in their order; `None`: all there are.
    fn names(&self) -> Option<Arc<[Arc<str>]>>;
    /// Counts changes.
    fn version(&self) -> u64;
}
