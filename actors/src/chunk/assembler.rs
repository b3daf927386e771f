//! Puts chunks in the order their sink wants, and commits when all of them are there and the digest
//! agrees.
//!
//! Invariant: a sink is given only authenticated bytes, each once, and is committed only when the
//! trailer vouches for all of them.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, Context, Handler, Recipient};
use estafette::delivery::{DigestFold, Failure, FailureKind, Trailer};
use estafette::metrics::StageMetrics;
use estafette::pipeline::{
    Assembled, AssemblerSeat, Assembly, Chunk, Parcel, Placement, Prefix, Progress, Sink,
    SinkError, Stop, Summary, Transfer,
};
use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

/// The actor that takes a transfer's chunks; the work is done by one task behind it, so that a slow
/// sink leaves the mailbox free.
#[derive(Debug)]
pub struct Assembler {
    seat: Option<AssemblerSeat>,
    chunks: Option<mpsc::UnboundedSender<Chunk>>,
}

impl Assembler {
    /// An assembler for this transfer. Must run on the thread of its seat.
    pub fn new(seat: AssemblerSeat) -> Self {
        Self { seat: Some(seat), chunks: None }
    }
}

impl Actor for Assembler {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        let Some(seat) = self.seat.take() else { return };
        // Bounded by the transfer's credit, which each chunk holds until the sink has taken it.
        let (sender, chunks) = mpsc::unbounded_channel();
        self.chunks = Some(sender);
        actix::spawn(run(seat, chunks));
    }
}

impl Handler<Chunk> for Assembler {
    type Result = ();

    fn handle(&mut self, chunk: Chunk, _: &mut Context<Self>) {
        if let Some(chunks) = &self.chunks {
            // Closed when the transfer is over: its late chunks are of no use.
            let _ = chunks.send(chunk);
        }
    }
}

async fn run(seat: AssemblerSeat, chunks: mpsc::UnboundedReceiver<Chunk>) {
    let AssemblerSeat { transfer, sink, resumed, checkpoint, owner, aborted, metrics, thread } =
        seat;
    let say = |news| {
        let (stream, attempt) = (transfer.stream, transfer.scope.attempt);
        owner.do_send(Assembled { stream, attempt, news });
    };
    let work = Work {
        transfer: Arc::clone(&transfer),
        sink,
        placement: Placement::InOrder,
        owner: owner.clone(),
        metrics,
        early: BTreeMap::new(),
        next: 0,
        length: 0,
        short: None,
        trailer: None,
        journal: None,
        checkpoint,
    }
    .go_on(resumed);
    match AssertUnwindSafe(work.assemble(chunks, aborted)).catch_unwind().await {
        Ok(Ok(news)) => say(news),
        Ok(Err(failure)) => say(Assembly::Failed(failure)),
        Err(_) => say(Assembly::Failed(panicked())),
    }
    drop(thread);
}

