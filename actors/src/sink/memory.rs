//! An inbox that hands whole deliveries over in memory.
//!
//! Invariant: at most `waiting` deliveries of `limit` bytes each are held, those under way
//! included.

use bytes::{Bytes, BytesMut};
use estafette::pipeline::{Committed, Inbox, Offer, Placement, Refusal, Sink, SinkError, Summary};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{OwnedPermit, Receiver, Sender, channel};

use super::errors::closed;

/// A delivery that arrived complete and verified.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The offer that the sender made.
    pub offer: Offer,
    /// All of its bytes; for a tree, the tree stream.
    pub bytes: Bytes,
}

/// Gives each delivery a [`MemorySink`]. Made by [`MemorySink::channel`].
#[derive(Clone, Debug)]
pub struct MemoryInbox {
    limit: u64,
    sender: Sender<Delivered>,
}

/// Collects one delivery in memory.
#[derive(Debug)]
pub struct MemorySink {
    limit: u64,
    bytes: BytesMut,
    room: Option<(Offer, OwnedPermit<Delivered>)>,
}

impl MemorySink {
    /// An inbox for deliveries of up to `limit` bytes, and where they come out.
    ///
    /// At most `waiting` of them (one, if 0 is given) are under way or wait to be received: the
    /// next is refused, so memory is bounded by `limit × waiting`.
    pub fn channel(limit: u64, waiting: usize) -> (MemoryInbox, Receiver<Delivered>) {
        let (sender, receiver) = channel(waiting.max(1));
        (MemoryInbox { limit, sender }, receiver)
    }

    fn append(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let held = self.bytes.len() as u64;
        if offset != held {
            return Err(SinkError::Refused(Refusal::new(format!(
                "bytes at {offset} came when those at {held} were due"
            ))));
        }
        check(held.saturating_add(bytes.len() as u64), self.limit).map_err(SinkError::Refused)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Inbox for MemoryInbox {
    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        check(offer.content.length.unwrap_or(0), self.limit)?;
        let permit = self.sender.clone().try_reserve_owned().map_err(|error| match error {
            TrySendError::Full(_) => Refusal::for_now(
                "as many deliveries as the receiver holds are waiting there already; send again \
                 later",
            ),
            TrySendError::Closed(_) => {
                Refusal::for_now("the program behind this inbox takes no more deliveries")
            }
        })?;
        Ok(Box::new(MemorySink {
            limit: self.limit,
            bytes: BytesMut::new(),
            room: Some((offer.clone(), permit)),
        }))
    }
}

impl Sink for MemorySink {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(
        &'a mut self,
        offset: u64,
        bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(std::future::ready(self.append(offset, bytes)))
    }

    fn commit<'a>(
        &'a mut self,
        _summary: &'a Summary,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        let committed = match self.room.take() {
            Some((offer, permit)) => {
                permit.send(Delivered { offer, bytes: self.bytes.split().freeze() });
                Ok(Committed::default())
            }
            None => Err(closed()),
        };
        Box::pin(std::future::ready(committed))
    }

    fn abort(&mut self, _reason: &str) {
        self.room = None;
        self.bytes = BytesMut::new();
    }
}

fn check(length: u64, limit: u64) -> Result<(), Refusal> {
    if length <= limit {
        return Ok(());
    }
    Err(Refusal::new(format!(
        "the delivery has {length} bytes or more, and the receiver holds {limit} at most"
    )))
}
