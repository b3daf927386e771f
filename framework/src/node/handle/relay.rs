//! The host's view of the relay that its node is.

use super::Node;
use crate::node::RelayWays;
use crate::node::outbox::PlanAnew;

/// The relay that a node is for others ([`Node::relay`]).
#[derive(Clone, Copy, Debug)]
pub struct RelayHandle<'a>(&'a Node);

impl Node {
    /// Returns the relay that this node is for others.
    pub fn relay(&self) -> RelayHandle<'_> {
        RelayHandle(self)
    }
}

impl RelayHandle<'_> {
    /// Tells the relay that this node is where packages go on to other relays, and from which it
    /// takes them ([`NodeBuilder::relay_ways`](crate::NodeBuilder::relay_ways)). What is kept here
    /// already, and with no other relay yet, goes the new way; the one that it had, if there is none
    /// now and this node does not know its receiver.
    pub fn set_ways(self, ways: RelayWays) {
        self.0.shared().ways.set(ways);
        if let Some(outbox) = &self.0.0.outbox {
            outbox.do_send(PlanAnew);
        }
    }
}
