//! Words about deliveries that are over: that the receiving application is done with one.
//!
//! Each is durable where it comes from, and said on each new link until it is durable where it
//! goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Context, Handler};

use super::Session;
use super::signals::DialOnce;
use crate::delivery::TransferId;
use crate::node::blocking::surely;
use crate::node::memory::{Arrival, Processed};
use crate::node::outbox::{PeerSaid, PeerWord};
use crate::node::sessions::{Noted, SayPassed, SayProcessed};
use crate::wire::{Control, PeerId, Word, WordKind};

/// The time between two warnings of what one peer is refused.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Refusals of a peer: warned of now and then, so that nobody fills a log.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    last: Option<Instant>,
    untold: u64,
}

impl Refusals {
    /// Returns `true` if it is time to warn of one; else it is counted.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= WARN_EVERY);
        if due {
            self.last = Some(now)
        } else {
            self.untold += 1
        }
        due
    }

    /// Takes the number of those that nobody was warned of.
    pub(super) fn untold(&mut self) -> u64 {
        std::mem::take(&mut self.untold)
    }
}

impl Session {
    /// Says what the peer has not heard yet.
    pub(super) fn say_words(&mut self) {
        for (transfer, mac) in self.shared.remembered.unheard(self.peer) {
            self.say(Control::Processed { transfer, mac });
        }
    }

    /// Gives the outbox a word of the peer.
    fn pass_on(&self, transfer: TransferId, said: PeerSaid) {
        self.owner.words.do_send(PeerWord { peer: self.peer, transfer, said });
    }

    /// The application at the peer is done with something that was sent from here: the outbox knows
    /// what.
    pub(super) fn on_processed(&mut self, transfer: TransferId, mac: [u8; 32]) {
        self.pass_on(transfer, PeerSaid::Processed(mac));
    }

    /// A relay tells what has become of a package.
    pub(super) fn on_passed(&mut self, transfer: TransferId, word: Word) {
        self.pass_on(transfer, PeerSaid::Passed(word));
    }

    /// The peer has noted the word.
    pub(super) fn on_heard(&mut self, transfer: TransferId, what: WordKind) {
        self.pass_on(transfer, PeerSaid::Heard(what));
        match what {
            WordKind::Delivered => return,
            WordKind::Failed => return self.forget_relayed(transfer),
            WordKind::Processed => {}
        }
        let arrival = |sender, transfer| self.shared.remembered.arrival(sender, transfer);
        // A relay hears it for who packed it.
        let carried = arrival(self.peer, transfer)
            .and_then(|carried| Some((carried.packed_by?, carried.elsewhere.unwrap_or(transfer))));
        let (sender, transfer) = carried.unwrap_or((self.peer, transfer));
        // Said again and again, it is noted once.
        if arrival(sender, transfer).is_some_and(|arrival| arrival.processed == Processed::Unheard)
        {
            self.change_arrival(sender, transfer, |arrival| arrival.processed = Processed::Heard);
        }
    }

    /// The peer knows that its package was given up here: it may send it again at once.
    fn forget_relayed(&mut self, transfer: TransferId) {
        if self.shared.remembered.forget_relayed(self.peer, transfer) {
            let (shared, peer) = (Arc::clone(&self.shared), self.peer);
            self.on_disk(transfer, move || shared.remembered.remove_record(peer, transfer));
        }
    }

    /// The sender asks under another key: later words must be proved under that one.
    pub(super) fn renew_proof(&mut self, transfer: TransferId, mac: [u8; 32]) {
        self.change_arrival(self.peer, transfer, move |arrival| arrival.processed_mac = mac.into());
    }

    fn change_arrival(
        &mut self,
        peer: PeerId,
        transfer: TransferId,
        change: impl FnOnce(&mut Arrival) + Send + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        self.on_disk(transfer, move || shared.remembered.change(peer, transfer, change).map(drop));
    }

    /// Notes a word where that may block. The peer is not listened to before it is durable: it
    /// can't have more written than the disk takes.
    fn on_disk(
        &mut self,
        transfer: TransferId,
        write: impl FnOnce() -> std::io::Result<()> + Send + 'static,
    ) {
        self.passed_on.push(Box::pin(async move {
            let written = surely(write).await;
            if let Err(error) = written.map_err(std::io::Error::other).and_then(|written| written) {
                tracing::error!(
                    %transfer, %error,
                    "the spool could not note a word about a delivery"
                );
            }
        }));
    }
}

impl Handler<DialOnce> for Session {
    type Result = ();

    fn handle(&mut self, _: DialOnce, ctx: &mut Context<Self>) {
        self.heard += 1;
        self.ensure_link(ctx);
    }
}

impl Handler<SayProcessed> for Session {
    type Result = ();

    fn handle(&mut self, SayProcessed { transfer, mac }: SayProcessed, _: &mut Context<Self>) {
        self.say(Control::Processed { transfer, mac });
    }
}

impl Handler<SayPassed> for Session {
    type Result = ();

    fn handle(&mut self, SayPassed { transfer, word }: SayPassed, _: &mut Context<Self>) {
        // Without a link nobody hears it; it is said again on the next one.
        let features = self.link.as_ref().map_or(0, |link| link.features);
        self.say(Control::Passed { transfer, word: word.understood(features) });
    }
}

impl Handler<Noted> for Session {
    type Result = ();

    fn handle(&mut self, Noted { transfer, what }: Noted, _: &mut Context<Self>) {
        self.say(Control::Heard { transfer, what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_refused_again_and_again_is_warned_of_once_in_a_while_and_counted() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());
        assert!(refusals.is_due(begun));
        assert!((1..60).all(|second| !refusals.is_due(begun + Duration::from_secs(second))));
        assert!(refusals.is_due(begun + WARN_EVERY));
        assert_eq!((refusals.untold(), refusals.untold()), (59, 0));
    }
}
