//! The inputs of the two ends of a transfer, the chunker and the assembler, and what these report.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Message, Recipient};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::outlet::Outlet;
use super::parcel::Chunk;
use super::sink::{Committed, Progress, Sink, Summary};
use super::{Buffer, Credit, Prefix, Slot, Transfer};
use crate::delivery::{Failure, Subtree};
use crate::metrics::StageMetrics;

/// Content on its way from a source to the chunker. Pieces need not have the size of chunks; one
/// that has is not copied.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Piece {
    /// [`Prefix::LENGTH`] bytes of headroom, then the content.
    pub buffer: Buffer,
    /// Bytes of content in the buffer.
    pub length: usize,
    /// True if this is the last piece; it may be empty.
    pub last: bool,
    /// The credit its chunk travels with.
    pub credit: Option<Credit>,
    /// Its chunk's place among the stages.
    pub slot: Option<Slot>,
    /// The chunk that it is, where another delivery of the same content has made it: then it is
    /// one whole chunk, and the buffer has no content. None comes to a chunker that does not
    /// [take them](crate::node::StageRegistry::ready_pieces).
    pub ready: Option<Ready>,
}

/// A chunk that has passed all stages before the seal.
#[derive(Clone, Debug)]
pub struct Ready {
    /// As a codec left it: [`Prefix::LENGTH`] bytes of prefix, then the body.
    pub content: Bytes,
    /// The hash of it as it was cut.
    pub subtree: Subtree,
}

impl Piece {
    /// The content; nothing where it is [ready](Self::ready), or the buffer has less than
    /// [`length`](Self::length).
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(Prefix::LENGTH..Prefix::LENGTH + self.length).unwrap_or_default()
    }
}

/// The inputs of a chunker.
#[derive(Debug)]
pub struct ChunkerSeat {
    /// The transfer it cuts for.
    pub transfer: Arc<Transfer>,
    /// The outlet for its chunks.
    pub outlet: Balanced,
}

/// Several replicas of a pipeline behind one outlet: each chunk goes where the fewest are.
#[derive(Clone, Debug)]
pub struct Balanced(Arc<[BalancedReplica]>);

/// One replica of a pipeline.
#[derive(Clone)]
pub struct BalancedReplica {
    /// Its head.
    pub inlet: Outlet<Chunk>,
    /// Chunks among its stages.
    pub load: Arc<AtomicUsize>,
    /// Tells whether its output can leave: a lane without a connection is used only when no other
    /// is left.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for BalancedReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalancedReplica").field("load", &self.load).finish_non_exhaustive()
    }
}

impl Balanced {
    /// These replicas; there must be one at least.
    pub fn new(replicas: Vec<BalancedReplica>) -> Self {
        assert!(!replicas.is_empty(), "a pipeline has at least one replica");
        Self(replicas.into())
    }

    /// A single replica.
    pub fn single(inlet: Outlet<Chunk>) -> Self {
        Self::new(vec![BalancedReplica { inlet, load: Arc::default(), ready: Arc::new(|| true) }])
    }

    /// Hands a chunk to the replica with the least to do. Its slot counts as that replica's load.
    pub fn send(&self, chunk: Chunk, slot: Option<Slot>) {
        let key =
            |replica: &&BalancedReplica| (!(replica.ready)(), replica.load.load(Ordering::Relaxed));
        let replica = self.0.iter().min_by_key(key).expect("there is at least one replica");
        if let Some(mut slot) = slot {
            slot.assign(&replica.load);
            super::Parcel::custody(&chunk).hold_slot(slot);
        }
        replica.inlet.send(chunk);
    }
}

/// The inputs of an assembler.
#[derive(Debug)]
pub struct AssemblerSeat {
    /// The transfer it assembles.
    pub transfer: Arc<Transfer>,
    /// The sink that takes the content.
    pub sink: Box<dyn Sink>,
    /// The progress that the sink holds from an earlier attempt; `None` if the sink keeps no
    /// journal.
    pub resumed: Option<Progress>,
    /// Bytes between two checkpoints of a sink with a journal.
    pub checkpoint: u64,
    /// The recipient of its reports.
    pub owner: Recipient<Assembled>,
    /// Resolves when the transfer is to stop; an error means the same. The owner hears whether it
    /// has stopped, or has been committed before.
    pub aborted: oneshot::Receiver<Stop>,
    /// The counters of its sink.
    pub metrics: Arc<StageMetrics>,
    /// The thread it runs on: to be kept until it is done.
    pub thread: Box<dyn Any + Send>,
}

/// An order to stop a transfer before it is done. It says what happens to the content that has
/// arrived, and the text is the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It failed or was cancelled: nothing is to be left.
    Discard(String),
    /// It may go on in a later attempt.
    Suspend(String),
}

/// A report of an assembler to the owner of its transfer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Assembled {
    /// The stream of the transfer.
    pub stream: u64,
    /// The number of the attempt.
    pub attempt: u32,
    /// The news of this attempt.
    pub news: Assembly,
}

/// The news of an attempt that is being assembled.
#[derive(Debug)]
pub enum Assembly {
    /// The sink has taken so much that the sender may send up to this index.
    Grant(u64),
    /// All of it was verified and committed.
    Committed {
        /// Length and digest, verified.
        summary: Summary,
        /// The result of the commit.
        committed: Committed,
    },
    /// It can't be had: the sink failed, or the content is not what the trailer says.
    Failed(Failure),
    /// It has stopped, as it was told to: it was not committed, and will not be. What was told to
    /// stop and has committed already says that instead.
    Stopped,
}
