//! Tickets that were given out: who may still come in with one.
//!
//! Invariant: the store has the hash of a token, never a token. The one that a node gives out anew
//! at each start is derived from its secret key.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{PEERS, TICKETS, Trust, TrustError, TrustedPeer, decode, names, put};
use crate::store::Change;
use crate::store::{now, random32};
use crate::wire::{Identity, PeerId, RefuseReason, Ticket, codec};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TicketGrant {
    inbox: String,
    expires: u64,
    /// The peers that have redeemed it; it is used up for everyone else.
    pub(super) redeemers: Vec<PeerId>,
    pub(super) most_redeemers: u16,
    /// The time at which it was made; 0 where an older release made it.
    made: u64,
    /// The seed that its token is derived from, if a node gives it out again.
    seed: Option<[u8; 32]>,
}

/// As older releases wrote it.
#[derive(Deserialize)]
struct OldGrant {
    inbox: String,
    expires: u64,
    redeemers: Vec<PeerId>,
    most_redeemers: u16,
}

/// The id of a ticket: the hash of its token. The hash lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketId([u8; 32]);

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A ticket that was given out, without its token. All times are in seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TicketRecord {
    /// The id of the ticket.
    pub id: TicketId,
    /// The inbox it opens.
    pub inbox: String,
    /// The time when it was made, where that is known.
    pub made: Option<u64>,
    /// The time of its expiry.
    pub expires: u64,
    /// The peers that have used it.
    pub redeemers: Vec<PeerId>,
    /// The most peers that may use it; 0 once a peer that has used it was revoked.
    pub most_redeemers: u16,
}

impl TicketGrant {
    pub(super) fn read(value: &[u8]) -> Result<Self, TrustError> {
        match codec::decode::<OldGrant>(value) {
            Ok(OldGrant { inbox, expires, redeemers, most_redeemers }) => {
                Ok(Self { inbox, expires, redeemers, most_redeemers, made: 0, seed: None })
            }
            Err(_) => decode(value),
        }
    }

    /// The same, which lets nobody in any more.
    pub(super) fn spent(&self) -> Self {
        Self { most_redeemers: 0, ..self.clone() }
    }

    /// Returns `true` if somebody may still come in with it for the first time.
    fn is_open(&self, now: u64) -> bool {
        self.expires > now && self.redeemers.len() < usize::from(self.most_redeemers)
    }
}

impl Trust {
    /// A ticket that `redeemers` peers may redeem within `valid`.
    pub fn issue(
        &self,
        issuer: PeerId,
        addresses: Vec<String>,
        inbox: &str,
        redeemers: u16,
        valid: Duration,
    ) -> Result<Ticket, TrustError> {
        self.grant(issuer, addresses, inbox, (redeemers, valid), random32(), None, Vec::new())
    }

