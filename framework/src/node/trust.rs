//! Trust: the peers that may come in, the inboxes that each may deliver to, and the tickets not yet
//! redeemed.
//!
//! Invariant: what changes is written to the store before it takes effect, so a crash forgets no
//! grant and no revocation. Processes that share a store hold it while they change something, and
//! look for others' changes first. A store that can't be read lets nobody in.

mod admission;
mod error;
mod names;
mod tickets;

pub(crate) use self::error::Standing;
use self::error::{FINGERPRINT, SHOWN};
pub use self::error::{NoSuchPeer, TrustError};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

pub(crate) use self::admission::Barred;
pub use self::names::NameError;
pub(crate) use self::names::check as check_name;
pub use self::names::{check_node_name, suggested_name};
use self::tickets::TicketGrant;
pub use self::tickets::{TicketId, TicketRecord};
use crate::store::{Change, Hold, Store, now};
use crate::wire::{PeerId, codec};

const PEERS: &str = "peers";
const TICKETS: &str = "tickets";

/// A peer that is trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedPeer {
    /// The name of the peer at this node.
    pub name: String,
    /// The addresses at which the peer can be dialled; may be empty.
    pub addresses: Vec<String>,
    /// The inboxes it may deliver to; `*` stands for all.
    pub inboxes: Vec<String>,
    /// The end of the trust, in seconds since the Unix epoch. `None`: it ends when it is revoked.
    pub expires: Option<u64>,
}

impl TrustedPeer {
    /// A peer that may deliver to every inbox until it is revoked.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), addresses: Vec::new(), inboxes: vec!["*".into()], expires: None }
    }

    fn is_current(&self, now: u64) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}

/// The peers a node trusts. Cloning it shares it.
#[derive(Clone)]
pub struct Trust {
    /// Whose trust it is, where that is known.
    own: Option<PeerId>,
    peers: Arc<DashMap<PeerId, TrustedPeer>>,
    tickets: Arc<DashMap<[u8; 32], TicketGrant>>,
    store: Arc<dyn Store>,
    /// The version of the store that is in memory.
    seen: Arc<Mutex<u128>>,
    revoked: broadcast::Sender<PeerId>,
    /// Counts changes of peers.
    changes: Arc<AtomicU64>,
    /// Since when the store can't be read: nobody is let in meanwhile.
    unread: Arc<Mutex<Option<Instant>>>,
}

impl Trust {
    /// The most peers, and the most open tickets.
    pub const LIMIT: usize = 100_000;

    /// Loads the trust that the store remembers.
    pub fn load(store: Arc<dyn Store>) -> Result<Self, TrustError> {
        let trust = Self {
            own: None,
            peers: Arc::default(),
            tickets: Arc::default(),
            store,
            seen: Arc::default(),
            revoked: broadcast::channel(64).0,
            changes: Arc::default(),
            unread: Arc::default(),
        };
        // Nobody changes it meanwhile.
        let hold =
            trust.store.hold().map_err(|error| TrustError::Store { action: "locked", error })?;
        let version = trust.store.version().map_err(unread)?;
        trust.read()?;
        *trust.seen.lock().unwrap_or_else(PoisonError::into_inner) = version;
        drop(hold);
        Ok(trust)
    }

    /// The same, of the node `own`, which can't be added to it.
    #[must_use]
    pub fn owned_by(mut self, own: PeerId) -> Self {
        self.own = Some(own);
        self
    }

    /// Takes over what other processes have changed in the store; links of peers they revoked are
    /// closed. A node does this before it lets a peer in, and once a second. It costs little
    /// when nothing has changed. It blocks.
    ///
    /// While it fails nobody is trusted: whoever was revoked could still be in what was read
    /// before.
    pub fn refresh(&self) -> Result<(), TrustError> {
        let version = self.store.version().map_err(unread);
        let refreshed = version.and_then(|version| {
            let unchanged = version == *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if unchanged { Ok(()) } else { self.hold().map(drop) }
        });
        self.mark(refreshed.as_ref().err());
        refreshed
    }

