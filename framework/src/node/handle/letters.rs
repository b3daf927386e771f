//! The host's view of its letters: messages that are stored until they are handled.

use super::Node;
use crate::remote::{Delivery, LetterId, LetterInfo, LetterKey, RemoteError, RemoteErrorKind};

impl Node {
    /// The letters that are kept here: under way, or dead, with the reason; the oldest to each peer
    /// first. Without a spool, none.
    pub fn letters(&self) -> Vec<LetterInfo> {
        self.shared().letters.get().map_or_else(Vec::new, |letters| letters.list())
    }

    /// A letter of this node, whichever life of it has stored it. `None`: it is neither under way
    /// nor dead. Then it was processed, unless somebody has forgotten it, or it was never
    /// stored here.
    pub fn letter(&self, id: LetterId) -> Option<Delivery> {
        self.shared().letters.get()?.find(id)
    }

    /// The letter that was delivered once for this key, whatever has become of it. `None`: the key
    /// is not remembered, any more perhaps, or what has it is not stored yet.
    pub fn keyed_letter(&self, key: &LetterKey) -> Option<Delivery> {
        self.shared().letters.get()?.keyed(key)
    }

    /// Forgets a dead letter; `false` if there is no dead one of that id. Returns when that is
    /// durable.
    pub async fn forget_letter(&self, id: LetterId) -> Result<bool, RemoteError> {
        let Some(forgotten) = self.shared().letters.get().and_then(|letters| letters.forget(id))
        else {
            return Ok(false);
        };
        let stopped = |_| RemoteError::new(RemoteErrorKind::ShuttingDown, "this node has stopped");
        forgotten.await.map_err(stopped)?.map(|()| true)
    }
}
