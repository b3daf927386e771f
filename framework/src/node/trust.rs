//! Who may come in: peers and the inboxes each may deliver to, and tickets not yet redeemed.
//!
//! Invariant: what changes is written to the store before it takes effect, so a crash forgets no grant and no revocation.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::store::Store;
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
    revoked: broadcast::Sender<PeerId>,
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
        let trust = Self { peers: Arc::default(), tickets: Arc::default(), store, revoked: broadcast::channel(64).0 };
        let read = |table| trust.store.load(table).map_err(|error| TrustError::Store { action: "read", error });
        for (key, value) in read(PEERS)? {
            trust.peers.insert(PeerId::from_bytes(key32(&key)?), decode(&value)?);
        }
        for (key, value) in read(TICKETS)? {
            trust.tickets.insert(key32(&key)?, decode(&value)?);
        }
        Ok(trust)
    }

    /// Trusts a peer, or changes how it is trusted.
    pub fn add(&self, id: PeerId, peer: TrustedPeer) -> Result<(), TrustError> {
        if self.peers.len() >= Self::LIMIT && !self.peers.contains_key(&id) {
            return Err(TrustError::Full { what: "trusted peers", limit: Self::LIMIT });
        }
        self.write(PEERS, id.as_bytes(), &peer)?;
        self.peers.insert(id, peer);
        Ok(())
    }

    /// Trusts a peer no longer, and closes its links. `false` if it was not trusted.
    pub fn revoke(&self, id: PeerId) -> Result<bool, TrustError> {
        self.store.remove(PEERS, id.as_bytes()).map_err(|error| TrustError::Store { action: "written", error })?;
        let known = self.peers.remove(&id).is_some();
        for mut grant in self.tickets.iter_mut().filter(|grant| grant.redeemers.contains(&id)) {
            // A redeemed ticket must not let the revoked peer in again.
            grant.most_redeemers = 0;
            let (key, value) = grant.pair();
            self.write(TICKETS, key, value)?;
        }
        // Nobody listening means no links to close.
        let _ = self.revoked.send(id);
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
        let now = now();
        self.tickets.retain(|_, grant| grant.expires > now);
        if self.tickets.len() >= Self::LIMIT {
            return Err(TrustError::Full { what: "open tickets", limit: Self::LIMIT });
        }
        let token = random32();
        let expires = now.saturating_add(valid.as_secs());
        let grant = TicketGrant { inbox: inbox.to_owned(), expires, redeemers: Vec::new(), most_redeemers: redeemers };
        let key = *blake3::hash(&token).as_bytes();
        self.write(TICKETS, &key, &grant)?;
        self.tickets.insert(key, grant);
        Ok(Ticket::new(issuer, addresses, inbox.to_owned(), token)?)
    }

    /// Lets a peer in by its token. Idempotent: the same peer may come again with it, nobody else beyond its redeemers.
    pub fn redeem(&self, id: PeerId, name: &str, token: &[u8; 32]) -> Result<(), RefuseReason> {
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
        let mut peer = self.peer(&id).unwrap_or_else(|| TrustedPeer { inboxes: Vec::new(), ..TrustedPeer::new(name) });
        if !peer.inboxes.iter().any(|inbox| inbox == "*" || *inbox == grant.inbox) {
            peer.inboxes.push(grant.inbox.clone());
        }
        let failed = |error: TrustError| RefuseReason::Other(error.to_string());
        // The grant first: after a crash between the two the same peer redeems again.
        let mut redeemed = grant.clone();
        if !known {
            redeemed.redeemers.push(id);
        }
        self.write(TICKETS, &key, &redeemed).map_err(failed)?;
        *grant = redeemed;
        drop(grant);
        self.add(id, peer).map_err(failed)
    }

    /// Hears of every peer that is revoked.
    pub(crate) fn revocations(&self) -> broadcast::Receiver<PeerId> {
        self.revoked.subscribe()
    }

    fn write(&self, table: &str, key: &[u8], value: &impl Serialize) -> Result<(), TrustError> {
        let value = codec::encode(value).map_err(|error| TrustError::Damaged { error: error.to_string() })?;
        self.store.put(table, key, &value).map_err(|error| TrustError::Store { action: "written", error })
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("peers", &self.peers.len()).field("tickets", &self.tickets.len()).finish_non_exhaustive()
    }
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
    fn an_expired_ticket_and_an_expired_peer_are_out() {
        let trust = trust(&Arc::default());
        let ticket = trust.issue(B, vec![], "in", 1, Duration::ZERO).unwrap();
        assert_eq!(trust.redeem(A, "a", ticket.token().expose()), Err(RefuseReason::TicketExpired));
        trust.add(A, TrustedPeer { expires: Some(1), ..TrustedPeer::new("a") }).unwrap();
        assert!(!trust.allows(&A, "in"));
    }
}
