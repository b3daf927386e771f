//! Packages on their way through others: what a relay tells who packed one, and what that one makes of it.
//!
//! The receiver's word about a package travels back through the relay. It is durable at the relay before it is said, and said
//! on each new link until it is durable where it belongs; the relay can't make it up.

use actix::{Context, Handler};

use super::{Outbox, OutboxState};
use crate::delivery::{Receipt, TransferId};
use crate::node::hub::{HeardWord, PassedWord, ToSession};
use crate::node::session::signals::{Noted, SayPassed};
use crate::node::trust::now;
use crate::wire::PeerId;

impl Outbox {
    /// Tells who packed a package that its receiver has it, if they are here.
    pub(super) fn pass_on(&self, transfer: TransferId) {
        let Some(held) = self.entries.get(&transfer) else { return };
        if let (Some(sender), OutboxState::Delivered { receipt, .. }, false) = (held.entry.relayed_for, &held.entry.state, held.entry.heard)
        {
            self.hub.do_send(ToSession(sender, SayPassed { transfer, receipt: receipt.clone() }));
        }
    }

    /// Tells a peer who has come what it has not heard yet.
    pub(super) fn pass_on_all(&self, sender: PeerId) {
        let theirs = self.entries.iter().filter(|(_, held)| held.entry.relayed_for == Some(sender));
        theirs.for_each(|(&transfer, _)| self.pass_on(transfer));
    }

    /// Whether the relay's word is that of the receiver; `None` if that can't matter any more.
    fn recognise(&self, relay: PeerId, transfer: TransferId, receipt: &Receipt) -> Option<bool> {
        let held = self.entries.get(&transfer).filter(|held| held.entry.via == Some(relay) && held.entry.is_open())?;
        Some(held.entry.expected.is_some_and(|expected| expected.recognises(receipt)))
    }
}

impl Handler<PassedWord> for Outbox {
    type Result = ();

    fn handle(&mut self, PassedWord { peer, transfer, receipt }: PassedWord, ctx: &mut Context<Self>) {
        match self.recognise(peer, transfer, &receipt) {
            None => self.hub.do_send(ToSession(peer, Noted { transfer })),
            Some(false) => tracing::warn!(%transfer, relay = %peer, "a relay says that a package was delivered, and can't prove it"),
            Some(true) => {
                let Some(held) = self.entries.get(&transfer) else { return };
                let proof = held.entry.expected.map_or([0; 32], |expected| expected.processed_mac);
                self.schedule.withdraw(peer, held.entry.created, transfer);
                self.conclude(transfer, OutboxState::Delivered { at: now(), receipt, proof }, ctx);
                // Said again if this process dies before it is noted: then nobody has heard it.
                self.hub.do_send(ToSession(peer, Noted { transfer }));
            }
        }
    }
}

impl Handler<HeardWord> for Outbox {
    type Result = ();

    fn handle(&mut self, HeardWord { peer, transfer }: HeardWord, ctx: &mut Context<Self>) {
        let Some(held) = self.entries.get_mut(&transfer).filter(|held| held.entry.relayed_for == Some(peer) && !held.entry.is_open())
        else {
            return;
        };
        held.entry.heard = true;
        let record = held.record(transfer);
        self.write(record, ctx, move |_, written, _| {
            if let Err(error) = written {
                tracing::warn!(%transfer, %error, "the spool could not note that a word was heard: it will be said again");
            }
        });
    }
}
