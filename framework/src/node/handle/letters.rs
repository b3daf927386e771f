//! The host's view of its letters: messages that are stored until they are handled.

use super::Node;
use crate::remote::{Delivery, LetterId, LetterInfo, LetterKey, RemoteError, RemoteErrorKind};

/// The letters of a node ([`Node::letters`]): messages that are stored until they are handled.
#[derive(Clone, Copy, Debug)]
pub struct LettersHandle<'a>(&'a Node);

impl Node {
    /// Returns the letters that are stored here for actors elsewhere, and what can be done about
    /// them.
    pub fn letters(&self) -> LettersHandle<'_> {
        LettersHandle(self)
    }
}

impl LettersHandle<'_> {
    /// The letters that are kept here: under way, or dead, with the reason; the oldest to each peer
    /// first. Without a spool, none.
    pub fn list(self) -> Vec<LetterInfo> {
        self.0.shared().letters.get().map_or_else(Vec::new, |letters| letters.list())
    }

    /// A letter of this node, whichever life of it has stored it. `None`: it is neither under way
    /// nor dead. Then it was processed, unless somebody has forgotten it, or it was never
    /// stored here.
    pub fn find(self, id: LetterId) -> Option<Delivery> {
        self.0.shared().letters.get()?.find(id)
    }

    /// The letter that was delivered once for this key, whatever has become of it. `None`: the key
    /// is not remembered, any more perhaps, or what has it is not stored yet.
    pub fn keyed(self, key: &LetterKey) -> Option<Delivery> {
        self.0.shared().letters.get()?.keyed(key)
    }

    /// Forgets a dead letter; `false` if there is no dead one of that id. Returns when that is
    /// durable.
    pub async fn forget(self, id: LetterId) -> Result<bool, RemoteError> {
        let Some(forgotten) = self.0.shared().letters.get().and_then(|letters| letters.forget(id))
        else {
            return Ok(false);
        };
        let stopped = |_| RemoteError::new(RemoteErrorKind::ShuttingDown, "this node has stopped");
        forgotten.await.map_err(stopped)?.map(|()| true)
    }
}
