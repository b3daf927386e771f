//! A stored delivery, as the outbox holds it.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::super::coming::Room;
use super::super::shared::NodeShared;
use super::super::transfer::TransferState;
use super::Storing;
use super::entry::{OutboxEntry, OutboxState, TABLE};
use super::words::Said;
use crate::delivery::{Content, Failure, FailureKind, TransferId};
use crate::pipeline::Source;
use crate::store::Change;
use crate::wire::PeerId;

/// A delivery of this outbox.
pub(super) struct Held {
    pub(super) entry: OutboxEntry,
    pub(super) state: Arc<TransferState>,
    /// What was given with it, for the first try.
    pub(super) source: Option<(Box<dyn Source>, Content)>,
    /// A try is under way, or a change of the record.
    pub(super) busy: bool,
    /// A try is under way.
    pub(super) trying: bool,
    /// The last try.
    pub(super) tried: Option<Arc<TransferState>>,
    /// Whether it is stored yet; what happened to it meanwhile.
    pub(super) storing: Option<Storing>,
    /// Somebody wants it out. Shared with the try under way.
    pub(super) cancelled: Rc<Cell<bool>>,
    /// What was said of it while it was busy, and by whom: the last word, which holds the ones
    /// before.
    pub(super) said: Option<(PeerId, Said)>,
    /// It was a dead letter, and is tried again.
    pub(super) revived: bool,
    /// The room that its package or copy takes, charged to whose it is.
    pub(super) room: Option<Room>,
    /// The receiver may have it, and has not said so.
    pub(super) unsure: bool,
}

impl Held {
    pub(super) fn new(entry: OutboxEntry, state: Arc<TransferState>) -> Self {
        let (cancelled, storing) = (Rc::default(), None);
        Self {
            entry,
            state,
            source: None,
            busy: false,
            trying: false,
            tried: None,
            storing,
            cancelled,
            said: None,
            revived: false,
            room: None,
            unsure: false,
        }
    }

    /// Whether its receiver or a relay may have it, or it has ended.
    pub(super) fn may_be_elsewhere(&self) -> bool {
        let offered = match self.tried.as_ref().filter(|_| self.trying) {
            Some(tried) => tried.may_have_arrived(self.unsure),
            None => self.unsure,
        };
        offered || !matches!(self.entry.state, OutboxState::Stored)
    }

    /// Charges the room it takes to whose it is: after every change of its record.
    pub(super) fn account_for(&mut self, shared: &NodeShared) {
        let waits =
            self.entry.relayed_for.is_some() && (self.entry.is_open() || self.entry.is_unheard());
        let (bytes, files) = (self.entry.bytes(), u64::from(waits));
        match &mut self.room {
            Some(room) => room.set(bytes, files),
            None if bytes == 0 && files == 0 => {}
            None => {
                let whose = self.entry.relayed_for.unwrap_or(shared.peer());
                self.room = Some(Room::of(&shared.ledger.account(whose), bytes, files));
            }
        }
    }

    /// What is known of a delivery that is given up.
    pub(super) fn as_far_as_known(&mut self, state: OutboxState) -> OutboxState {
        let OutboxState::Dead { at, failure } = state else { return state };
        // What goes by a relay ends by its word, and lives no longer than its package.
        if !self.unsure || self.entry.is_package() || failure.kind == FailureKind::Integrity {
            return OutboxState::Dead { at, failure };
        }
        let text = format!(
            "{}; it was offered before, and the receiver did not say how that ended: it may have \
             it",
            failure.message
        );
        let unknown = Failure::new(FailureKind::Unknown, text);
        // Kept with the record, however it ended.
        self.entry.last_failure = Some(unknown.clone());
        OutboxState::Dead {
            at,
            failure: if failure.kind == FailureKind::Expired { unknown } else { failure },
        }
    }

    pub(super) fn record(&self, id: TransferId) -> io::Result<Change> {
        Ok(Change::Put { table: TABLE, key: id.as_bytes().to_vec(), value: self.entry.encode()? })
    }
}
