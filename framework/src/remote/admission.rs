//! The names of this node that a peer may send to.

use std::sync::Arc;

/// The leave of a peer to send to names. The number changes when an answer may have.
pub(crate) trait Admission: Send + Sync {
    /// Returns `true` if it may send to this one.
    fn admits(&self, name: &str) -> bool;
    /// All names that it may send to, in their order; `None`: all there are.
    fn names(&self) -> Option<Arc<[Arc<str>]>>;
    /// Counts changes.
    fn version(&self) -> u64;
}
