//! Words about deliveries that are over: that the receiving application is done with one.
//!
//! Each is durable where it comes from, and said on each new link until it is durable where it goes.

use std::sync::Arc;

use actix::{Context, Handler};

use super::Session;
use super::signals::{Noted, SayPassed, SayProcessed};
use crate::delivery::{Receipt, TransferId};
use crate::node::hub::{HeardWord, PassedWord, ProcessedWord};
use crate::node::memory::{Arrival, Processed};
use crate::wire::Control;

impl Session {
    /// Says what the peer has not heard yet.
    pub(super) fn say_words(&mut self) {
        for (transfer, mac) in self.shared.remembered.unheard(self.peer) {
            self.say(Control::Processed { transfer, mac });
        }
    }

    /// The application at the peer is done with something that was sent from here: the outbox knows what.
    pub(super) fn on_processed(&mut self, transfer: TransferId, mac: [u8; 32]) {
        self.hub.do_send(ProcessedWord { peer: self.peer, transfer, mac });
    }

    /// A relay tells what the receiver of a package has said.
    pub(super) fn on_passed(&mut self, transfer: TransferId, receipt: Receipt) {
        self.hub.do_send(PassedWord { peer: self.peer, transfer, receipt });
    }

    /// The peer has noted the word.
    pub(super) fn on_heard(&mut self, transfer: TransferId) {
        self.hub.do_send(HeardWord { peer: self.peer, transfer });
        // Said again and again, it is noted once.
        if self.shared.remembered.arrival(self.peer, transfer).is_some_and(|arrival| arrival.processed == Processed::Unheard) {
            self.change_arrival(transfer, |arrival| arrival.processed = Processed::Heard);
        }
    }

    /// The sender asks under another key: later words must be proved under that one.
    pub(super) fn renew_proof(&mut self, transfer: TransferId, mac: [u8; 32]) {
        self.change_arrival(transfer, move |arrival| arrival.processed_mac = mac.into());
    }

    /// The peer is not listened to before it is durable: it can't have more written than the disk takes.
    fn change_arrival(&mut self, transfer: TransferId, change: impl FnOnce(&mut Arrival) + Send + 'static) {
        let (shared, peer) = (Arc::clone(&self.shared), self.peer);
        self.passed_on.push(Box::pin(async move {
            let changed = tokio::task::spawn_blocking(move || shared.remembered.change(peer, transfer, change)).await;
            if let Err(error) = changed.map_err(std::io::Error::other).and_then(|changed| changed) {
                tracing::error!(%transfer, %error, "the spool could not note a word about a delivery");
            }
        }));
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

    fn handle(&mut self, SayPassed { transfer, receipt }: SayPassed, _: &mut Context<Self>) {
        self.say(Control::Passed { transfer, receipt });
    }
}

impl Handler<Noted> for Session {
    type Result = ();

    fn handle(&mut self, Noted { transfer }: Noted, _: &mut Context<Self>) {
        self.say(Control::Heard { transfer });
    }
}