    /// Notes whether the store can be read.
    fn mark(&self, error: Option<&TrustError>) {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        match (error, unread.is_some()) {
            (Some(error), false) => {
                tracing::error!(%error, "nobody is let in until the trust can be read again");
                *unread = Some(Instant::now());
            }
            (None, true) => {
                tracing::info!("the trust can be read again");
                *unread = None;
            }
            _ => return,
        }
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Keeps other processes from changing the store, and takes over what they have changed before.
    fn hold(&self) -> Result<Hold, TrustError> {
        let hold =
            self.store.hold().map_err(|error| TrustError::Store { action: "locked", error })?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.store.version().map_err(unread)?;
        if version != *seen {
            self.read()?;
            *seen = version;
        }
        drop(seen);
        self.mark(None);
        Ok(hold)
    }

    /// Says that the version of the store is this process's own.
    fn done(&self, hold: Hold) {
        // Where it can't be read, all is read anew the next time.
        if let Ok(version) = self.store.version() {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = version;
        }
        drop(hold);
    }

    /// Makes changes that belong together. After a failure what the store holds counts, whatever
    /// that is.
    fn change(&self, changes: Vec<Change>) -> Result<(), TrustError> {
        self.store.write(changes).map_err(|error| {
            let read = self.read();
            self.mark(read.as_ref().err());
            unwritten(error)
        })
    }

    fn read(&self) -> Result<(), TrustError> {
        let (mut peers, mut tickets) = (HashMap::new(), HashMap::new());
        for (key, value) in self.store.load(PEERS).map_err(unread)? {
            let (id, mut peer) = (PeerId::from_bytes(key32(&key)?), decode::<TrustedPeer>(&value)?);
            if let Err(error @ NameError::LooksLikeId { .. }) = names::check(&peer.name, Some(id)) {
                peer.name = format!("peer-{}", id.short());
                tracing::warn!(%error, now = peer.name, "a trusted peer is called otherwise");
            }
            peers.insert(id, peer);
        }
        for (key, value) in self.store.load(TICKETS).map_err(unread)? {
            tickets.insert(key32(&key)?, TicketGrant::read(&value)?);
        }
        let gone: Vec<PeerId> = self
            .peers
            .iter()
            .map(|entry| *entry.key())
            .filter(|id| !peers.contains_key(id))
            .collect();
        for id in gone {
            self.peers.remove(&id);
            // Nobody listening means no links to close.
            let _ = self.revoked.send(id);
        }
        self.changes.fetch_add(1, Ordering::Release);
        self.tickets.retain(|key, _| tickets.contains_key(key));
        peers.into_iter().for_each(|(id, peer)| drop(self.peers.insert(id, peer)));
        tickets.into_iter().for_each(|(key, grant)| drop(self.tickets.insert(key, grant)));
        Ok(())
    }

    /// Trusts a peer, or changes how it is trusted. Its name is checked: none looks like an id, or
    /// has another peer's fingerprint in it.
    pub fn add(&self, id: PeerId, peer: TrustedPeer) -> Result<(), TrustError> {
        self.alter(id, |_| peer).map(drop)
    }

    /// Trusts a peer as `to` makes it of what is known of it, its trust ended or not; nobody
    /// changes that meanwhile. Returns what holds now. Its name is checked as by [`Trust::add`].
    pub fn alter(
        &self,
        id: PeerId,
        to: impl FnOnce(Option<TrustedPeer>) -> TrustedPeer,
    ) -> Result<TrustedPeer, TrustError> {
        if self.own == Some(id) {
            return Err(TrustError::Itself(id));
        }
        let hold = self.hold()?;
        let known = self.peers.get(&id).map(|entry| entry.value().clone());
        let peer = to(known);
        names::check(&peer.name, Some(id))?;
        if let Some(of) = self.fingerprint_in(&peer.name, id) {
            return Err(NameError::OfAnother { name: peer.name, id: of }.into());
        }
        self.has_room(&id)?;
        self.change(vec![put(PEERS, id.as_bytes(), &peer)?])?;
        self.peers.insert(id, peer.clone());
        self.changes.fetch_add(1, Ordering::Release);
        self.done(hold);
        Ok(peer)
    }

    fn has_room(&self, id: &PeerId) -> Result<(), TrustError> {
        if self.peers.len() >= Self::LIMIT && !self.peers.contains_key(id) {
            return Err(TrustError::Full { what: "trusted peers", limit: Self::LIMIT });
        }
        Ok(())
    }

    /// Another peer whose fingerprint can be seen in a name.
    fn fingerprint_in(&self, name: &str, own: PeerId) -> Option<PeerId> {
        let name = names::folded(name);
        let others = self.peers.iter().map(|entry| *entry.key()).filter(|id| *id != own);
        if name.len() < FINGERPRINT {
            None
        } else {
            others.into_iter().find(|id| name.contains(&names::folded(&id.short())))
        }
    }

    /// Trusts a peer no longer, makes its tickets worthless and closes its links. `false` if it was
    /// not trusted.
    ///
    /// Peer and tickets change together: after an error, or a crash, either all of it holds or
    /// nothing does, and it can be tried again.
    pub fn revoke(&self, id: PeerId) -> Result<bool, TrustError> {
        let hold = self.hold()?;
        // A redeemed ticket must not let the revoked peer in again. They come first, for stores
        // that make one change after the other.
        let spent = self.tickets.iter().filter(|grant| grant.redeemers.contains(&id));
        let spent: Vec<_> = spent.map(|grant| (*grant.key(), grant.value().spent())).collect();
        let mut changes = spent
            .iter()
            .map(|(key, grant)| put(TICKETS, key, grant))
            .collect::<Result<Vec<_>, _>>()?;
        changes.push(Change::Remove { table: PEERS, key: id.as_bytes().to_vec() });
        if let Err(error) = self.store.write(changes) {
            return Err(self.half_revoked(id, error));
        }
        spent.into_iter().for_each(|(key, grant)| drop(self.tickets.insert(key, grant)));
        let known = self.take_out(id);
        self.done(hold);
        Ok(known)
    }

    fn take_out(&self, id: PeerId) -> bool {
        let known = self.peers.remove(&id).is_some();
        self.changes.fetch_add(1, Ordering::Release);
        // Nobody listening means no links to close.
        let _ = self.revoked.send(id);
        known
    }

    /// Ends a revocation that failed: what the store says holds; if it says nothing, the peer is
    /// out here.
    fn half_revoked(&self, id: PeerId, error: std::io::Error) -> TrustError {
        let read = self.read();
        self.mark(read.as_ref().err());
        let standing = match read {
            Ok(()) if self.peers.contains_key(&id) => "it is still trusted, as before",
            Ok(()) => "it is out",
            Err(_) => {
                self.take_out(id);
                "it is out here, and nobody is let in until the trust can be read again"
            }
        };
        TrustError::Revocation { peer: id, standing, error }
    }

    /// All trusted peers, expired ones included.
    pub fn list(&self) -> Vec<(PeerId, TrustedPeer)> {
        let mut peers: Vec<_> =
            self.peers.iter().map(|entry| (*entry.key(), entry.value().clone())).collect();
        peers.sort_by(|a, b| (&a.1.name, a.0).cmp(&(&b.1.name, b.0)));
        peers
    }

    /// So many trusted peers at most, and how many there are: none whose trust has expired.
    pub(crate) fn some(&self, most: usize) -> (Vec<(PeerId, TrustedPeer)>, usize) {
        let (now, mut some, mut all) = (now(), Vec::new(), 0);
        for entry in self.peers.iter().filter(|entry| entry.value().is_current(now)) {
            all += 1;
            if some.len() < most {
                some.push((*entry.key(), entry.value().clone()));
            }
        }
        (some, all)
    }

    /// Returns the record of a peer, if the peer is trusted. While the store can't be read, no peer
    /// is trusted.
    pub fn peer(&self, id: &PeerId) -> Option<TrustedPeer> {
        if self.unread.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return None;
        }
        self.peers.get(id).map(|entry| entry.value().clone()).filter(|peer| peer.is_current(now()))
    }

