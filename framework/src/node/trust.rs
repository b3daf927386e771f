//! Who may come in: peers and the inboxes each may deliver to, and tickets not yet redeemed.
//!
//! Invariant: what changes is written to the store before it takes effect, so a crash forgets no grant and no revocation. Processes that share a
//! store hold it while they change something, and look for others' changes first.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::store::{Hold, Store};
use crate::wire::{PeerId, RefuseReason, Ticket, TicketError, codec};

const PEERS: &str = "peers";
const TICKETS: &str = "tickets";

/// A peer that is trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedPeer {
    /// What it is called here.
    pub name: String,
    /// Where it can be dialled; may be empty.
    pub addresses: Vec<String>,
    /// The inboxes it may deliver to; `*` stands for all.
    pub inboxes: Vec<String>,
    /// When the trust ends, in seconds since the Unix epoch; `None`: when it is revoked.
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

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TicketGrant {
    inbox: String,
    expires: u64,
    /// Who has redeemed it; it is used up for everyone else.
    redeemers: Vec<PeerId>,
    most_redeemers: u16,
}

/// The peers a node trusts. Cloning it shares it.
#[derive(Clone)]
pub struct Trust {
    peers: Arc<DashMap<PeerId, TrustedPeer>>,
    tickets: Arc<DashMap<[u8; 32], TicketGrant>>,
    store: Arc<dyn Store>,
    /// The version of the store that is in memory.
    seen: Arc<Mutex<u128>>,
    revoked: broadcast::Sender<PeerId>,
    /// Counts changes of peers.
    changes: Arc<AtomicU64>,
}

