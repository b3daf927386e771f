//! Events about files of a topology.

use serde::Serialize;

/// A file that is not there yet, and without which a node can't start.
#[derive(Debug, Serialize)]
pub(crate) struct MissingFile<'a> {
    pub(crate) path: String,
    /// The key of the topology that names it.
    pub(crate) at: &'a str,
    pub(crate) node: &'a str,
}
