//! Packages that are kept here for others: what who packed one is told of what has become of it.
//!
//! A word is durable here before it is said, and said on each new link, and when it is asked for,
//! until it is durable where it belongs. What the receiver says proves itself there: this node
//! can't make it up.
//!
//! Invariant: what is kept for others is keyed by who packed it and by that peer's id: nobody is in
//! the way of somebody else's.

use actix::{Context, Handler, Message};

use super::stored::{Action, Wait, gone};
use super::{Outbox, OutboxEntry, OutboxState};
use crate::delivery::TransferId;
use crate::node::sessions::SayPassed;
use crate::wire::{PeerId, WordKind};

/// The node that packed a package offers it again, and so wants to know what has become of it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct AskedAgain {
    pub(crate) sender: PeerId,
    pub(crate) transfer: TransferId,
}

/// The ways of this relay are others.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct PlanAnew;

/// Returns a relay's id for a package of this sender: one of its own, for its outbox and on the way
/// to the receiver, which no other sender's package can have.
pub(crate) fn carried_as(sender: PeerId, transfer: TransferId) -> TransferId {
    let mut hasher = blake3::Hasher::new_derive_key("estafette 2026 package at a relay");
    hasher.update(sender.as_bytes()).update(transfer.as_bytes());
    let mut id = [0; 24];
    hasher.finalize_xof().fill(&mut id);
    TransferId::from_bytes(id)
}

impl Outbox {
    /// The relay that a delivery is to be given to: of what is kept for others, as the ways are
    /// now. Where they say nothing, and its receiver is not known here, it goes as before.
    pub(super) fn way_of(&self, entry: &OutboxEntry) -> Option<PeerId> {
        if entry.relayed_for.is_none() {
            return entry.via;
        }
        let is_known = || self.shared.trust.knows(&entry.peer);
        self.shared.ways.next(entry.peer).or_else(|| entry.via.filter(|_| !is_known()))
    }

    /// Plans anew where a delivery goes next, as long as no relay has it; to whom, if that is so.
    /// Its record need not say so before another relay has it: each start plans anew.
    pub(super) fn plan_anew(&mut self, id: TransferId) -> Option<PeerId> {
        let held = self.entries.get(&id)?;
        if held.stored.is_busy() || held.entry().state != OutboxState::Stored {
            return None;
        }
        let way = self.way_of(held.entry());
        let held = self.entries.get_mut(&id)?;
        held.stored.go_by(way);
        Some(held.entry().next_hop())
    }

    /// Returns the id of what is kept here for this sender under this id of its own. In records of
    /// earlier builds that is the key.
    pub(super) fn kept_for(&self, sender: PeerId, transfer: TransferId) -> Option<TransferId> {
        let is_theirs = |id: &TransferId| {
            let entry = self.entries.get(id).map(|held| held.entry());
            entry.is_some_and(|entry| {
                entry.relayed_for == Some(sender) && entry.known_as(*id) == transfer
            })
        };
        [carried_as(sender, transfer), transfer].into_iter().find(is_theirs)
    }

    /// Returns the delivery that is meant by an id, of this node's own ones or of one that is kept
    /// here for a single other one.
    pub(super) fn meant(&self, id: TransferId) -> TransferId {
        if self.entries.contains_key(&id) {
            return id;
        }
        let mut kept = self
            .entries
            .iter()
            .filter(|(_, held)| held.entry().packed_as == Some(id))
            .map(|(&id, _)| id);
        kept.next().filter(|_| kept.next().is_none()).unwrap_or(id)
    }

    /// Takes out what is kept for others of a peer that was revoked, and was not delivered; how
    /// many, and how many bytes.
    pub(in crate::node) fn forget_relayed_for(
        &mut self,
        peer: PeerId,
        ctx: &mut Context<Self>,
    ) -> (usize, u64) {
        let theirs = self.entries.iter().filter(|(_, held)| held.entry().relayed_for == Some(peer));
        let theirs: Vec<_> = theirs.map(|(&id, held)| (id, held.entry().bytes())).collect();
        let mut gone = (0, 0);
        for (id, bytes) in theirs {
            let Some(held) = self.entries.get_mut(&id) else { continue };
            let (goes, actions) = held.stored.revoke();
            if goes {
                gone = (gone.0 + 1, gone.1 + bytes);
            }
            self.carry_out(id, actions, ctx);
        }
        gone
    }

    /// Returns the peers that have left packages for others here.
    pub(in crate::node) fn relayed_for(&self) -> std::collections::HashSet<PeerId> {
        self.entries.values().filter_map(|held| held.entry().relayed_for).collect()
    }

    /// Notes that the node that packed something kept here has noted a word about it.
    pub(super) fn heard(
        &mut self,
        peer: PeerId,
        transfer: TransferId,
        what: WordKind,
        ctx: &mut Context<Self>,
    ) {
        let Some(kept) = self.kept_for(peer, transfer) else { return };
        if let Some(held) = self.entries.get_mut(&kept) {
            let actions = held.stored.heard(what);
            self.carry_out(kept, actions, ctx);
        }
    }

    /// Tells a peer who has come what it has not heard yet.
    pub(super) fn pass_on_all(&mut self, sender: PeerId, ctx: &mut Context<Self>) {
        let theirs =
            self.entries.iter().filter(|(_, held)| held.entry().relayed_for == Some(sender));
        let theirs: Vec<_> = theirs.map(|(&id, held)| (id, held.stored.say())).collect();
        theirs.into_iter().for_each(|(id, said)| self.carry_out(id, said, ctx));
    }
}

impl Handler<AskedAgain> for Outbox {
    type Result = ();

    fn handle(&mut self, AskedAgain { sender, transfer }: AskedAgain, ctx: &mut Context<Self>) {
        let Some(kept) = self.kept_for(sender, transfer) else {
            return self.sessions.say(sender, SayPassed { transfer, word: gone() });
        };
        if let Some(held) = self.entries.get_mut(&kept) {
            let actions = held.stored.asked_again();
            self.carry_out(kept, actions, ctx);
        }
    }
}

impl Handler<PlanAnew> for Outbox {
    type Result = ();

    fn handle(&mut self, _: PlanAnew, ctx: &mut Context<Self>) {
        let kept = self.entries.iter().filter(|(_, held)| held.entry().relayed_for.is_some());
        let kept: Vec<_> = kept.map(|(&id, held)| (id, held.entry().next_hop())).collect();
        for (id, before) in kept {
            let Some(hop) = self.plan_anew(id).filter(|hop| *hop != before) else { continue };
            let Some(held) = self.entries.get(&id) else { continue };
            self.schedule.withdraw(before, held.entry().turn(), id);
            tracing::debug!(transfer = %id, %hop, "it goes another way");
            self.carry_out(id, vec![Action::Wait(Wait::None)], ctx);
        }
        self.try_what_is_due(ctx);
    }
}
