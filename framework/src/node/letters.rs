//! The start of a node's letters: what they are bounded by, and whom they go to.

use std::io;
use std::sync::Arc;

use super::events::NodeEvent;
use super::shared::NodeShared;
use super::trust::Barred;
use crate::remote::{LetterLimits, Letters, RemoteError};
use crate::store::Store;

/// Takes up the letters of a spool. The hub is set already: they need links.
pub(super) fn load(
    shared: &Arc<NodeShared>,
    spool: Arc<dyn Store>,
    dormant: bool,
) -> io::Result<Arc<Letters>> {
    let config = &shared.config;
    let limits = LetterLimits {
        letters: config.letters,
        bytes: config.letters_bytes,
        expiry: config.expiry,
        dormant,
    };
    let trust = shared.trust.clone();
    let admits =
        move |peer: &crate::wire::PeerId, name: &str| match trust.admission(peer, Some(name)) {
            Ok(()) => Some(true),
            Err(Barred::Untrusted) => Some(false),
            Err(Barred::ForNow) => None,
        };
    let telling = Arc::downgrade(shared);
    let refused = move |peer, id, (name, message): (&str, &str), why: &RemoteError| {
        if let Some(shared) = telling.upgrade() {
            let (name, message) = (name.to_owned(), message.to_owned());
            shared.emit(NodeEvent::LetterRefused { peer, id, name, message, why: why.clone() });
        }
    };
    let kept = (spool, Arc::clone(&shared.clock));
    Letters::load(kept, shared.directory.clone(), admits, refused, limits, |peer| {
        shared.exchange(peer)
    })
}