    /// Returns `true` if it stands among the trusted peers, with a trust that has expired or not.
    pub(crate) fn knows(&self, id: &PeerId) -> bool {
        self.peers.contains_key(id)
    }

    /// Returns the standing of a peer that was trusted.
    pub(crate) fn standing(&self, id: &PeerId) -> Standing {
        if let Some(since) = *self.unread.lock().unwrap_or_else(PoisonError::into_inner) {
            return Standing::Unreadable(since.elapsed());
        }
        let expired = self.peers.get(id).is_some_and(|peer| !peer.is_current(now()));
        if expired { Standing::Expired } else { Standing::Unchanged }
    }

    /// The peer that is called `name`, if it is one.
    pub fn named(&self, name: &str) -> Option<(PeerId, TrustedPeer)> {
        self.find(name).ok()
    }

    /// The peer that is meant: by its id, its name, or the first eight characters, or more, of its
    /// id. An id means a node and never a name.
    pub fn find(&self, given: &str) -> Result<(PeerId, TrustedPeer), NoSuchPeer> {
        let now = now();
        let is_readable = self.unread.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        self.find_among(given, |peer| is_readable && peer.is_current(now))
    }

    /// [`Trust::find`] among all that are known, those whose time is over, too.
    pub fn find_known(&self, given: &str) -> Result<(PeerId, TrustedPeer), NoSuchPeer> {
        self.find_among(given, |_| true)
    }

