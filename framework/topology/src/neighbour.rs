//! The relation of a node to another one.

use std::collections::BTreeSet;

/// One node, as another one sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Neighbour {
    /// The inboxes it may deliver to.
    pub(crate) inboxes: BTreeSet<String>,
    /// Set if a link to it is kept up: it can't dial, or is a relay of this node.
    pub(crate) connect: bool,
    /// Set if it is a relay that brings what others have made.
    pub(crate) brings: bool,
    /// The receivers for whom it is the next relay.
    pub(crate) reaches: BTreeSet<String>,
}
