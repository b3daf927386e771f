//! `--into 'in/{peer}'`: a folder for each sender.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use estafette::PeerId;
use estafette::node::Trust;
use estafette::pipeline::{Inbox, Journal, Offer, Refusal, Sink};
use estafette_actors::sink::Folder;

use crate::error::CommandError;
use crate::settings;

/// The text that stands for the sender in a path.
const PEER: &str = "{peer}";

/// The number of characters of a peer's id that the name of its folder ends with: 80 bits, so that
/// nobody finds a key whose folder is another's.
const FINGERPRINT: usize = 16;

/// Gives each sender a folder, called by its name here and by its id: a name alone is what a sender
/// has called itself.
#[derive(Clone)]
pub(crate) struct PerPeer(Arc<Inner>);

type Make = Box<dyn Fn(&Path) -> Result<Folder, CommandError> + Send + Sync>;

struct Inner {
    parent: PathBuf,
    /// The last part of the path.
    pattern: String,
    /// Checks a path and makes a folder of it.
    make: Make,
    /// Known as soon as the node is up.
    trust: OnceLock<Trust>,
    /// As many as there are peers.
    folders: Mutex<HashMap<PeerId, (PathBuf, Arc<Folder>)>>,
}

/// The folder around those of the senders, and what these are called, if a path names one for each.
pub(crate) fn split(into: &Path) -> Option<(PathBuf, String)> {
    let name = into.file_name()?.to_str().filter(|name| name.contains(PEER))?.to_owned();
    let parent = into.parent().filter(|parent| !parent.as_os_str().is_empty());
    Some((parent.unwrap_or(Path::new(".")).to_owned(), name))
}

impl PerPeer {
    pub(crate) fn new(
        parent: PathBuf,
        pattern: String,
        make: impl Fn(&Path) -> Result<Folder, CommandError> + Send + Sync + 'static,
    ) -> Self {
        let (trust, folders) = Default::default();
        Self(Arc::new(Inner { parent, pattern, make: Box::new(make), trust, folders }))
    }

    pub(crate) fn know(&self, trust: Trust) {
        // Set once: there is one node.
        let _ = self.0.trust.set(trust);
    }

    /// The folder of a peer, looked at each time: what was there may be a link by now.
    fn folder(&self, peer: PeerId) -> Result<Arc<Folder>, Refusal> {
        let trust =
            self.0.trust.get().ok_or_else(|| Refusal::for_now("the receiver is starting"))?;
        let name = trust.peer(&peer).map(|known| known.name).unwrap_or_default();
        let mut folders = self.0.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let known = folders
            .get(&peer)
            .filter(|(path, _)| !is_link(path))
            .map(|(_, folder)| Arc::clone(folder));
        if let Some(folder) = known {
            return Ok(folder);
        }
        // What is wrong here is said here: it names paths that are none of a sender's business.
        let refused = |reason: String| {
            tracing::warn!(%peer, "a delivery has no folder to go to: {reason}");
            Refusal::for_now("the receiver has no folder for this sender; its log says why")
        };
        let path = self.path(&name, peer).map_err(|error| refused(error.to_string()))?;
        if is_link(&path) {
            return Err(refused(format!(
                "{} is a symbolic link; remove it",
                settings::shown(&path)
            )));
        }
        let folder = Arc::new((self.0.make)(&path).map_err(|error| refused(error.message))?);
        folders.insert(peer, (path, Arc::clone(&folder)));
        Ok(folder)
    }

    /// The folder that the deliveries of a peer go to: the one that it has already, whatever it was
    /// called then.
    fn path(&self, name: &str, peer: PeerId) -> io::Result<PathBuf> {
        let own = fingerprint(peer);
        // One that would be hidden, or mean another folder, is not used.
        let name = if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            "peer"
        } else {
            name
        };
        let wanted = self.0.pattern.replace(PEER, &format!("{name}-{own}"));
        let theirs =
            self.entries()?.into_iter().filter(|entry| self.fingerprint_in(entry) == Some(&own));
        // Of several, the one of its name now; else the same every time.
        let found = theirs.min_by_key(|entry| (*entry != wanted, entry.clone()));
        Ok(self.0.parent.join(found.unwrap_or(wanted)))
    }

    /// The entries of the folder around those of the senders.
    fn entries(&self) -> io::Result<Vec<String>> {
        let names =
            self.0.parent.read_dir()?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }

    /// The fingerprint of the sender whose folder it is, if it is one's.
    fn fingerprint_in<'e>(&self, entry: &'e str) -> Option<&'e str> {
        let ((before, _), (_, after)) =
            (self.0.pattern.split_once(PEER)?, self.0.pattern.rsplit_once(PEER)?);
        let called = entry.strip_prefix(before)?.strip_suffix(after)?;
        let (name, fingerprint) =
            called.split_at_checked(called.len().checked_sub(FINGERPRINT)?)?;
        name.strip_suffix('-').is_some_and(|name| !name.is_empty()).then_some(fingerprint)
    }
}

fn fingerprint(peer: PeerId) -> String {
    peer.to_string().chars().take(FINGERPRINT).collect()
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|there| there.is_symlink())
}

impl Inbox for PerPeer {
    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        self.folder(offer.peer)?.open(offer)
    }

    fn discard(&self, journal: &Journal) -> bool {
        // A note says what it left, not whose it was.
        let entries = self.entries().unwrap_or_default();
        let there: HashSet<_> =
            entries.iter().filter_map(|entry| self.fingerprint_in(entry)).collect();
        let peers = self
            .0
            .trust
            .get()
            .map(Trust::list)
            .unwrap_or_default()
            .into_iter()
            .map(|(peer, _)| peer);
        let mut folders = peers
            .filter(|peer| there.contains(fingerprint(*peer).as_str()))
            .filter_map(|peer| self.folder(peer).ok());
        folders.any(|folder| folder.is_there() && folder.discard(journal))
    }
}

impl std::fmt::Debug for PerPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PerPeer")
            .field("parent", &self.0.parent)
            .field("pattern", &self.0.pattern)
            .finish_non_exhaustive()
    }
}
