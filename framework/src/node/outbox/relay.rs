//! Packages that are kept here for others: what who packed one is told of what has become of it.
//!
//! A word is durable here before it is said, and said on each new link, and when it is asked for,
//! until it is durable where it belongs. What the receiver says proves itself there: this node
//! can't make it up.
//!
//! Invariant: what is kept for others is keyed by who packed it and by that peer's id: nobody is in
//! the way of somebody else's.

use actix::{Context, Handler, Message};

use super::{Outbox, OutboxEntry, OutboxState};
use crate::delivery::{Failure, FailureKind, TransferId};
use crate::node::hub::{HeardWord, ToSession};
use crate::node::session::signals::{self, SayPassed};
use crate::wire::{PeerId, Word, WordKind};

/// Who packed a package offers it again, and so wants to know what has become of it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct AskedAgain {
    pub(crate) sender: PeerId,
    pub(crate) transfer: TransferId,
}

/// What a relay calls a package of this sender: an id of its own, for its outbox and on the way to
/// the receiver, which no other sender's package can have.
pub(crate) fn carried_as(sender: PeerId, transfer: TransferId) -> TransferId {
    let mut hasher = blake3::Hasher::new_derive_key("estafette 2026 package at a relay");
    hasher.update(sender.as_bytes()).update(transfer.as_bytes());
    let mut id = [0; 24];
    hasher.finalize_xof().fill(&mut id);
    TransferId::from_bytes(id)
}

/// What is said of a package that is not here any more.
pub(super) fn gone() -> Word {
    Word::Failed(Failure::new(
        FailureKind::Cancelled,
        "it keeps it no longer: it was taken out of its outbox, or expired",
    ))
}

impl OutboxEntry {
    /// The id that whoever it is of knows it by.
    pub(super) fn known_as(&self, id: TransferId) -> TransferId {
        self.packed_as.unwrap_or(id)
    }

    /// What there is to be said to who packed it.
    fn word(&self) -> Option<Word> {
        match &self.state {
            OutboxState::Stored | OutboxState::Relayed { .. } => None,
            OutboxState::Delivered { receipt, .. } => Some(Word::Delivered(receipt.clone())),
            OutboxState::Processed { receipt, proof, .. } => {
                Some(Word::Processed { receipt: receipt.clone(), mac: *proof })
            }
            OutboxState::Dead { failure, .. } => Some(Word::Failed(failure.clone())),
        }
    }

    /// Whether it is kept for somebody who has not heard yet how it ended.
    pub(super) fn is_unheard(&self) -> bool {
        self.relayed_for.is_some()
            && self.word().is_some_and(|word| self.heard != Some(word.kind()))
    }
}

impl Outbox {
    /// Tells who packed a package what has become of it, if they are here.
    pub(super) fn pass_on(&self, transfer: TransferId) {
        let Some(held) = self.entries.get(&transfer).filter(|held| held.entry.is_unheard()) else {
            return;
        };
        if let (Some(sender), Some(word)) = (held.entry.relayed_for, held.entry.word()) {
            let transfer = held.entry.known_as(transfer);
            self.hub.do_send(ToSession(sender, SayPassed { transfer, word }));
        }
    }

    /// What is kept here for this sender under this id of its own. In records of earlier builds
    /// that is the key.
    pub(super) fn kept_for(&self, sender: PeerId, transfer: TransferId) -> Option<TransferId> {
        let is_theirs = |id: &TransferId| {
            let entry = self.entries.get(id).map(|held| &held.entry);
            entry.is_some_and(|entry| {
                entry.relayed_for == Some(sender) && entry.known_as(*id) == transfer
            })
        };
        [carried_as(sender, transfer), transfer].into_iter().find(is_theirs)
    }

    /// Which delivery is meant by an id, of this node's own ones or of one that is kept here for a
    /// single other one.
    pub(super) fn meant(&self, id: TransferId) -> TransferId {
        if self.entries.contains_key(&id) {
            return id;
        }
        let mut kept = self
            .entries
            .iter()
            .filter(|(_, held)| held.entry.packed_as == Some(id))
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
        let theirs = self
            .entries
            .iter()
            .filter(|(_, held)| held.entry.relayed_for == Some(peer) && held.entry.is_open());
        let theirs: Vec<_> =
            theirs.map(|(&id, held)| (id, held.busy, held.entry.bytes())).collect();
        for &(id, busy, _) in &theirs {
            if !busy {
                drop(self.remove(id, ctx));
            } else if let Some(held) = self.entries.get(&id) {
                // It goes when its try has ended; one that arrives nevertheless has arrived.
                held.cancelled.set(true);
                self.hub.do_send(signals::Command { transfer: id, what: signals::Order::Cancel });
            }
        }
        (theirs.len(), theirs.iter().map(|(.., bytes)| bytes).sum())
    }

    /// Who has left packages for others here.
    pub(in crate::node) fn relayed_for(&self) -> std::collections::HashSet<PeerId> {
        self.entries.values().filter_map(|held| held.entry.relayed_for).collect()
    }

    /// Tells a peer who has come what it has not heard yet.
    pub(super) fn pass_on_all(&self, sender: PeerId) {
        let theirs = self.entries.iter().filter(|(_, held)| held.entry.relayed_for == Some(sender));
        theirs.for_each(|(&transfer, _)| self.pass_on(transfer));
    }
}

impl Handler<HeardWord> for Outbox {
    type Result = ();

    fn handle(&mut self, HeardWord { peer, transfer, what }: HeardWord, ctx: &mut Context<Self>) {
        let Some(transfer) = self.kept_for(peer, transfer) else { return };
        let Some(held) = self.entries.get_mut(&transfer).filter(|held| held.entry.is_unheard())
        else {
            return;
        };
        held.entry.heard = Some(what);
        held.account_for(&self.shared);
        if held.entry.is_unheard() || held.busy {
            // There is more to be said; or the record is being written, with or without this: at
            // worst it is said once more.
            return;
        }
        if what == WordKind::Failed {
            // They may send it again, so nothing of it may be in the way.
            return drop(self.remove(transfer, ctx));
        }
        held.busy = true;
        let record = held.record(transfer);
        self.write(record, ctx, move |outbox, written, ctx| {
            if let Err(error) = written {
                tracing::warn!(
                    %transfer, %error,
                    "the spool could not note that a word was heard: it will be said again"
                );
            }
            outbox.set_free(transfer, ctx);
        });
    }
}

impl Handler<AskedAgain> for Outbox {
    type Result = ();

    fn handle(&mut self, AskedAgain { sender, transfer }: AskedAgain, _: &mut Context<Self>) {
        let Some(kept) = self.kept_for(sender, transfer) else {
            return self.hub.do_send(ToSession(sender, SayPassed { transfer, word: gone() }));
        };
        if let Some(held) = self.entries.get_mut(&kept) {
            held.entry.heard = None;
            held.account_for(&self.shared);
            self.pass_on(kept);
        }
    }
}