    /// The ticket that a node gives out at each start: the one it gave out before, as long as
    /// nobody has used it, with its time begun anew, or a new one. Earlier ones that nobody has
    /// used are withdrawn, so that there is one at a time.
    pub fn reissue(
        &self,
        identity: &Identity,
        addresses: Vec<String>,
        inbox: &str,
        redeemers: u16,
        valid: Duration,
    ) -> Result<Ticket, TrustError> {
        self.refresh()?;
        let now = now();
        let unused = self.tickets.iter().filter(|grant| {
            grant.seed.is_some() && grant.redeemers.is_empty() && grant.inbox == inbox
        });
        let unused: Vec<([u8; 32], TicketGrant)> =
            unused.map(|grant| (*grant.key(), grant.value().clone())).collect();
        let again = unused
            .iter()
            .find(|(_, grant)| grant.is_open(now) && grant.most_redeemers == redeemers);
        let seed = again.and_then(|(_, grant)| grant.seed).unwrap_or_else(random32);
        let kept = again.map(|(key, _)| *key);
        let over =
            unused.into_iter().map(|(key, _)| key).filter(|key| Some(*key) != kept).collect();
        let mut keyed = blake3::Hasher::new_derive_key("estafette 2026 token of a standing ticket");
        keyed.update(identity.secret()).update(&seed);
        self.grant(
            identity.peer(),
            addresses,
            inbox,
            (redeemers, valid),
            *keyed.finalize().as_bytes(),
            Some(seed),
            over,
        )
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what two ways of making a ticket have in common"
    )]
    fn grant(
        &self,
        issuer: PeerId,
        addresses: Vec<String>,
        inbox: &str,
        (redeemers, valid): (u16, Duration),
        token: [u8; 32],
        seed: Option<[u8; 32]>,
        mut over: Vec<[u8; 32]>,
    ) -> Result<Ticket, TrustError> {
        // Nothing is let in by a ticket that can't be made.
        let ticket = Ticket::new(issuer, addresses, inbox.to_owned(), token)?;
        let (now, hold) = (now(), self.hold()?);
        over.extend(
            self.tickets.iter().filter(|grant| grant.expires <= now).map(|grant| *grant.key()),
        );
        if self.tickets.len().saturating_sub(over.len()) >= Self::LIMIT {
            return Err(TrustError::Full { what: "open tickets", limit: Self::LIMIT });
        }
        let expires = now.saturating_add(valid.as_secs());
        let grant = TicketGrant {
            inbox: inbox.to_owned(),
            expires,
            redeemers: Vec::new(),
            most_redeemers: redeemers,
            made: now,
            seed,
        };
        let key = *blake3::hash(&token).as_bytes();
        let mut changes: Vec<Change> =
            over.iter().map(|key| Change::Remove { table: TICKETS, key: key.to_vec() }).collect();
        changes.push(put(TICKETS, &key, &grant)?);
        self.change(changes)?;
        over.iter().for_each(|key| drop(self.tickets.remove(key)));
        self.tickets.insert(key, grant);
        self.done(hold);
        Ok(ticket)
    }

    /// The tickets that were given out and are not over, the newest first.
    pub fn tickets(&self) -> Vec<TicketRecord> {
        let now = now();
        let current = self.tickets.iter().filter(|grant| grant.expires > now);
        let mut records: Vec<_> = current
            .map(|grant| TicketRecord {
                id: TicketId(*grant.key()),
                inbox: grant.inbox.clone(),
                made: Some(grant.made).filter(|made| *made > 0),
                expires: grant.expires,
                redeemers: grant.redeemers.clone(),
                most_redeemers: grant.most_redeemers,
            })
            .collect();
        records.sort_by_key(|record| (std::cmp::Reverse(record.made), record.id.0));
        records
    }

    /// Makes a ticket worthless. Who has used it stays trusted: [`Trust::revoke`] takes a peer out.
    /// `false` if there is none.
    pub fn revoke_ticket(&self, id: TicketId) -> Result<bool, TrustError> {
        let hold = self.hold()?;
        if !self.tickets.contains_key(&id.0) {
            return Ok(false);
        }
        self.change(vec![Change::Remove { table: TICKETS, key: id.0.to_vec() }])?;
        self.tickets.remove(&id.0);
        self.done(hold);
        Ok(true)
    }

    /// Lets a peer in by its token. Idempotent: the same peer may come again with it, nobody else
    /// beyond its redeemers. What the peer calls itself is a suggestion.
    pub fn redeem(&self, id: PeerId, name: &str, token: &[u8; 32]) -> Result<(), RefuseReason> {
        // The peer has no business with paths and errors of this machine.
        let failed = |error: TrustError| {
            tracing::error!(%error, peer = %id.short(), "a ticket could not be redeemed");
            RefuseReason::Other(
                "the trust of this node can't be read or written now; try again later".into(),
            )
        };
        let hold = self.hold().map_err(failed)?;
        let key = *blake3::hash(token).as_bytes();
        let mut grant = self
            .tickets
            .get(&key)
            .map(|grant| grant.value().clone())
            .ok_or(RefuseReason::TicketUnknown)?;
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
        if known && self.peers.get(&id).is_some_and(|peer| !peer.is_current(now())) {
            // Its trust has ended since; only a ticket made for it anew begins it again.
            return Err(RefuseReason::Untrusted);
        }
        if !known && grant.redeemers.len() >= usize::from(grant.most_redeemers) {
            return Err(RefuseReason::TicketUsed);
        }
        self.has_room(&id).map_err(failed)?;
        let mut peer = self.peer(&id).unwrap_or_else(|| {
            // What it might do has ended; its name here and its addresses have not.
            let former = self.peers.get(&id).map(|entry| entry.value().clone());
            let peer = former.unwrap_or_else(|| TrustedPeer::new(self.name_for(id, name)));
            TrustedPeer { inboxes: Vec::new(), expires: None, ..peer }
        });
        if !peer.inboxes.iter().any(|inbox| inbox == "*" || *inbox == grant.inbox) {
            peer.inboxes.push(grant.inbox.clone());
        }
        if !known {
            grant.redeemers.push(id);
        }
        // The grant first, for stores that make one change after the other: after a crash between
        // the two the same peer redeems again.
        let changes = [put(TICKETS, &key, &grant), put(PEERS, id.as_bytes(), &peer)]
            .into_iter()
            .collect::<Result<Vec<_>, _>>();
        changes.and_then(|changes| self.change(changes)).map_err(failed)?;
        self.tickets.insert(key, grant);
        self.peers.insert(id, peer);
        self.changes.fetch_add(1, std::sync::atomic::Ordering::Release);
        self.done(hold);
        Ok(())
    }

    /// Returns the name here of a peer that comes with a ticket: as it calls itself, where that is
    /// fit for a name and nobody has one that could be taken for it. Deliveries are sent to names,
    /// so nobody takes one over.
    fn name_for(&self, id: PeerId, wanted: &str) -> String {
        let wanted = wanted.split_whitespace().collect::<Vec<_>>().join(" ");
        let others = || self.peers.iter().filter(|entry| *entry.key() != id);
        let free = |name: &String| {
            let fits = name.len() <= names::NAME_LIMIT && self.fingerprint_in(name, id).is_none();
            fits && !others().any(|entry| names::alike(&entry.value().name, name))
        };
        let short = id.short();
        let suggested = Some(wanted).filter(|wanted| names::is_fit_suggestion(wanted, id));
        let longer = suggested.as_ref().map(|wanted| format!("{wanted}-{short}"));
        let plain = Some(format!("peer-{short}"));
        let whole = id.to_string();
        // A fingerprint can be made to agree with another's, at a price; so much of it can't.
        [suggested, longer, plain]
            .into_iter()
            .flatten()
            .find(free)
            .unwrap_or_else(|| format!("peer-{short}-{}", &whole[8..24]))
    }
}

impl TicketId {
    /// All of it, as [`TicketId`]'s text is its beginning.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
