//! A package that has come whole: unpacked here, or kept for its receiver.

use std::sync::Arc;

use super::super::outbox::{
    Deposit, Expected, Given, Kept, OutboxEntry, OutboxError, OutboxState, carried_as,
};
use super::super::package::UnpackOrder;
use super::{PackageSink, open_inbox, refused, unread};
use crate::node::transfer::TransferState;
use crate::pipeline::{Codec, Committed, Enclosed, Priority, Refusal, SinkError, Summary};
use crate::store::now;
use crate::wire::package::PackageLabel;

impl PackageSink {
    pub(super) async fn finish(&mut self, summary: Summary) -> Result<Committed, SinkError> {
        let Some(file) = &self.file else {
            return Err(SinkError::Gone("the package was given up before".into()));
        };
        file.sync_all().map_err(|error| self.failed(error))?;
        let packages = self
            .shared
            .registry
            .packages_in_use()
            .map_err(|error| SinkError::Refused(Refusal::new(error)))?;
        let header = packages.header(&self.path).map_err(unread)?;
        let label = header.label().clone();
        self.check_label(&label)?;
        self.within.look(&header, &self.shared.identity);
        let committed = if label.receiver == self.shared.peer() {
            self.unpack().await?
        } else {
            self.keep(label, summary).await?
        };
        // Kept packages have been moved; what is left of others has no use.
        let _ = std::fs::remove_file(&self.path);
        (self.file, self.room) = (None, None);
        Ok(committed)
    }

    /// Opens a package for this node.
    async fn unpack(&self) -> Result<Committed, SinkError> {
        let packages = self
            .shared
            .registry
            .packages_in_use()
            .map_err(|error| SinkError::Refused(Refusal::new(error)))?;
        let header = packages.header(&self.path).map_err(unread)?;
        if header.open(&self.shared.identity).is_ok() {
            // It vouches for its sender: what was delivered before is answered with the same word.
            let PackageLabel { sender, transfer, .. } = *header.label();
            if let Some(arrival) = self.shared.remembered.arrival(sender, transfer) {
                let enclosed = Enclosed {
                    sender,
                    receipt: arrival.receipt.clone(),
                    processed_mac: *arrival.processed_mac.expose(),
                    inbox: arrival.inbox,
                    name: arrival.name,
                    transfer,
                    // It is remembered already, for as long as it has to be.
                    life: 0,
                };
                return Ok(Committed {
                    place: arrival.receipt.place,
                    files: arrival.receipt.files,
                    enclosed: Some(Box::new(enclosed)),
                    path: arrival.path,
                    ..Committed::default()
                });
            }
        }
        let order = UnpackOrder {
            file: self.path.clone(),
            identity: self.shared.identity.clone(),
            stages: self.shared.registry.stages().clone(),
            window: self.shared.config.window,
            now: now(),
            open_inbox: open_inbox(Arc::clone(&self.shared)),
        };
        let unpacked = packages.unpack(order).await.map_err(refused)?;
        let enclosed = Enclosed {
            sender: unpacked.sender,
            receipt: unpacked.receipt,
            processed_mac: unpacked.processed_mac,
            inbox: unpacked.inbox,
            name: unpacked.content.name.to_string(),
            transfer: unpacked.transfer,
            life: unpacked.life,
        };
        Ok(Committed { enclosed: Some(Box::new(enclosed)), ..unpacked.committed })
    }

    /// Keeps a package for another node, and delivers it there.
    async fn keep(
        &mut self,
        label: PackageLabel,
        summary: Summary,
    ) -> Result<Committed, SinkError> {
        // The same at each relay on its way: what comes back to one that has it goes no further.
        let (id, created) =
            (carried_as(label.sender, label.transfer), self.shared.clock.now().passed);
        let known_as = if label.sender == self.carrier { label.transfer } else { self.transfer };
        // By who made it, too: another sender's package of the same id has another file.
        let kept = self.path.with_file_name(format!("{}-{}.package", label.transfer, label.sender));
        let entry = OutboxEntry {
            peer: label.receiver,
            via: self.shared.ways.next(label.receiver),
            relayed_for: Some(self.carrier),
            inbox: String::new(),
            addresses: Vec::new(),
            token: None,
            content: Kept::Package {
                file: kept.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                bytes: summary.length,
            },
            expected: None::<Expected>,
            name: format!("a package of {}", label.sender.short()),
            length: Some(summary.length),
            chunk_size: None,
            codec: Some(Codec::RAW),
            stages: Vec::new(),
            created,
            expires: created + self.remaining.min(label.expires.saturating_sub(label.created)),
            tries: 0,
            state: OutboxState::Stored,
            last_failure: None,
            heard: None,
            packed_as: Some(known_as),
            pace: None,
            priority: Priority::Normal,
            elsewhere: None,
        };
        let state = Arc::new(TransferState::stored(id, label.receiver, None));
        // One that is kept already is not replaced: it was charged as it is.
        let given = Given::Moved(self.path.clone());
        let deposit = Deposit { id, entry, given, state, room: self.room.take() };
        let stored = self.outbox.send(deposit).await.unwrap_or(Err(OutboxError::None));
        if let Err(error) = stored {
            return match error {
                // It was kept before its word was: the same word again.
                OutboxError::Known(true) => {
                    Ok(Committed { place: "relay".into(), ..Committed::default() })
                }
                OutboxError::Known(false) => {
                    let text = "it is here already, brought by somebody else, or for another \
                                receiver: relays hand on in a circle, or two packages have one id";
                    Err(SinkError::Refused(Refusal::new(text)))
                }
                // Its quota, its disk, its end.
                error => Err(SinkError::Refused(Refusal::for_now(format!(
                    "the relay can't keep it: {error}"
                )))),
            };
        }
        Ok(Committed { place: "relay".into(), ..Committed::default() })
    }
}
