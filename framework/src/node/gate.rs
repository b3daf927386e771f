//! Leave for a delivery to go on.

/// The leave that the receiver and the user give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gate {
    /// Chunks below this index may be sent.
    pub(crate) limit: u64,
    pub(crate) paused: bool,
    /// The attempt is over.
    pub(crate) stopped: bool,
}
