//! A stored delivery, as the outbox holds it: what is decided about it, and what that is carried
//! out with.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::coming::Room;
use super::super::reading::Seat;
use super::super::shared::NodeShared;
use super::super::transfer::TransferState;
use super::entry::{OutboxEntry, TABLE};
use super::error::OutboxError;
use super::stored::Stored;
use crate::delivery::{Content, TransferId};
use crate::pipeline::Source;
use crate::store::Change;

/// Whoever wants it stored.
type Answer = oneshot::Sender<Result<(), OutboxError>>;

/// A delivery of this outbox.
pub(super) struct Held {
    pub(super) stored: Stored,
    pub(super) state: Arc<TransferState>,
    /// Set if an earlier process has stored it.
    pub(super) is_loaded: bool,
    /// The source that was given with it, for the first try.
    pub(super) source: Option<(Box<dyn Source>, Content)>,
    /// Its part in a content that others may send at the same time, until its first try.
    pub(super) seat: Option<Seat>,
    /// The try under way.
    pub(super) tried: Option<Arc<TransferState>>,
    /// Somebody wants it out. Shared with the try under way.
    pub(super) cancelled: Rc<Cell<bool>>,
    /// Set if it is recalled, and no failure.
    pub(super) recalled: bool,
    /// Has what is done before the record is written given up.
    pub(super) stop: Option<oneshot::Sender<()>>,
    /// Whoever gave it, while it is being stored, and why it can't be.
    pub(super) giver: Option<Answer>,
    pub(super) unstored: Option<OutboxError>,
    /// Whoever waits for the change that is being written.
    pub(super) asked: Option<oneshot::Sender<io::Result<()>>>,
    /// The room that its package or copy takes, charged to whose it is.
    pub(super) room: Option<Room>,
}

impl Held {
    pub(super) fn new(stored: Stored, state: Arc<TransferState>) -> Self {
        Self {
            stored,
            state,
            is_loaded: false,
            source: None,
            seat: None,
            tried: None,
            cancelled: Rc::default(),
            recalled: false,
            stop: None,
            giver: None,
            unstored: None,
            asked: None,
            room: None,
        }
    }

    pub(super) fn entry(&self) -> &OutboxEntry {
        &self.stored.entry
    }

    /// Returns `true` if its receiver or a relay may have it, as far as tries tell.
    pub(super) fn is_offered(&self) -> bool {
        let unsure = self.stored.is_unsure();
        self.entry().elsewhere.is_some()
            || self.tried.as_ref().map_or(unsure, |tried| tried.is_offered(unsure))
    }

    /// Charges the room it takes to whose it is: after every change of its record.
    pub(super) fn account_for(&mut self, shared: &NodeShared) {
        let entry = &self.stored.entry;
        let waits = entry.relayed_for.is_some() && (entry.is_open() || entry.is_unheard());
        let (bytes, files) = (entry.bytes(), u64::from(waits));
        match &mut self.room {
            Some(room) => room.set(bytes, files),
            None if bytes == 0 && files == 0 => {}
            None => {
                let whose = entry.relayed_for.unwrap_or(shared.peer());
                self.room = Some(Room::of(&shared.ledger.account(whose), bytes, files));
            }
        }
    }

    pub(super) fn record(&self, id: TransferId) -> io::Result<Change> {
        record(id, self.entry())
    }
}

/// A record as it is written.
pub(super) fn record(id: TransferId, entry: &OutboxEntry) -> io::Result<Change> {
    Ok(Change::Put { table: TABLE, key: id.as_bytes().to_vec(), value: entry.encode()? })
}
