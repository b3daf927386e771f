//! Where the two ends of a transfer are plugged in: what a chunker and an assembler are given, and
//! what they say.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Message, Recipient};
use tokio::sync::oneshot;

use super::outlet::Outlet;
use super::parcel::Chunk;
use super::sink::{Committed, Progress, Sink, Summary};
use super::{Buffer, Credit, Prefix, Slot, Transfer};
use crate::delivery::Failure;
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
    /// Whether this is the last piece; it may be empty.
    pub last: bool,
    /// The credit its chunk travels with.
    pub credit: Option<Credit>,
    /// Its chunk's place among the stages.
    pub slot: Option<Slot>,
}

impl Piece {
    /// The content.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[Prefix::LENGTH..Prefix::LENGTH + self.length]
    }
}

/// What a chunker is given.
#[derive(Debug)]
pub struct ChunkerSeat {
    /// The transfer it cuts for.
    pub transfer: Arc<Transfer>,
    /// Where chunks go.
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
    /// Whether what comes out of it can leave: a lane without a connection is used only when no
    /// other is left.
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

/// What an assembler is given.
#[derive(Debug)]
pub struct AssemblerSeat {
    /// The transfer it assembles.
    pub transfer: Arc<Transfer>,
    /// Where the content goes.
    pub sink: Box<dyn Sink>,
    /// Whether the sink keeps a journal; and what it holds from an earlier attempt.
    pub resumed: Option<Progress>,
    /// Bytes between two checkpoints of a sink with a journal.
    pub checkpoint: u64,
    /// Who hears how it goes.
    pub owner: Recipient<Assembled>,
    /// Resolves when the transfer is to stop; an error means the same. The owner hears whether it
    /// has stopped, or has been committed before.
    pub aborted: oneshot::Receiver<Stop>,
    /// Where its sink counts.
    pub metrics: Arc<StageMetrics>,
    /// The thread it runs on: to be kept until it is done.
    pub thread: Box<dyn Any + Send>,
}

/// Why a transfer stopped before it was done, and what is to become of what has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It failed or was cancelled: nothing is to be left.
    Discard(String),
    /// It may go on in a later attempt.
    Suspend(String),
}

/// What an assembler says to the owner of its transfer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Assembled {
    /// The stream of the transfer.
    pub stream: u64,
    /// Which attempt.
    pub attempt: u32,
    /// What happened.
    pub news: Assembly,
}

/// How assembling goes.
#[derive(Debug)]
pub enum Assembly {
    /// The sink has taken so much that the sender may send up to this index.
    Grant(u64),
    /// All of it was verified and committed.
    Committed {
        /// Length and digest, verified.
        summary: Summary,
        /// What the sink made of it.
        committed: Committed,
    },
    /// It can't be had: the sink failed, or the content is not what the trailer says.
    Failed(Failure),
    /// It has stopped, as it was told to: it was not committed, and will not be. What was told to
    /// stop and has committed already says that instead.
    Stopped,
}
