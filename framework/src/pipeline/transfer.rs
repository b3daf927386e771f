//! The state that all chunks of one attempt share, and the custody that each of them is in.
//!
//! Invariant: a chunk ends in exactly one way: finished, failed, or lost; and whichever it is, its
//! owner hears of it.

mod custody;

pub use self::custody::Custody;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::{BufferPool, SharedCodec, TAPPED_SOURCE, Tapped};
use crate::delivery::{DigestFold, Incoming, KeyScope, RangeSet, Subtree, TransferKey};
use crate::wire::{FailureKind, Ranges, growth_limit};

/// The state that all chunks of one attempt share.
pub struct Transfer {
    /// The values that its keys depend on: ids, peers, suite, chunk size.
    pub scope: KeyScope,
    /// The key of this attempt.
    pub key: TransferKey,
    /// The commitment to that key, by which caches find keys derived from it: two attempts may
    /// agree in all else.
    pub commitment: [u8; 32],
    /// The id of its frames on the link.
    pub stream: u64,
    /// The codec that its chunks may be compressed with.
    pub codec: Option<SharedCodec>,
    /// The pool that its buffers come from.
    pub buffers: BufferPool,
    /// The chunks that have arrived; of use at the receiving end.
    incoming: Mutex<Incoming>,
    acknowledged: Mutex<RangeSet>,
    /// The chunks that the receiver held before this attempt; of use at the sending end.
    held: OnceLock<Ranges>,
    /// Those who see its chunks pass; of use at the sending end.
    tapped: OnceLock<Tapped>,
    /// Bytes by which coders may make a chunk longer.
    growth: OnceLock<u32>,
    /// Hashes of chunks on their way to a sink that keeps a journal; of use at the receiving end.
    subtrees: OnceLock<Mutex<BTreeMap<u64, Subtree>>>,
    sent_digest: OnceLock<[u8; 32]>,
    digest: Mutex<DigestFold>,
    digest_grew: Notify,
    /// The trailer was made; of use at the sending end.
    cut: AtomicBool,
    /// Bytes of content the other side (sending) or the sink (receiving) has.
    done_bytes: AtomicU64,
    again_bytes: AtomicU64,
    signals: mpsc::UnboundedSender<Signal>,
    closed: AtomicBool,
}

/// A message about a chunk to the owner of its transfer. There are at most two for each chunk, so
/// the credit bounds how many wait.
#[derive(Debug)]
pub enum Signal {
    /// A chunk was dropped before it was done.
    Lost(Lost),
    /// A chunk can't go on.
    Fault(Fault),
}

/// A chunk that was dropped on its way: an actor died with it, or threw it away.
#[derive(Debug)]
pub struct Lost {
    /// The stream of its transfer.
    pub stream: u64,
    /// The number of the attempt that it belonged to.
    pub attempt: u32,
    /// Its index.
    pub index: u64,
    /// True if it was the trailer.
    pub trailer: bool,
    /// True if it had only to be sealed.
    pub ready: bool,
    /// The stage that had it last.
    pub stage: Option<Arc<str>>,
    /// True if it was dropped by a panic, false if it was thrown away.
    pub panicked: bool,
    /// The chunk as it was cut, unless it was sealed: an index is sealed once in an attempt.
    pub again: Option<Bytes>,
}

/// A failure of one chunk, which can't go on.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The stream of its transfer.
    pub stream: u64,
    /// The number of the attempt that it belonged to.
    pub attempt: u32,
    /// Its index.
    pub index: u64,
    /// True if it was the trailer.
    pub trailer: bool,
    /// The stage that gave it up.
    pub stage: Option<Arc<str>>,
    /// The lane it came by, at the receiving end.
    pub lane: Option<u16>,
    /// The kind of failure.
    pub kind: FailureKind,
    /// For a person.
    pub message: String,
}

impl Transfer {
    /// The bytes that sealing adds to a raw chunk: tag and prefix.
    pub const OVERHEAD: u32 = 32;

    /// An attempt whose owner hears of its chunks through `signals`.
    pub fn new(
        scope: KeyScope,
        key: TransferKey,
        stream: u64,
        codec: Option<SharedCodec>,
        buffers: BufferPool,
        incoming: Incoming,
        signals: mpsc::UnboundedSender<Signal>,
    ) -> Arc<Self> {
        Arc::new(Self {
            scope,
            commitment: key.commitment(scope.suite),
            key,
            stream,
            codec,
            buffers,
            incoming: Mutex::new(incoming),
            acknowledged: Mutex::default(),
            tapped: OnceLock::new(),
            growth: OnceLock::new(),
            held: OnceLock::new(),
            subtrees: OnceLock::new(),
            sent_digest: OnceLock::new(),
            digest: Mutex::default(),
            digest_grew: Notify::new(),
            cut: AtomicBool::new(false),
            done_bytes: AtomicU64::new(0),
            again_bytes: AtomicU64::new(0),
            signals,
            closed: AtomicBool::new(false),
        })
    }

    /// Locks the record of what has arrived.
    pub fn incoming(&self) -> MutexGuard<'_, Incoming> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if its content was cut to the end.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// The most bytes that may stand behind the header of one of its frames.
    pub fn frame_body_limit(&self) -> u32 {
        self.chunk_limit() + Self::OVERHEAD
    }

    /// The most bytes that a chunk may have behind the coders: its size, and what they were
    /// [allowed](Self::allow_growth) to add.
    pub fn chunk_limit(&self) -> u32 {
        self.scope.chunk_size + self.growth.get().copied().unwrap_or(0)
    }

