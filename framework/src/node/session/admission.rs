//! Looks whether what the peer offers may come, and says why not.

use std::time::Instant;

use super::Session;
use super::term::LIFE_MOST;
use crate::delivery::{ContentKind, Failure, FailureKind, Receipt, TransferKey};
use crate::node::config::NodeConfig;
use crate::node::ledger::Charge;
use crate::node::memory::{Arrival, RELAYED, delivery_key};
use crate::node::outbox::AskedAgain;
use crate::pipeline::Refusal;
use crate::wire::{Control, Opening};

impl Session {
    /// Answers for a delivery that is remembered.
    pub(super) fn deliver_again(&mut self, opening: &Opening, arrival: Arrival) {
        let Arrival { attempt, receipt, inbox, .. } = arrival;
        let key = TransferKey::from_bytes(*opening.key.expose());
        let mac = key.receipt(opening.transfer, opening.attempt, "delivered", &receipt.digest);
        tracing::info!(
            transfer = %opening.transfer, attempt,
            "offered again after it was delivered"
        );
        let processed =
            key.receipt(opening.transfer, opening.attempt, "processed", &receipt.digest);
        let is_package = opening.content.kind == ContentKind::Package;
        if !is_package {
            self.renew_proof(opening.transfer, processed);
        }
        if inbox == RELAYED
            && let Some(outbox) = &self.owner.outbox
        {
            outbox.do_send(AskedAgain { sender: self.peer, transfer: opening.transfer });
        }
        // A package that was kept for somebody else has no word in it yet.
        let enclosed = (is_package && inbox != RELAYED).then(|| receipt.clone());
        self.say(Control::Delivered {
            stream: opening.stream,
            receipt: Receipt { mac, ..receipt },
            enclosed,
        });
    }

    /// Does not take what is offered; `looked`: it is known that no earlier attempt has brought it.
    pub(super) fn reject(&mut self, stream: u64, failure: Failure, looked: bool) {
        // A relay has nobody else who would hear of it.
        if self.shared.config.relay.is_some() && self.refusals.is_due(Instant::now()) {
            let others = self.refusals.untold();
            tracing::warn!(
                peer = %self.name, reason = failure.message, others,
                "what a peer offered was refused"
            );
        } else {
            tracing::info!(peer = %self.name, reason = failure.message, "a delivery was refused");
        }
        self.say(match looked {
            true => Control::Fail { stream, failure },
            false => Control::Reject { stream, failure },
        });
    }

    pub(super) fn check(&self, opening: &Opening) -> Result<Charge, Failure> {
        let parity = if self.shared.peer() < self.peer { 1 } else { 0 };
        if opening.stream % 2 != parity || self.outgoing.contains_key(&opening.stream) {
            return refuse(
                FailureKind::Protocol,
                format!("stream {} is not the sender's to use", opening.stream),
            );
        }
        self.check_right(opening)?;
        self.check_chunks(opening)?;
        check_life(opening)?;
        let key = TransferKey::from_bytes(*opening.key.expose());
        if key.commitment(opening.suite) != opening.commit {
            return refuse(
                FailureKind::Integrity,
                "the key of the transfer is not the one committed to for its suite".into(),
            );
        }
        self.check_room()
    }

    /// Checks that the peer may deliver there.
    fn check_right(&self, opening: &Opening) -> Result<(), Failure> {
        let inbox = &opening.inbox;
        let is_package = opening.content.kind == ContentKind::Package;
        // What is in a package is decided about when it is opened; that it is carried at all, by
        // whom this node trusts.
        let admitted = self.shared.trust.admission(&self.peer, (!is_package).then_some(inbox));
        admitted.map_err(|barred| {
            barred.failure(|| match is_package {
                true => "this peer is not trusted here; ask for a ticket".into(),
                false => {
                    format!("this peer may not deliver to {inbox:?}; ask its owner for a ticket")
                }
            })
        })?;
        if !is_package && self.shared.directory.inbox(inbox).is_none() {
            // It may have begun to come before a restart.
            let had_begun = self.shared.partials.has(&delivery_key(self.peer, opening.transfer));
            return Err(Refusal::no_inbox(inbox, had_begun).into());
        }
        Ok(())
    }

    /// Checks that what was done to the chunks can be undone here.
    fn check_chunks(&self, opening: &Opening) -> Result<(), Failure> {
        if !NodeConfig::chunk_size_is_valid(opening.chunk_size) {
            return refuse(
                FailureKind::Protocol,
                format!(
                    "a chunk size of {} is not a power of two from 1 KiB to 4 MiB",
                    opening.chunk_size
                ),
            );
        }
        if opening.chunk_size as usize > self.shared.config.window / 2 {
            let most = self.shared.config.window / 2;
            return refuse(
                FailureKind::Refused,
                format!(
                    "chunks of {} bytes are too large here, {most} is the most",
                    opening.chunk_size
                ),
            );
        }
        let registry = &self.shared.registry;
        let known = registry.stages().named_codec(&opening.stages).and_then(|(coders, _)| {
            registry.stages().receiving(coders, opening.suite)?;
            registry.stages().growth(coders, opening.chunk_size)
        });
        if let Err(error) = known {
            return refuse(
                FailureKind::Stage,
                format!(
                    "the receiver can't undo what was done to the chunks: {}",
                    error.to_sender()
                ),
            );
        }
        Ok(())
    }

    /// Checks that the node takes one more delivery, and keeps a place for the memory of it.
    fn check_room(&self) -> Result<Charge, Failure> {
        if !self.draining.is_empty() {
            return refuse(FailureKind::Shutdown, "the receiver is shutting down".into());
        }
        if self.closing || self.incoming.len() >= self.shared.config.transfers_per_peer {
            return refuse(
                FailureKind::Busy,
                format!("{} deliveries of this peer are under way already", self.incoming.len()),
            );
        }
        if let Some(why) = self.shared.spool.as_ref().and_then(|spool| spool.failure()) {
            return refuse(
                FailureKind::Busy,
                format!(
                    "the receiver's spool has failed, it takes nothing until it is started again: \
                     {why}"
                ),
            );
        }
        self.shared.remembered.reserve(self.peer, self.shared.clock.now()).map_err(|full| {
            let text = format!(
                "the receiver remembers as many deliveries as it may, until some expire: {full}; \
                 try again later"
            );
            Failure::new(FailureKind::Busy, text)
        })
    }
}

/// Checks that the delivery is still worth making, by the sender's word.
fn check_life(opening: &Opening) -> Result<(), Failure> {
    // By the sender's own word alone: what the clock of this node says is no reason, since it
    // may be wrong.
    if opening.remaining == 0 {
        return refuse(FailureKind::Expired, "the delivery has expired".into());
    }
    if opening.remaining > LIFE_MOST {
        let text = format!(
            "the delivery is to live for {} seconds more, {LIFE_MOST} is the most",
            opening.remaining
        );
        return refuse(FailureKind::Refused, text);
    }
    Ok(())
}

fn refuse<T>(kind: FailureKind, text: String) -> Result<T, Failure> {
    Err(Failure::new(kind, text))
}
