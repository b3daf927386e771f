//! Words about deliveries in this outbox: from their receivers, or from relays that pass them on.

use actix::{Context, Handler, Message};

use super::Outbox;
use super::stored::Said;
use crate::delivery::{Failure, TransferId};
use crate::node::sessions::Noted;
use crate::wire::{PeerId, Word, WordKind};

/// A word of a peer about a delivery.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct PeerWord {
    pub(crate) peer: PeerId,
    pub(crate) transfer: TransferId,
    pub(crate) said: PeerSaid,
}

/// The words of peers.
#[derive(Debug)]
pub(crate) enum PeerSaid {
    /// Its application is done with a delivery from here; the MAC proves it.
    Processed([u8; 32]),
    /// It is a relay, and tells what has become of a package.
    Passed(Word),
    /// It has noted a word of this node.
    Heard(WordKind),
}

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
            None => self.sessions.noted(peer, Noted { transfer, what: said.kind() }),
        }
    }

    /// A failure is the relay's word, and says so.
    fn named(&self, relay: PeerId, word: Word) -> Word {
        let (Word::Failed(failure) | Word::Lapsed(failure)) = &word else { return word };
        let name = self.shared.trust.peer(&relay).map_or_else(|| relay.short(), |peer| peer.name);
        let text = format!("the relay {name} gave it up: {failure}");
        let named = Failure::new(failure.kind, text);
        match word {
            Word::Lapsed(_) => Word::Lapsed(named),
            _ => Word::Failed(named),
        }
    }
}

impl Handler<PeerWord> for Outbox {
    type Result = ();

    fn handle(&mut self, PeerWord { peer, transfer, said }: PeerWord, ctx: &mut Context<Self>) {
        match said {
            PeerSaid::Processed(mac) => self.hear(peer, transfer, Said::Processed(mac), ctx),
            PeerSaid::Passed(word) => {
                let word = self.named(peer, word);
                self.hear(peer, transfer, Said::Passed(word), ctx);
            }
            PeerSaid::Heard(what) => self.heard(peer, transfer, what, ctx),
        }
    }
}