/// Closes the transfer when assembling ends, however it does: chunks that are dropped then are not
/// to pass for lost in a stage.
struct Closing(Arc<Transfer>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Work {
    transfer: Arc<Transfer>,
    sink: Box<dyn Sink>,
    placement: Placement,
    owner: Recipient<Assembled>,
    metrics: Arc<StageMetrics>,
    /// Chunks that came before their turn, for a sink that wants order.
    early: BTreeMap<u64, Chunk>,
    next: u64,
    length: u64,
    /// The one chunk that is shorter than the others: the last.
    short: Option<u64>,
    trailer: Option<Trailer>,
    journal: Option<Journalled>,
    /// Bytes between two checkpoints.
    checkpoint: u64,
}

/// The account of what is written, where the sink keeps a journal.
struct Journalled {
    written: DigestFold,
    /// Bytes written since the last checkpoint.
    since: u64,
}

impl Work {
    /// Stands where an earlier attempt stood.
    fn go_on(mut self, resumed: Option<Progress>) -> Self {
        let Some(Progress { chunks, length, digest }) = resumed else { return self };
        let size = u64::from(self.transfer.scope.chunk_size);
        (self.next, self.length) = (chunks, length);
        self.short = (length % size != 0).then(|| chunks.saturating_sub(1));
        self.journal = Some(Journalled { written: digest, since: 0 });
        self
    }

    async fn assemble(
        mut self,
        mut chunks: mpsc::UnboundedReceiver<Chunk>,
        mut aborted: oneshot::Receiver<Stop>,
    ) -> Result<Assembly, Failure> {
        // Dropped before the chunks that still wait.
        let _closing = Closing(Arc::clone(&self.transfer));
        self.placement = self.sink.placement();
        loop {
            if self.trailer.is_some() && self.transfer.incoming().complete() {
                return self.commit().await;
            }
            let chunk = tokio::select! {
                biased;
                stop = &mut aborted => return Ok(self.stop(stop).await),
                chunk = chunks.recv() => chunk,
            };
            let Some(chunk) = chunk else { return Ok(Assembly::Stopped) };
            let custody = chunk.custody().clone();
            // A sink that waits for somebody else may do so for ever.
            let taken = tokio::select! {
                biased;
                taken = self.take(chunk) => Ok(taken),
                stop = &mut aborted => Err(stop),
            };
            match taken {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => {
                    // Before the chunk is let go of: it is not lost, and neither are those that
                    // wait behind it.
                    self.transfer.close();
                    drop(custody);
                    self.sink.abort(&failure.message);
                    return Err(failure);
                }
                Err(stop) => {
                    self.transfer.close();
                    return Ok(self.stop(stop).await);
                }
            }
        }
    }

    async fn stop(&mut self, stop: Result<Stop, oneshot::error::RecvError>) -> Assembly {
        // Without a word the session is gone, and with it the node.
        match stop.unwrap_or_else(|_| Stop::Suspend("the node stopped".into())) {
            Stop::Discard(reason) => self.sink.abort(&reason),
            Stop::Suspend(reason) => self.suspend(&reason).await,
        }
        Assembly::Stopped
    }

    async fn take(&mut self, chunk: Chunk) -> Result<(), Failure> {
        if chunk.custody().is_trailer() {
            return self.take_trailer(&chunk);
        }
        let index = chunk.custody().index();
        if let Some(trailer) = self.trailer.filter(|trailer| index >= trailer.chunks) {
            let text = format!(
                "chunk {index} came, which is behind the end: the trailer says {} chunks",
                trailer.chunks
            );
            return Err(Failure::new(FailureKind::Protocol, text));
        }
        // Outside of a node nobody has noted it before.
        self.transfer.incoming().received(index);
        if self.placement == Placement::Anywhere {
            return self.write(chunk).await;
        }
        self.early.insert(index, chunk);
        while let Some(chunk) = self.early.remove(&self.next) {
            self.write(chunk).await?;
            self.next += 1;
        }
        Ok(())
    }

    async fn write(&mut self, chunk: Chunk) -> Result<(), Failure> {
        let (index, size) = (chunk.custody().index(), self.transfer.scope.chunk_size as usize);
        let bytes = chunk.content().slice(Prefix::LENGTH..);
        if bytes.len() > size {
            return Err(self.protocol(format!(
                "chunk {index} has {} bytes behind the receiver's stages, {size} is the most",
                bytes.len()
            )));
        }
        if bytes.len() < size && self.short.replace(index).is_some() {
            return Err(self.protocol("more than one chunk is shorter than the chunk size".into()));
        }
        let start = Instant::now();
        // Caught here, where the chunk is still held.
        let written =
            AssertUnwindSafe(async { self.sink.write(index * size as u64, &bytes).await })
                .catch_unwind()
                .await;
        let written = written.map_or_else(
            |_| Err(panicked()),
            |written| written.map_err(|error| sink_failure(&error)),
        );
        written.inspect_err(|_| self.transfer.close())?;
        self.metrics.done(bytes.len(), bytes.len(), start.elapsed());
        self.length += bytes.len() as u64;
        chunk.custody().finish(bytes.len() as u64);
        let grant = self.transfer.incoming().consumed(index);
        if let Some(limit) = grant {
            self.say(Assembly::Grant(limit));
        }
        let subtree = self.transfer.take_subtree(index);
        if let (Some(journal), Some(subtree)) = (&mut self.journal, subtree) {
            journal.written.insert(index, subtree);
            journal.since += bytes.len() as u64;
            if journal.since >= self.checkpoint {
                self.checkpoint().await.map_err(|error| sink_failure(&error))?;
            }
        }
        Ok(())
    }

    /// Makes what is written without a hole durable.
    async fn checkpoint(&mut self) -> Result<(), SinkError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        journal.since = 0;
        let chunks = journal.written.in_order();
        let behind_the_short_one = self.short.is_some_and(|short| short < chunks);
        let full = chunks * u64::from(self.transfer.scope.chunk_size);
        let length = if behind_the_short_one { self.length } else { full };
        let start = Instant::now();
        let outcome = self
            .sink
            .checkpoint(&Progress { chunks, length, digest: journal.written.clone() })
            .await;
        self.metrics.worked(start.elapsed());
        outcome
    }

    /// Stops so that a later attempt can go on here.
    async fn suspend(&mut self, reason: &str) {
        if let Err(error) = self.checkpoint().await {
            tracing::warn!(
                transfer = %self.transfer.scope.transfer, %error,
                "what has arrived could not be kept up to the last chunk"
            );
        }
        self.sink.suspend(reason);
    }

    fn take_trailer(&mut self, chunk: &Chunk) -> Result<(), Failure> {
        let trailer =
            Trailer::decode(chunk.bytes()).map_err(|error| self.protocol(error.to_string()))?;
        if trailer.chunks != chunk.custody().index()
            || !self.transfer.incoming().ended(trailer.chunks)
        {
            return Err(self.protocol(format!(
                "the trailer says {} chunks, which is not what came",
                trailer.chunks
            )));
        }
        chunk.custody().finish(0);
        self.trailer = Some(trailer);
        Ok(())
    }

    async fn commit(mut self) -> Result<Assembly, Failure> {
        let trailer = self.trailer.expect("checked by the caller");
        let digest = self.transfer.digest_now(trailer.chunks);
        let well_cut = self.short.is_none_or(|short| short + 1 == trailer.chunks);
        if digest != Some(trailer.digest) || self.length != trailer.length || !well_cut {
            let text =
                "what arrived is not what the sender's trailer vouches for; nothing was committed";
            self.sink.abort(text);
            return Err(Failure::new(FailureKind::Integrity, text));
        }
        let summary = Summary { length: trailer.length, digest: trailer.digest };
        let start = Instant::now();
        let committed = self.sink.commit(&summary).await;
        self.metrics.worked(start.elapsed());
        match committed {
            Ok(committed) => Ok(Assembly::Committed { summary, committed }),
            Err(error) => {
                let failure = sink_failure(&error);
                self.sink.abort(&failure.message);
                Err(failure)
            }
        }
    }

    /// The chunk that is held breaks the protocol.
    fn protocol(&self, text: String) -> Failure {
        self.transfer.close();
        Failure::new(FailureKind::Protocol, text)
    }

    fn say(&self, news: Assembly) {
        self.owner.do_send(Assembled {
            stream: self.transfer.stream,
            attempt: self.transfer.scope.attempt,
            news,
        });
    }
}

fn panicked() -> Failure {
    Failure::new(FailureKind::Stage, "the receiver's sink panicked; see its log").in_stage("sink")
}

fn sink_failure(error: &SinkError) -> Failure {
    Failure::new(error.kind(), error.to_string())
}
