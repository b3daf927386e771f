//! `--into 'in/{peer}'`: a folder for each sender.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use estafette::PeerId;
use estafette::node::Trust;
use estafette::pipeline::{Inbox, Journal, Offer, Refusal, Sink};
use estafette_actors::sink::Folder;

/// What stands for the sender in a path.
const PEER: &str = "{peer}";

/// Gives each sender a folder, called as the sender is called here when its first delivery comes.
#[derive(Clone)]
pub(crate) struct PerPeer(Arc<Inner>);

struct Inner {
    parent: PathBuf,
    /// The last part of the path.
    pattern: String,
    make: Box<dyn Fn(&Path) -> Folder + Send + Sync>,
    /// Known as soon as the node is up.
    trust: OnceLock<Trust>,
    /// As many as there are peers.
    folders: Mutex<HashMap<PeerId, Arc<Folder>>>,
}

/// The folder around those of the senders, and what these are called, if a path names one for each.
pub(crate) fn split(into: &Path) -> Option<(PathBuf, String)> {
    let name = into.file_name()?.to_str().filter(|name| name.contains(PEER))?.to_owned();
    let parent = into.parent().filter(|parent| !parent.as_os_str().is_empty());
    Some((parent.unwrap_or(Path::new(".")).to_owned(), name))
}

impl PerPeer {
    pub(crate) fn new(parent: PathBuf, pattern: String, make: impl Fn(&Path) -> Folder + Send + Sync + 'static) -> Self {
        let (trust, folders) = Default::default();
        Self(Arc::new(Inner { parent, pattern, make: Box::new(make), trust, folders }))
    }

    pub(crate) fn know(&self, trust: Trust) {
        // Set once: there is one node.
        let _ = self.0.trust.set(trust);
    }

    fn folder(&self, peer: PeerId) -> Result<Arc<Folder>, Refusal> {
        let trust = self.0.trust.get().ok_or_else(|| Refusal::for_now("the receiver is starting"))?;
        let mut folders = self.0.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = folders.entry(peer).or_insert_with(|| {
            // Its own name for the peer; one that would be hidden, or mean another folder, is not used.
            let name = trust.peer(&peer).map(|known| known.name).filter(|name| !name.starts_with('.') && !name.contains('/'));
            let shared = trust.list().iter().filter(|(id, known)| *id != peer && Some(&known.name) == name.as_ref()).count() > 0;
            let name = name.filter(|_| !shared).unwrap_or_else(|| peer.short());
            Arc::new((self.0.make)(&self.0.parent.join(self.0.pattern.replace(PEER, &name))))
        });
        Ok(Arc::clone(folder))
    }
}

impl Inbox for PerPeer {
    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        self.folder(offer.peer)?.open(offer)
    }

    fn discard(&self, journal: &Journal) -> bool {
        // A note says what it left, not whose it was.
        let peers: Vec<_> = self.0.trust.get().map(|trust| trust.list().into_iter().map(|(peer, _)| peer).collect()).unwrap_or_default();
        peers.into_iter().filter_map(|peer| self.folder(peer).ok()).any(|folder| folder.is_there() && folder.discard(journal))
    }
}

impl std::fmt::Debug for PerPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PerPeer").field("parent", &self.0.parent).field("pattern", &self.0.pattern).finish_non_exhaustive()
    }
}
