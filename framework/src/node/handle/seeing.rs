//! The host's view of what the node does.

use std::sync::Arc;

use super::Node;
use crate::node::DoorCounts;
use crate::node::gather;
use crate::node::snapshot::Snapshot;
use crate::wire::PeerId;

impl Node {
    /// Returns what there is to see of the node now. It costs an idle node nothing but the answer,
    /// and may be asked for on any thread, in any runtime.
    pub async fn snapshot(&self) -> Snapshot {
        self.snapshot_with(&[]).await
    }

    /// Returns the same, and has the links with these peers in it, however many others there are.
    pub async fn snapshot_with(&self, wanted: &[PeerId]) -> Snapshot {
        gather::look((self.shared(), &self.0.hub), self.addresses().to_vec(), wanted).await
    }

    /// Returns whether the node's thread answers within a second: it looks at nothing, and costs
    /// that thread one message.
    pub async fn answers(&self) -> bool {
        gather::answers(self.shared(), &self.0.hub).await
    }

    /// Counters of a door of this node, of this name and kind: it is in the node's
    /// [snapshot](Node::snapshot) as long as they are held.
    pub fn count_door(&self, name: &str, kind: &str) -> Arc<DoorCounts> {
        self.shared().doors.count(name, kind)
    }
}