    /// Its chunks are shown to these; to be said before the first one.
    pub(crate) fn show_to(&self, tapped: Tapped) {
        // Set once for each attempt.
        let _ = self.tapped.set(tapped);
    }

    /// Shows a piece of it that is at a stage.
    pub(crate) fn pass(&self, stage: &str, index: u64, bytes: &[u8], last: bool) {
        if let Some(tapped) = self.tapped.get() {
            tapped.pass((self.scope.transfer, self.scope.attempt), (stage, index), bytes, last);
        }
    }

    /// Shows a piece of its content, as its source gave it. What is sealed already was shown when
    /// it was sealed.
    pub(crate) fn pass_at_source(&self, index: u64, bytes: &[u8], last: bool) {
        if self.tapped.get().is_some_and(|tapped| !tapped.is_package()) {
            self.pass(TAPPED_SOURCE, index, bytes, last);
        }
    }

    /// Its coders may make a chunk longer by as many bytes; to be said before the first chunk.
    pub fn allow_growth(&self, bytes: u32) {
        // Set once for each attempt.
        let _ = self.growth.set(bytes.min(growth_limit(self.scope.chunk_size)));
    }

    /// The receiver holds these from an earlier attempt at the same version of the content; to be
    /// said before the first chunk.
    pub fn set_held(&self, held: Ranges) {
        // Set once for each attempt.
        let _ = self.held.set(held);
    }

    /// Returns whether the receiver holds a chunk from an earlier attempt, so that it need not be
    /// sent.
    pub fn is_held(&self, index: u64) -> bool {
        self.held.get().is_some_and(|held| held.contains(index))
    }

    /// Counts a chunk of `bytes` that the receiver holds, instead of sending it.
    pub fn skip(&self, index: u64, bytes: &[u8]) {
        let subtree = Subtree::of(index, self.scope.chunk_size, bytes);
        self.skip_hashed(index, subtree, bytes.len() as u64);
    }

    /// The same of a chunk whose hash is known.
    pub fn skip_hashed(&self, index: u64, subtree: Subtree, bytes: u64) {
        self.hashed(index, subtree);
        self.acknowledge(index);
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Goes on where an earlier attempt stood: its chunks are held at the receiving end, which is
    /// this one.
    pub fn go_on(&self, incoming: Incoming, digest: DigestFold, length: u64) {
        *self.incoming() = incoming;
        *self.digest() = digest;
        self.done_bytes.store(length, Ordering::Relaxed);
    }

    /// From now on the hashes of chunks are kept until they are [taken](Self::take_subtree).
    pub fn keep_subtrees(&self) {
        self.subtrees.get_or_init(Mutex::default);
    }

    /// The hash of a chunk, where hashes are kept.
    pub fn take_subtree(&self, index: u64) -> Option<Subtree> {
        self.subtrees.get()?.lock().unwrap_or_else(PoisonError::into_inner).remove(&index)
    }

    /// Takes the hash of a chunk.
    pub fn hashed(&self, index: u64, subtree: Subtree) {
        if let Some(subtrees) = self.subtrees.get() {
            subtrees.lock().unwrap_or_else(PoisonError::into_inner).insert(index, subtree);
        }
        self.digest().insert(index, subtree);
        self.digest_grew.notify_waiters();
    }

    /// The digest of the whole, once all `chunks` hashes are there; `None` when the transfer ends
    /// before.
    pub async fn digest_of(&self, chunks: u64) -> Option<[u8; 32]> {
        loop {
            let grew = self.digest_grew.notified();
            if self.is_closed() {
                return None;
            }
            {
                let digest = self.digest();
                if digest.in_order() >= chunks {
                    return digest.finish();
                }
            }
            grew.await;
        }
    }

    /// The digest of the whole, if exactly `chunks` hashes are there.
    pub fn digest_now(&self, chunks: u64) -> Option<[u8; 32]> {
        let digest = self.digest();
        (digest.in_order() == chunks).then(|| digest.finish()).flatten()
    }

    /// The receiver has these; of use at the sending end.
    pub(crate) fn acknowledge(&self, index: u64) {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(index);
    }

    /// Returns `true` if the receiver still has all it ever acknowledged.
    pub(crate) fn acknowledged_is_within(&self, received: &[(u64, u64)]) -> bool {
        let acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        let within = |(start, end)| received.iter().any(|&(from, to)| from <= start && end <= to);
        acknowledged.iter().all(within)
    }

    /// The digest that was sent in the trailer.
    pub fn set_sent_digest(&self, digest: [u8; 32]) {
        // Set once for each attempt.
        let _ = self.sent_digest.set(digest);
    }

    pub(crate) fn sent_digest(&self) -> Option<[u8; 32]> {
        self.sent_digest.get().copied()
    }

    /// So many bytes were read once more, to compare them with what was sent.
    pub(crate) fn read_again(&self, bytes: usize) {
        self.again_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A number that grows as long as the transfer moves.
    pub(crate) fn moved_bytes(&self) -> u64 {
        self.done_bytes() + self.again_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of content that are done with.
    pub fn done_bytes(&self) -> u64 {
        self.done_bytes.load(Ordering::Relaxed)
    }

    /// The transfer is over: its chunks need not be accounted for any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.digest_grew.notify_waiters();
    }

    /// Returns whether the transfer is over.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn digest(&self) -> MutexGuard<'_, DigestFold> {
        self.digest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        if !self.is_closed() {
            // An owner that is gone has nobody to tell.
            let _ = self.signals.send(signal);
        }
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyScope { transfer, attempt, .. } = self.scope;
        f.debug_struct("Transfer")
            .field("id", &transfer)
            .field("attempt", &attempt)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}
