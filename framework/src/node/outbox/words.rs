//! Words about deliveries in this outbox: from their receivers, or from relays that pass them on.

use actix::{Context, Handler};

use super::Outbox;
use super::stored::Said;
use crate::delivery::{Failure, TransferId};
use crate::node::hub::{PassedWord, ProcessedWord, ToSession};
use crate::node::session::signals::Noted;
use crate::wire::{PeerId, Word};

impl Outbox {
    /// Takes a word of `peer` in.
    fn hear(&mut self, peer: PeerId, transfer: TransferId, said: Said, ctx: &mut Context<Self>) {
        let at = self.at();
        match self.entries.get_mut(&transfer) {
            Some(held) => {
                let actions = held.stored.hear(peer, said, at);
                self.carry_out(transfer, actions, ctx);
            }
            // What is forgotten need not be said again.
            None => self.hub.do_send(ToSession(peer, Noted { transfer, what: said.kind() })),
        }
    }

    /// A failure is the relay's word, and says so.
    fn named(&self, relay: PeerId, word: Word) -> Word {
        let Word::Failed(failure) = word else { return word };
        let name = self.shared.trust.peer(&relay).map_or_else(|| relay.short(), |peer| peer.name);
        let text = format!("the relay {name} gave it up: {failure}");
        Word::Failed(Failure::new(failure.kind, text))
    }
}

impl Handler<ProcessedWord> for Outbox {
    type Result = ();

    fn handle(
        &mut self,
        ProcessedWord { peer, transfer, mac }: ProcessedWord,
        ctx: &mut Context<Self>,
    ) {
        self.hear(peer, transfer, Said::Processed(mac), ctx);
    }
}

impl Handler<PassedWord> for Outbox {
    type Result = ();

    fn handle(&mut self, PassedWord { peer, transfer, word }: PassedWord, ctx: &mut Context<Self>) {
        let word = self.named(peer, word);
        self.hear(peer, transfer, Said::Passed(word), ctx);
    }
}
