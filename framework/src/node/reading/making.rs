//! Makes chunks ready to be sealed, on the thread of whoever read them.

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::delivery::{Incoming, KeyScope, TransferKey};
use crate::metrics::Metrics;
use crate::node::registry::StageRegistry;
use crate::pipeline::{
    Buffer, BufferPool, Chunk, Codec, Compressed, Custody, Parcel, Prefix, Ready, SharedCodec,
    Through, Transfer,
};

/// The stages before the seal, in one call.
pub(crate) struct Maker {
    /// The content that its chunks are of.
    scope: KeyScope,
    codec: Option<SharedCodec>,
    buffers: BufferPool,
    through: Through<Chunk, Compressed>,
}

impl Maker {
    /// Returns a maker of ready chunks of `like`; none where a stage is an actor of its own.
    pub(crate) fn new(
        like: &Transfer,
        registry: &StageRegistry,
        metrics: &Metrics,
    ) -> Option<Self> {
        let through = registry.stages().before_the_seal(metrics)?;
        let (scope, codec, buffers) = (like.scope, like.codec.clone(), like.buffers.clone());
        Some(Self { scope, codec, buffers, through })
    }

    /// Makes a chunk ready that lies behind a prefix's room in `buffer`; none where a stage failed.
    pub(crate) fn make(&mut self, index: u64, mut buffer: Buffer, length: usize) -> Option<Ready> {
        let raw_len = u32::try_from(length).ok()?;
        let prefix = Prefix { codec: Codec::RAW, raw_len, index };
        buffer[..Prefix::LENGTH].copy_from_slice(&prefix.encode());
        let content = buffer.freeze(0..Prefix::LENGTH + length);
        let transfer = self.transfer();
        let custody = Custody::outgoing(&transfer, index, length as u64, None);
        let compressed = (self.through)(Chunk::from_parts(custody.clone(), content))?;
        custody.finish(0);
        let subtree = transfer.take_subtree(index)?;
        Some(Ready { content: compressed.content().clone(), subtree })
    }
}

impl Maker {
    /// Returns the transfer in whose name a chunk passes the stages: nobody's, as it is the same
    /// for all. Nothing is sealed with its key, and nobody hears of it.
    fn transfer(&self) -> Arc<Transfer> {
        let (key, nobody) = (TransferKey::from_bytes([0; 32]), mpsc::unbounded_channel().0);
        let (codec, buffers) = (self.codec.clone(), self.buffers.clone());
        let transfer = Transfer::new(self.scope, key, 0, codec, buffers, Incoming::new(1), nobody);
        transfer.keep_subtrees();
        transfer
    }
}

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maker").finish_non_exhaustive()
    }
}
