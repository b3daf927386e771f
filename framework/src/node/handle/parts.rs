//! Deliveries whose content is in the spool's folder already: a copy that somebody else has made
//! there, part by part.
//!
//! Invariant: such a copy is touched by the outbox only when its delivery is over, or was taken
//! out. What could not be stored is left as it is.

use std::path::Path;

use super::OutboxHandle;
use super::error::SendError;
use super::sending::{Destination, NewDelivery, check, in_the_spool};
use crate::delivery::{Content, TransferId};
use crate::node::SendOptions;
use crate::node::outbox::{Given, Kept, PARTS};
use crate::pipeline::Source;
use crate::wire::Suite;
use crate::wire::copy::{CopyError, CopyHeader};

impl<'a> OutboxHandle<'a> {
    /// The folder of the spool, if that has one.
    pub fn spool_folder(self) -> Option<&'a Path> {
        self.0.shared().spool.as_ref().and_then(|spool| spool.folder())
    }

    /// The name of the folder in [`spool_folder`](Self::spool_folder) for a copy in parts that is
    /// delivered by this id. What has such a name there is not removed at a start.
    pub fn parts_name(id: TransferId) -> String {
        format!("{id}{PARTS}")
    }

    /// The id that such a folder belongs to.
    pub fn parts_id(name: &str) -> Option<TransferId> {
        name.strip_suffix(PARTS)?.parse().ok()
    }

    /// The most bytes of content that wait in it, as copies and packages
    /// ([`NodeConfig::outbox_bytes`](crate::NodeConfig::outbox_bytes)).
    pub fn bytes_limit(self) -> u64 {
        self.0.shared().config.outbox_bytes
    }

    /// The header of a part of a copy that only this node opens; its content is sealed in pieces
    /// of `piece_size` bytes.
    ///
    /// # Errors
    /// The description does not fit into a header: its name is too long.
    pub fn part_header(
        self,
        id: TransferId,
        piece_size: u32,
        content: Content,
    ) -> Result<CopyHeader, CopyError> {
        let identity = &self.0.shared().identity;
        CopyHeader::seal(identity, id, Suite::XSALSA20_POLY1305, piece_size, content)
    }

    /// Stores a delivery whose content is a copy in parts, whole, in the folder
    /// [`parts_name`](Self::parts_name) of the spool, by that id; returns when it is stored.
    /// Nothing is copied again. The folder is the outbox's from then on, and removed by it, for
    /// which it first removes the file `note` in it, durably, before the record of the delivery
    /// goes: a folder without a record that has no `note` was sent. Where this fails the folder is
    /// left as it is.
    ///
    /// # Errors
    /// [`SendError::NoCopies`] without a spool that has a folder;
    /// [`OutboxError::Known`](crate::node::OutboxError::Known), if it is stored already.
    pub async fn send_parts(
        self,
        to: impl Into<Destination>,
        id: TransferId,
    ) -> Result<(), SendError> {
        let shared = self.0.shared();
        let Some(outbox) = self.0.0.outbox.as_ref().filter(|_| self.spool_folder().is_some())
        else {
            return Err(SendError::NoCopies);
        };
        let (peer, inbox, hints) = self.0.resolve(to.into())?;
        if peer == shared.identity.peer() {
            return Err(SendError::ThisNode(peer));
        }
        let options = SendOptions { copy: true, id: Some(id), ..SendOptions::default() };
        check(shared, &options)?;
        let copies = shared.registry.copies_in_use()?;
        let (file, identity) = (Self::parts_name(id), shared.identity.clone());
        let path = in_the_spool(shared, &file);
        let opened = crate::node::blocking(move || {
            let source = copies.open(&path, &identity)?;
            Ok::<_, crate::pipeline::SourceError>(source.content())
        });
        let content = opened.await.map_err(SendError::Thread)?;
        let content = content.map_err(|error| SendError::Parts(error.to_string()))?;
        let life = shared.config.expiry;
        let bytes = content.length.unwrap_or(0);
        let delivery = NewDelivery { id, peer, inbox, hints, content, options, life };
        let mut entry = delivery.entry(shared, Kept::Copy { file, bytes });
        entry.tries = 0;
        self.0.deposit(outbox, entry, Given::Nothing, delivery.stored()).await.map(drop)
    }
}