/// Why trust could not be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The store failed.
    #[error("the trust store could not be {action}: {error}; nothing was changed")]
    Store {
        /// Read or written.
        action: &'static str,
        /// The cause.
        error: std::io::Error,
    },
    /// A record of the store can't be read.
    #[error("a record of the trust store is damaged ({error}); restore it from a copy, or remove it and trust the peer again")]
    Damaged {
        /// The cause.
        error: String,
    },
    /// The ticket would be too long.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// More peers or tickets than a node keeps.
    #[error("there are {limit} {what} already; remove some first")]
    Full {
        /// Peers or tickets.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl Trust {
    /// The most peers, and the most open tickets.
    pub const LIMIT: usize = 100_000;

    /// What the store remembers.
    pub fn load(store: Arc<dyn Store>) -> Result<Self, TrustError> {
        let trust = Self {
            peers: Arc::default(),
            tickets: Arc::default(),
            store,
            seen: Arc::default(),
            revoked: broadcast::channel(64).0,
            changes: Arc::default(),
        };
        let mut seen = trust.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = trust.store.version().map_err(unread)?;
        trust.read()?;
        drop(seen);
        Ok(trust)
    }

    /// Takes over what other processes have changed in the store; links of peers they revoked are closed. A node does this before it lets a peer
    /// in, and for links that are up whoever shares a store calls it now and then. It costs little when nothing has changed. It blocks.
    pub fn refresh(&self) -> Result<(), TrustError> {
        let unchanged = self.store.version().map_err(unread)? == *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if unchanged { Ok(()) } else { self.hold().map(drop) }
    }

    /// Keeps other processes from changing the store, and takes over what they have changed before.
    fn hold(&self) -> Result<Hold, TrustError> {
        let hold = self.store.hold().map_err(|error| TrustError::Store { action: "locked", error })?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.store.version().map_err(unread)?;
        if version != *seen {
            self.read()?;
            *seen = version;
        }
        Ok(hold)
    }

    /// Says that the version of the store is this process's own.
    fn done(&self, hold: Hold) -> Result<(), TrustError> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = self.store.version().map_err(unread)?;
        drop(hold);
        Ok(())
    }

    fn read(&self) -> Result<(), TrustError> {
        let (mut peers, mut tickets) = (HashMap::new(), HashMap::new());
        for (key, value) in self.store.load(PEERS).map_err(unread)? {
            peers.insert(PeerId::from_bytes(key32(&key)?), decode::<TrustedPeer>(&value)?);
        }
        for (key, value) in self.store.load(TICKETS).map_err(unread)? {
            tickets.insert(key32(&key)?, decode::<TicketGrant>(&value)?);
        }
        let gone: Vec<PeerId> = self.peers.iter().map(|entry| *entry.key()).filter(|id| !peers.contains_key(id)).collect();
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

    /// Trusts a peer, or changes how it is trusted.
    pub fn add(&self, id: PeerId, peer: TrustedPeer) -> Result<(), TrustError> {
        let hold = self.hold()?;
        self.put(id, peer)?;
        self.done(hold)
    }

    fn put(&self, id: PeerId, peer: TrustedPeer) -> Result<(), TrustError> {
        if self.peers.len() >= Self::LIMIT && !self.peers.contains_key(&id) {
            return Err(TrustError::Full { what: "trusted peers", limit: Self::LIMIT });
        }
        self.write(PEERS, id.as_bytes(), &peer)?;
        self.peers.insert(id, peer);
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Trusts a peer no longer, and closes its links. `false` if it was not trusted.
    pub fn revoke(&self, id: PeerId) -> Result<bool, TrustError> {
        let hold = self.hold()?;
        self.store.remove(PEERS, id.as_bytes()).map_err(unwritten)?;
        let known = self.peers.remove(&id).is_some();
        self.changes.fetch_add(1, Ordering::Release);
        for mut grant in self.tickets.iter_mut().filter(|grant| grant.redeemers.contains(&id)) {
            // A redeemed ticket must not let the revoked peer in again.
            grant.most_redeemers = 0;
            let (key, value) = grant.pair();
            self.write(TICKETS, key, value)?;
        }
        // Nobody listening means no links to close.
        let _ = self.revoked.send(id);
        self.done(hold)?;
        Ok(known)
    }

    /// All trusted peers, expired ones included.
    pub fn list(&self) -> Vec<(PeerId, TrustedPeer)> {
        let mut peers: Vec<_> = self.peers.iter().map(|entry| (*entry.key(), entry.value().clone())).collect();
        peers.sort_by(|a, b| (&a.1.name, a.0).cmp(&(&b.1.name, b.0)));
        peers
    }

    /// How a peer is trusted, if it is.
    pub fn peer(&self, id: &PeerId) -> Option<TrustedPeer> {
        self.peers.get(id).map(|entry| entry.value().clone()).filter(|peer| peer.is_current(now()))
    }

    /// Whether it stands among the trusted peers, with a trust that has expired or not.
    pub(crate) fn knows(&self, id: &PeerId) -> bool {
        self.peers.contains_key(id)
    }

    /// The peer that is called `name`.
    pub fn named(&self, name: &str) -> Option<(PeerId, TrustedPeer)> {
        self.list().into_iter().find(|(_, peer)| peer.name == name && peer.is_current(now()))
    }

    /// Whether a peer may deliver to an inbox.
    pub fn allows(&self, id: &PeerId, inbox: &str) -> bool {
        self.peer(id).is_some_and(|peer| peer.inboxes.iter().any(|allowed| allowed == "*" || allowed == inbox))
    }

    /// A ticket that `redeemers` peers may redeem within `valid`.
    pub fn issue(
        &self,
        issuer: PeerId,
        addresses: Vec<String>,
        inbox: &str,
        redeemers: u16,
        valid: Duration,
    ) -> Result<Ticket, TrustError> {
        let (now, hold) = (now(), self.hold()?);
        let over: Vec<[u8; 32]> = self.tickets.iter().filter(|grant| grant.expires <= now).map(|grant| *grant.key()).collect();
        for key in over {
            self.store.remove(TICKETS, &key).map_err(unwritten)?;
            self.tickets.remove(&key);
        }
        if self.tickets.len() >= Self::LIMIT {
            return Err(TrustError::Full { what: "open tickets", limit: Self::LIMIT });
        }
        let token = random32();
        let expires = now.saturating_add(valid.as_secs());
        let grant = TicketGrant { inbox: inbox.to_owned(), expires, redeemers: Vec::new(), most_redeemers: redeemers };
        let key = *blake3::hash(&token).as_bytes();
        self.write(TICKETS, &key, &grant)?;
        self.tickets.insert(key, grant);
        self.done(hold)?;
        Ok(Ticket::new(issuer, addresses, inbox.to_owned(), token)?)
    }

    /// Lets a peer in by its token. Idempotent: the same peer may come again with it, nobody else beyond its redeemers.
    pub fn redeem(&self, id: PeerId, name: &str, token: &[u8; 32]) -> Result<(), RefuseReason> {
        let failed = |error: TrustError| RefuseReason::Other(error.to_string());
        let hold = self.hold().map_err(failed)?;
        let key = *blake3::hash(token).as_bytes();
        let mut grant = self.tickets.get_mut(&key).ok_or(RefuseReason::TicketUnknown)?;
        let known = grant.redeemers.contains(&id);
        if grant.expires <= now() {
            return Err(RefuseReason::TicketExpired);
        }
        if known && grant.most_redeemers == 0 {
            return Err(RefuseReason::Revoked);
        }
        if known && self.allows(&id, &grant.inbox) {
            return Ok(());
        }
        if !known && grant.redeemers.len() >= usize::from(grant.most_redeemers) {
            return Err(RefuseReason::TicketUsed);
        }
        let mut peer = self.peer(&id).unwrap_or_else(|| TrustedPeer { inboxes: Vec::new(), ..TrustedPeer::new(self.name_for(id, name)) });
        if !peer.inboxes.iter().any(|inbox| inbox == "*" || *inbox == grant.inbox) {
            peer.inboxes.push(grant.inbox.clone());
        }
        // The grant first: after a crash between the two the same peer redeems again.
        let mut redeemed = grant.clone();
        if !known {
            redeemed.redeemers.push(id);
        }
        self.write(TICKETS, &key, &redeemed).map_err(failed)?;
        *grant = redeemed;
        drop(grant);
        self.put(id, peer).map_err(failed)?;
        self.done(hold).map_err(failed)
    }

    /// What a peer that comes with a ticket is called here: as it calls itself, unless another peer is called so. Deliveries are
    /// sent to names, so nobody takes one over.
    fn name_for(&self, id: PeerId, wanted: &str) -> String {
        let wanted: String = wanted.chars().filter(|character| !character.is_control() && *character != '/').collect();
        let free = |name: &String| !name.is_empty() && !self.peers.iter().any(|entry| *entry.key() != id && entry.value().name == *name);
        let longer = format!("{wanted}-{}", id.short());
        [wanted, longer].into_iter().find(free).unwrap_or_else(|| id.to_string())
    }

    /// Counts changes of peers.
    pub(crate) fn version(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Hears of every peer that is revoked.
    pub(crate) fn revocations(&self) -> broadcast::Receiver<PeerId> {
        self.revoked.subscribe()
    }

    fn write(&self, table: &str, key: &[u8], value: &impl Serialize) -> Result<(), TrustError> {
        let value = codec::encode(value).map_err(|error| TrustError::Damaged { error: error.to_string() })?;
        self.store.put(table, key, &value).map_err(unwritten)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("peers", &self.peers.len()).field("tickets", &self.tickets.len()).finish_non_exhaustive()
    }
}

fn unread(error: std::io::Error) -> TrustError {
    TrustError::Store { action: "read", error }
}

fn unwritten(error: std::io::Error) -> TrustError {
    TrustError::Store { action: "written", error }
}

fn key32(key: &[u8]) -> Result<[u8; 32], TrustError> {
    key.try_into().map_err(|_| TrustError::Damaged { error: format!("a key of {} bytes instead of 32", key.len()) })
}

fn decode<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, TrustError> {
    codec::decode(value).map_err(|error| TrustError::Damaged { error: error.to_string() })
}

/// Seconds since the Unix epoch; 0 for a clock before it.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(crate) fn random32() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::file_store::FileStore;
    use super::super::store::MemoryStore;
    use super::*;

    const A: PeerId = PeerId::from_bytes([1; 32]);
    const B: PeerId = PeerId::from_bytes([2; 32]);
    const DAY: Duration = Duration::from_secs(86_400);

    fn trust(store: &Arc<MemoryStore>) -> Trust {
        Trust::load(Arc::clone(store) as Arc<dyn Store>).unwrap()
    }

    #[test]
    fn a_ticket_lets_one_peer_in_and_no_other_even_after_a_restart() {
        let store = Arc::<MemoryStore>::default();
        let ticket = trust(&store).issue(B, vec![], "in", 1, DAY).unwrap();
        trust(&store).redeem(A, "a", ticket.token().expose()).unwrap();
        let again = trust(&store);
        assert_eq!(again.redeem(A, "a", ticket.token().expose()), Ok(()), "a reconnect locks nobody out");
        assert_eq!(again.redeem(B, "b", ticket.token().expose()), Err(RefuseReason::TicketUsed));
        assert!(again.allows(&A, "in") && !again.allows(&A, "other") && !again.allows(&B, "in"));
        assert_eq!(again.redeem(A, "a", &[0; 32]), Err(RefuseReason::TicketUnknown));
    }

    #[test]
    fn a_ticket_takes_over_nobody_s_name() {
        let trust = trust(&Arc::default());
        trust.add(B, TrustedPeer::new("paris")).unwrap();
        let ticket = trust.issue(B, vec![], "in", 3, DAY).unwrap();
        // The lower id, which a search by name finds first.
        trust.redeem(A, "paris", ticket.token().expose()).unwrap();
        assert_eq!(trust.named("paris").map(|(id, _)| id), Some(B));
        assert_eq!(trust.peer(&A).map(|peer| peer.name), Some(format!("paris-{}", A.short())));
        let (c, d) = (PeerId::from_bytes([3; 32]), PeerId::from_bytes([4; 32]));
        trust.redeem(c, "/\u{1b}", ticket.token().expose()).unwrap();
        assert_eq!(trust.peer(&c).map(|peer| peer.name), Some(format!("-{}", c.short())));
        trust.add(B, TrustedPeer::new(format!("paris-{}", d.short()))).unwrap();
        trust.add(c, TrustedPeer::new("paris")).unwrap();
        trust.redeem(d, "paris", ticket.token().expose()).unwrap();
        assert_eq!(trust.peer(&d).map(|peer| peer.name), Some(d.to_string()));
    }

    #[test]
    fn a_revoked_peer_stays_out_with_its_old_ticket() {
        let store = Arc::<MemoryStore>::default();
        let trust = trust(&store);
        let ticket = trust.issue(B, vec![], "in", 1, DAY).unwrap();
        trust.redeem(A, "a", ticket.token().expose()).unwrap();
        assert!(trust.revoke(A).unwrap());
        assert_eq!(trust.redeem(A, "a", ticket.token().expose()), Err(RefuseReason::Revoked));
        assert!(!trust.allows(&A, "in"));
        assert!(trust.list().is_empty());
    }

    #[test]
    fn what_another_process_changes_holds_here() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Trust::load(Arc::new(FileStore::open(folder.path()).unwrap())).unwrap();
        let (here, there) = (open(), open());
        let mut revocations = here.revocations();
        let ticket = here.issue(B, vec![], "in", 2, DAY).unwrap();
        here.redeem(A, "a", ticket.token().expose()).unwrap();
        assert!(there.revoke(A).unwrap(), "it sees what was redeemed here");
        here.refresh().unwrap();
        assert_eq!(revocations.try_recv(), Ok(A), "its links are closed");
        assert!(!here.allows(&A, "in"));
        assert_eq!(here.redeem(A, "a", ticket.token().expose()), Err(RefuseReason::Revoked));
        there.add(A, TrustedPeer::new("a")).unwrap();
        here.refresh().unwrap();
        assert!(here.allows(&A, "in"));
    }

    #[test]
    fn expired_tickets_leave_the_store() {
        let store = Arc::<MemoryStore>::default();
        let trust = trust(&store);
        trust.issue(B, vec![], "in", 1, Duration::ZERO).unwrap();
        trust.issue(B, vec![], "in", 1, DAY).unwrap();
        assert_eq!(store.load(TICKETS).unwrap().len(), 1);
    }

    #[test]
    fn an_expired_ticket_and_an_expired_peer_are_out() {
        let trust = trust(&Arc::default());
        let ticket = trust.issue(B, vec![], "in", 1, Duration::ZERO).unwrap();
        assert_eq!(trust.redeem(A, "a", ticket.token().expose()), Err(RefuseReason::TicketExpired));
        trust.add(A, TrustedPeer { expires: Some(1), ..TrustedPeer::new("a") }).unwrap();
        assert!(!trust.allows(&A, "in"));
    }
}
