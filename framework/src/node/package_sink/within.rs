//! The delivery in a package for this node, known as soon as its header is here.

use std::sync::{Arc, OnceLock};

use crate::delivery::{Content, TransferId};
use crate::wire::package::PackageHeader;
use crate::wire::{Identity, PeerId, Suite};

/// Found out by whoever takes the package in, on its own thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Within(Arc<OnceLock<Inner>>);

/// The delivery that is in a package.
#[derive(Clone, Debug)]
pub(crate) struct Inner {
    pub(crate) sender: PeerId,
    pub(crate) transfer: TransferId,
    pub(crate) inbox: String,
    pub(crate) content: Content,
    pub(crate) suite: Suite,
    pub(crate) stages: Vec<String>,
}

impl Within {
    /// Returns what is known by now.
    pub(crate) fn get(&self) -> Option<&Inner> {
        self.0.get()
    }

    /// Looks, if nobody has yet. A header that does not open is told when the package is unpacked.
    pub(super) fn look(&self, header: &PackageHeader, identity: &Identity) {
        let label = header.label();
        if label.receiver != identity.peer() || self.0.get().is_some() {
            return;
        }
        if let Ok(letter) = header.open(identity) {
            // Nobody else looks.
            let _ = self.0.set(Inner {
                sender: label.sender,
                transfer: label.transfer,
                inbox: letter.inbox,
                content: letter.content,
                suite: label.suite,
                stages: label.stages.clone(),
            });
        }
    }
}