    /// Copies nothing but what is found: doors look with each request.
    fn find_among(
        &self,
        given: &str,
        counts: impl Fn(&TrustedPeer) -> bool,
    ) -> Result<(PeerId, TrustedPeer), NoSuchPeer> {
        let of = |id: PeerId| {
            let entry = self.peers.get(&id).filter(|entry| counts(entry.value()));
            entry.map(|entry| (id, entry.value().clone()))
        };
        if let Ok(id) = given.parse::<PeerId>() {
            let nobody = if self.own == Some(id) { NoSuchPeer::Itself } else { NoSuchPeer::Id(id) };
            return of(id).ok_or(nobody);
        }
        let begins = PeerId::beginning(given);
        let found = self.peers.iter();
        let found = found.filter(|entry| entry.value().name == given || begins(entry.key()));
        let mut ids: Vec<PeerId> =
            found.filter(|entry| counts(entry.value())).map(|entry| *entry.key()).collect();
        ids.sort_by_cached_key(|id| (self.peers.get(id).map(|peer| peer.name.clone()), *id));
        match ids[..] {
            [id] => of(id).ok_or(NoSuchPeer::Id(id)),
            [] => Err(NoSuchPeer::Name { given: given.to_owned(), known: self.some_names(counts) }),
            _ => Err(NoSuchPeer::Several { given: given.to_owned(), ids }),
        }
    }

    /// The first names of those that count, for an error.
    fn some_names(&self, counts: impl Fn(&TrustedPeer) -> bool) -> String {
        let known = self.peers.iter().filter(|entry| counts(entry.value()));
        let mut names: Vec<_> = known.map(|entry| entry.value().name.clone()).collect();
        names.sort();
        let more = if names.len() > SHOWN { ", and more" } else { "" };
        names.truncate(SHOWN);
        if names.is_empty() { "none".into() } else { names.join(", ") + more }
    }

    /// Returns the name of a peer at this node, with its fingerprint, for people.
    pub fn label(&self, id: &PeerId) -> String {
        let (name, short) = (self.peers.get(id).map(|peer| peer.name.clone()), id.short());
        name.filter(|name| *name != short)
            .map_or_else(|| short.clone(), |name| format!("{name} ({short})"))
    }

    /// Returns whether a peer may deliver to an inbox.
    pub fn allows(&self, id: &PeerId, inbox: &str) -> bool {
        self.admission(id, Some(inbox)).is_ok()
    }

    /// Counts changes of peers.
    pub(crate) fn version(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Hears of every peer that is revoked.
    pub(crate) fn revocations(&self) -> broadcast::Receiver<PeerId> {
        self.revoked.subscribe()
    }
}

/// A change that writes a record.
fn put(table: &'static str, key: &[u8], value: &impl Serialize) -> Result<Change, TrustError> {
    let value =
        codec::encode(value).map_err(|error| TrustError::Damaged { error: error.to_string() })?;
    Ok(Change::Put { table, key: key.to_vec(), value })
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("peers", &self.peers.len())
            .field("tickets", &self.tickets.len())
            .finish_non_exhaustive()
    }
}

fn unread(error: std::io::Error) -> TrustError {
    TrustError::Store { action: "read", error }
}

fn unwritten(error: std::io::Error) -> TrustError {
    TrustError::Store { action: "written", error }
}

fn key32(key: &[u8]) -> Result<[u8; 32], TrustError> {
    key.try_into().map_err(|_| TrustError::Damaged {
        error: format!("a key of {} bytes instead of 32", key.len()),
    })
}

fn decode<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, TrustError> {
    codec::decode(value).map_err(|error| TrustError::Damaged { error: error.to_string() })
}

#[cfg(test)]
mod tests;
