//! The state of a delivery under way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use crate::delivery::{Failure, FailureKind, Receipt, TransferId};
use crate::pipeline::SourceReport;
use crate::wire::{PeerId, Suite};

/// The end of a transfer.
pub(crate) type Outcome = Result<Receipt, Failure>;

/// The status of a transfer.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TransferStatus {
    /// True if it is in the outbox, so that it outlives this process.
    pub stored: bool,
    /// True if the receiver has accepted it.
    pub started: bool,
    /// The cipher suite that seals its chunks on their way, once that has begun.
    pub suite: Option<Suite>,
    /// The codec of chunks that it makes smaller, once the first has begun.
    pub codec: Option<String>,
    /// True if the receiver had it from an earlier delivery, so that nothing was sent.
    pub already_there: bool,
    /// Bytes of content that have arrived.
    pub bytes: u64,
    /// Bytes there are, where that is known: from the beginning, unless the source does not know
    /// it.
    pub total: Option<u64>,
    /// The report of the source, after it was read to its end.
    pub report: SourceReport,
    /// Remarks on what the receiver could not, or would not, keep as it was sent: lines for a
    /// person, printable, at most 32.
    pub remarks: Vec<String>,
    /// True if a relay has it, which keeps it for the receiver.
    pub relayed: bool,
    /// True if the receiving application has said that it is done with it.
    pub processed: bool,
    /// True if the outbox has forgotten it: nothing more becomes known of it.
    pub forgotten: bool,
    /// The outcome, if it has ended.
    pub outcome: Option<Result<Receipt, Failure>>,
}

/// The state of a transfer, shared between its session and its handles.
#[derive(Debug)]
pub(crate) struct TransferState {
    pub(crate) id: TransferId,
    pub(super) peer: PeerId,
    pub(super) status: watch::Sender<TransferStatus>,
    /// The stored delivery that this is a try at.
    stored: Option<Arc<TransferState>>,
    /// The proof, for later, that it was processed.
    proof: OnceLock<[u8; 32]>,
    enclosed: OnceLock<Receipt>,
    /// Set once the receiver was offered it.
    offered: AtomicBool,
    /// Set once it was sent to its end: from then on the receiver may have it.
    sent: AtomicBool,
    /// Set if the receiver said that it does not have it, and will not.
    denied: AtomicBool,
    /// Set once what its source had is kept: the report of that stands, since what is kept is read
    /// without one.
    kept: AtomicBool,
}

impl TransferState {
    /// The state of a delivery of as many bytes, where that is known.
    pub(super) fn new(id: TransferId, peer: PeerId, total: Option<u64>) -> Self {
        Self {
            id,
            peer,
            status: watch::channel(TransferStatus { total, ..TransferStatus::default() }).0,
            stored: None,
            proof: OnceLock::new(),
            enclosed: OnceLock::new(),
            offered: AtomicBool::new(false),
            sent: AtomicBool::new(false),
            denied: AtomicBool::new(false),
            kept: AtomicBool::new(false),
        }
    }

    /// The state of a delivery in the outbox.
    pub(crate) fn stored(id: TransferId, peer: PeerId, total: Option<u64>) -> Self {
        let state = Self::new(id, peer, total);
        state.update(|status| status.stored = true);
        state
    }

    /// The state of a try at a delivery in the outbox.
    pub(crate) fn for_try(stored: &Arc<Self>) -> Self {
        Self {
            stored: Some(Arc::clone(stored)),
            ..Self::new(stored.id, stored.peer, stored.status.borrow().total)
        }
    }

    pub(crate) fn set_proof(&self, proof: [u8; 32]) {
        // Set once: a try is delivered once.
        let _ = self.proof.set(proof);
    }

    /// Notes the word about what was in a package.
    pub(crate) fn set_enclosed(&self, receipt: Receipt) {
        // Set once: a try is delivered once.
        let _ = self.enclosed.set(receipt);
    }

    pub(crate) fn enclosed(&self) -> Option<Receipt> {
        self.enclosed.get().cloned()
    }

    /// The receiver is offered it.
    pub(crate) fn set_offered(&self) {
        self.offered.store(true, Ordering::Relaxed);
    }

    /// The receiver ends it with this word; `looked`: it has looked what it has of it.
    pub(crate) fn set_denied(&self, failure: &Failure, looked: bool) {
        self.denied.store(looked && failure.kind.denies(), Ordering::Relaxed);
    }

    /// It was sent to its end.
    pub(crate) fn set_sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if a receiver may have it that did not say so; `before`, if nothing is known
    /// of it by this try.
    pub(crate) fn may_have_arrived(&self, before: bool) -> bool {
        !self.denied.load(Ordering::Relaxed) && (before || self.sent.load(Ordering::Relaxed))
    }

