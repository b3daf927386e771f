//! Custody of a chunk on its way.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::super::{Credit, Slot};
use super::{Fault, Lost, Signal, Transfer};
use crate::delivery::KeyScope;
use crate::wire::FailureKind;

/// The custody of a chunk on its way: who answers for it. It travels with the chunk through every
/// mailbox; clones share it.
///
/// When the last clone is dropped and the chunk neither finished nor failed, the owner of the
/// transfer hears that it was lost.
#[derive(Clone)]
pub struct Custody(Arc<Held>);

struct Held {
    transfer: Arc<Transfer>,
    index: u64,
    /// Bytes of content; known at the sending end only.
    length: u64,
    trailer: bool,
    /// Its content has passed all stages before the seal.
    ready: bool,
    lane: Option<u16>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Held for its drop.
    _credit: Option<Credit>,
    slot: Option<Slot>,
    again: Option<Bytes>,
    stage: Option<Arc<str>>,
    over: bool,
    sealed: bool,
    /// The reason that it failed.
    failure: Option<String>,
}

impl Custody {
    /// Custody of a chunk that is about to be sent.
    pub fn outgoing(
        transfer: &Arc<Transfer>,
        index: u64,
        length: u64,
        credit: Option<Credit>,
    ) -> Self {
        Self::of_content(transfer, index, length, credit, false)
    }

    /// Custody of a chunk that has only to be sealed: it passes the stages before that as it is.
    pub fn ready(
        transfer: &Arc<Transfer>,
        index: u64,
        length: u64,
        credit: Option<Credit>,
    ) -> Self {
        Self::of_content(transfer, index, length, credit, true)
    }

    fn of_content(
        transfer: &Arc<Transfer>,
        index: u64,
        length: u64,
        credit: Option<Credit>,
        ready: bool,
    ) -> Self {
        let state = State { _credit: credit, ..State::default() };
        Self(Arc::new(Held {
            transfer: Arc::clone(transfer),
            index,
            length,
            trailer: false,
            ready,
            lane: None,
            state: Mutex::new(state),
        }))
    }

    /// Custody of the trailer, whose index is the number of chunks.
    pub fn trailer(transfer: &Arc<Transfer>, index: u64) -> Self {
        transfer.cut.store(true, Ordering::Relaxed);
        Self(Arc::new(Held {
            transfer: Arc::clone(transfer),
            index,
            length: 0,
            trailer: true,
            ready: false,
            lane: None,
            state: Mutex::default(),
        }))
    }

    /// Custody of a chunk that came by a lane.
    pub fn incoming(
        transfer: &Arc<Transfer>,
        index: u64,
        trailer: bool,
        lane: Option<u16>,
    ) -> Self {
        Self(Arc::new(Held {
            transfer: Arc::clone(transfer),
            index,
            length: 0,
            trailer,
            ready: false,
            lane,
            state: Mutex::default(),
        }))
    }

    /// The transfer the chunk belongs to.
    pub fn transfer(&self) -> &Arc<Transfer> {
        &self.0.transfer
    }

    /// The chunk's index; for the trailer the number of chunks.
    pub fn index(&self) -> u64 {
        self.0.index
    }

    /// Bytes of content in it, at the sending end.
    pub fn content_length(&self) -> u64 {
        self.0.length
    }

    /// Returns whether it is the trailer.
    pub fn is_trailer(&self) -> bool {
        self.0.trailer
    }

    /// Returns whether it has only to be sealed.
    pub fn is_ready(&self) -> bool {
        self.0.ready
    }

    /// A stage has the chunk now.
    pub fn enter(&self, stage: &Arc<str>) {
        self.state().stage = Some(Arc::clone(stage));
    }

    /// Keeps the chunk as it was cut, so that it can be made again if a stage dies with it.
    pub fn keep(&self, content: Bytes) {
        self.state().again = Some(content);
    }

    /// The chunk is sealed: it is not made again within this attempt, and its source buffer is
    /// free. False, if it was sealed before: what comes now would be under the same key and nonce
    /// as other bytes, and must not leave.
    #[must_use]
    pub fn sealed(&self) -> bool {
        let mut state = self.state();
        state.again = None;
        !std::mem::replace(&mut state.sealed, true)
    }

    /// The chunk has this place among the stages.
    pub fn hold_slot(&self, slot: Slot) {
        self.state().slot = Some(slot);
    }

    /// The chunk has left the stages: another may enter them.
    pub fn leave_stages(&self) {
        self.state().slot = None;
    }

    /// The other side or the sink has the chunk, `bytes` of content. Its credit is free.
    pub fn finish(&self, bytes: u64) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.over, true) {
            *state = State { over: true, sealed: state.sealed, ..State::default() };
            drop(state);
            self.0.transfer.done_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// The chunk can't go on. The owner of its transfer hears why.
    pub fn fail(&self, kind: FailureKind, message: impl Into<String>) {
        let mut state = self.state();
        if std::mem::replace(&mut state.over, true) {
            return;
        }
        let (stage, message) = (state.stage.clone(), message.into());
        let (sealed, failure) = (state.sealed, Some(message.clone()));
        *state = State { over: true, sealed, failure, ..State::default() };
        drop(state);
        let KeyScope { attempt, .. } = self.0.transfer.scope;
        let Held { ref transfer, index, trailer, lane, .. } = *self.0;
        let fault =
            Fault { stream: transfer.stream, attempt, index, trailer, stage, lane, kind, message };
        transfer.signal(Signal::Fault(fault));
    }

    /// Returns the reason that the chunk [can't go on](Self::fail), for whoever must know at once.
    pub(crate) fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !state.over {
            self.transfer.signal(Signal::Lost(Lost {
                stream: self.transfer.stream,
                attempt: self.transfer.scope.attempt,
                index: self.index,
                trailer: self.trailer,
                ready: self.ready,
                stage: state.stage.take(),
                panicked: std::thread::panicking(),
                again: state.again.take(),
            }));
        }
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Custody({}#{})", self.0.transfer.scope.transfer, self.0.index)
    }
}