    /// Returns `true` if a receiver or a relay knows of it that did not refuse it; `before`, if this
    /// try has not come so far.
    pub(crate) fn is_offered(&self, before: bool) -> bool {
        !self.denied.load(Ordering::Relaxed) && (before || self.offered.load(Ordering::Relaxed))
    }

    /// Returns the failure of one that ends in this way: of one that may have arrived nobody says
    /// that it was not delivered. Of a try that was not cancelled its outbox says that, if there is
    /// no other one.
    pub(crate) fn as_far_as_known(&self, failure: Failure) -> Failure {
        let says_so = matches!(failure.kind, FailureKind::Integrity | FailureKind::Unknown);
        let goes_on = self.is_try() && failure.kind != FailureKind::Cancelled;
        if says_so || goes_on || !self.may_have_arrived(false) {
            return failure;
        }
        let text = format!(
            "{}; all of it was sent before, and the receiver has not said whether it has it: it may \
             have been delivered",
            failure.message
        );
        Failure::new(FailureKind::Unknown, text)
    }

    pub(crate) fn proof(&self) -> [u8; 32] {
        self.proof.get().copied().unwrap_or_default()
    }

    /// The source was read to its end.
    pub(crate) fn set_report(&self, report: &SourceReport) {
        let is_kept = |state: &Self| state.kept.load(Ordering::Relaxed);
        if !is_kept(self.stored.as_deref().unwrap_or(self)) {
            self.update(|status| status.report = report.clone());
        }
    }

    /// The source was read to its end into what the spool keeps.
    pub(crate) fn set_kept(&self, report: &SourceReport) {
        self.kept.store(true, Ordering::Relaxed);
        self.update(|status| status.report = report.clone());
    }

    /// Returns `true` if somebody waits for what becomes of it.
    pub(crate) fn is_watched(&self) -> bool {
        self.status.receiver_count() > 0
    }

    pub(crate) fn is_try(&self) -> bool {
        self.stored.is_some()
    }

    pub(crate) fn update(&self, change: impl Fn(&mut TransferStatus)) {
        if let Some(stored) = &self.stored {
            stored.status.send_modify(&change);
        }
        self.status.send_modify(change);
    }

    /// Waits for the end.
    pub(crate) async fn outcome(&self) -> Outcome {
        self.outcome_unless(|_| false).await.unwrap_or_else(|| Err(stopped()))
    }

    /// Waits for the end, or until a relay has it, and may still deliver it: `None`.
    pub(crate) async fn ended_or_relayed(&self) -> Option<Outcome> {
        self.outcome_unless(|status| status.relayed).await
    }

    async fn outcome_unless(&self, over: impl Fn(&TransferStatus) -> bool) -> Option<Outcome> {
        let mut status = self.status.subscribe();
        let ended = status.wait_for(|status| status.outcome.is_some() || over(status)).await;
        ended.map_or_else(|_| Some(Err(stopped())), |status| status.outcome.clone())
    }

    /// Notes progress; whether there was any.
    pub(crate) fn progressed(&self, bytes: u64, total: Option<u64>) -> bool {
        if let Some(stored) = &self.stored {
            stored.progressed(bytes, total);
        }
        self.status.send_if_modified(|status| {
            let more = bytes > status.bytes;
            (status.bytes, status.total) = (bytes.max(status.bytes), total);
            more
        })
    }

    /// The outbox has forgotten it; the failure, if it had not ended.
    pub(crate) fn forget(&self, failure: Failure) {
        self.update(|status| status.forgotten = true);
        self.end(Err(failure));
    }

    pub(crate) fn end(&self, outcome: Outcome) {
        self.status.send_modify(|status| {
            if let Ok(receipt) = &outcome {
                (status.bytes, status.total) = (receipt.length, Some(receipt.length));
            }
            status.outcome.get_or_insert(outcome);
        });
    }
}

fn stopped() -> Failure {
    Failure::new(FailureKind::Shutdown, "the node stopped")
}

/// A transfer whose end has to be told. Dropped before that, with its session or on the way there,
/// it tells that it failed, so that nobody waits for it for ever.
#[derive(Debug)]
pub(crate) struct Unsettled(pub(crate) Arc<TransferState>);

impl std::ops::Deref for Unsettled {
    type Target = TransferState;
    fn deref(&self) -> &TransferState {
        &self.0
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        let text = "the node stopped before the delivery was done";
        self.0.end(Err(self.0.as_far_as_known(Failure::new(FailureKind::Shutdown, text))));
    }
}
