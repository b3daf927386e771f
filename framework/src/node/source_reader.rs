//! The actor that reads a source, on the transfer's own thread, as fast as there is credit.

mod own;

use self::own::Together;
pub(crate) use self::own::{Own, With};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, WrapFuture,
};
use futures_util::FutureExt;
use tokio::sync::watch;

use super::disk::DiskThread;
pub(crate) use super::gate::Gate;
use super::pace::Limiter;
use super::reading::Made;
use crate::delivery::Content;
use crate::metrics::StageMetrics;
use crate::pipeline::{
    Budget, Credit, Piece, Prefix, Priority, Slot, Slots, Source, SourceError, SourceReport,
    Transfer,
};

pub(crate) struct SourceReader {
    source: Option<Own>,
    waiting: Option<Waiting>,
    owner: SourceOwner,
    _thread: Arc<DiskThread>,
}

/// An order that came while an earlier attempt was still being read. The newest counts: older
/// attempts are over.
enum Waiting {
    Run(Box<Run>),
    Rewind(Rewind),
}

/// A source was read to its end, or could not be.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct SourceEnded {
    pub(crate) stream: u64,
    pub(crate) outcome: Result<SourceReport, SourceError>,
}

/// A source is back at its start, and is now this; or it can't be read again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Rewound {
    pub(crate) stream: u64,
    pub(crate) outcome: Result<(Content, Option<[u8; 32]>), SourceError>,
}

/// Hears how it went.
pub(crate) struct SourceOwner {
    pub(crate) ended: Recipient<SourceEnded>,
    pub(crate) rewound: Recipient<Rewound>,
}

/// Goes back to the start of the source, for a new attempt.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Rewind {
    pub(crate) stream: u64,
}

/// Reads the source, from where it stands, for this attempt.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Run {
    pub(crate) stream: u64,
    pub(crate) transfer: Arc<Transfer>,
    pub(crate) chunker: Recipient<Piece>,
    pub(crate) gate: watch::Receiver<Gate>,
    pub(crate) budget: Budget,
    pub(crate) slots: Slots,
    pub(crate) priority: Priority,
    pub(crate) metrics: Arc<StageMetrics>,
    /// The limiter of its group, if that keeps to a rate.
    pub(crate) limiter: Option<Arc<Limiter>>,
    /// With whom it reads, if others send the same.
    pub(crate) with: Option<With>,
}

impl Run {
    /// The credit of a chunk, and its place among the stages.
    async fn place(&self) -> (Credit, Slot) {
        let credit = self.budget.take(self.transfer.scope.chunk_size as usize).await;
        (credit, self.slots.take_as(self.priority).await)
    }
}

impl SourceReader {
    pub(crate) fn new(source: Own, owner: SourceOwner, thread: Arc<DiskThread>) -> Self {
        Self { source: Some(source), waiting: None, owner, _thread: thread }
    }
}

impl Actor for SourceReader {
    type Context = Context<Self>;
}

impl Handler<Run> for SourceReader {
    type Result = ();

    fn handle(&mut self, run: Run, ctx: &mut Context<Self>) {
        // An earlier attempt may still be noticing that it is over.
        let Some(mut source) = self.source.take() else {
            self.waiting = Some(Waiting::Run(Box::new(run)));
            return;
        };
        let reading = async move {
            let (stream, gate) = (run.stream, run.gate.clone());
            let mut over = gate.clone();
            // A source may wait for long, for what somebody writes or since it is to be slow: not
            // beyond the end of its attempt.
            let read = tokio::select! {
                biased;
                _ = over.wait_for(|gate| gate.stopped) => Ok(Ok(SourceReport::default())),
                read = AssertUnwindSafe(read(&mut source, run)).catch_unwind() => read,
            };
            let outcome = read.unwrap_or_else(|_| Err(panicked()));
            let stopped = gate.borrow().stopped;
            (source, stream, outcome, stopped)
        };
        ctx.spawn(reading.into_actor(self).map(
            |(source, stream, outcome, stopped), reader, ctx| {
                if !stopped {
                    reader.owner.ended.do_send(SourceEnded { stream, outcome });
                }
                reader.source = Some(source);
                match reader.waiting.take() {
                    Some(Waiting::Run(run)) => ctx.notify(*run),
                    Some(Waiting::Rewind(rewind)) => ctx.notify(rewind),
                    None => {}
                }
            },
        ));
    }
}

impl Handler<Rewind> for SourceReader {
    type Result = ();

    fn handle(&mut self, rewind: Rewind, _: &mut Context<Self>) {
        let Some(source) = &mut self.source else {
            self.waiting = Some(Waiting::Rewind(rewind));
            return;
        };
        let rewound = std::panic::catch_unwind(AssertUnwindSafe(|| source.back_to_start()));
        let outcome = rewound.unwrap_or_else(|_| Err(panicked()));
        self.owner.rewound.do_send(Rewound { stream: rewind.stream, outcome });
    }
}

/// A source that panicked fails its transfer, and not the actor that reads it.
fn panicked() -> SourceError {
    SourceError::Unsuitable {
        what: "the content".into(),
        why: "its source panicked; see the sender's log".into(),
    }
}

async fn read(own: &mut Own, mut run: Run) -> Result<SourceReport, SourceError> {
    let mut with = run.with.take().and_then(|with| Together::new(with, &run));
    for index in 0.. {
        let open = run
            .gate
            .wait_for(|gate| gate.stopped || (gate.limit > index && !gate.paused))
            .await
            .map(|gate| !gate.stopped);
        if !open.unwrap_or(false) {
            return Ok(SourceReport::default());
        }
        // Others are waited for before this holds anything that they may wait for.
        let made = match &mut with {
            Some(together) => together.chunk(own, index, &run).await?,
            None => None,
        };
        if made.is_none()
            // It gives up its seat first: the others go on without it.
            && let Some(version) = with.take().map(|together| together.with.version)
        {
            own.stand_at(index, &run, version).await?;
        }
        let mut place = Some(run.place().await);
        let (buffer, Made { ready, length, report }) = match made {
            // What is not ready is an end without content, behind the room of a prefix.
            Some(made) => (run.transfer.buffers.take(Prefix::LENGTH), made),
            None => own.cut(index, &run, &mut place).await?,
        };
        let last = report.is_some();
        // What the receiver holds is read again, to be hashed, and takes nobody's turn.
        if let Some(limiter) = run.limiter.as_ref().filter(|_| !run.transfer.is_held(index)) {
            limiter.pass(length).await;
        }
        let (credit, slot) = place.unzip();
        run.chunker.do_send(Piece { buffer, length, last, credit, slot, ready });
        if let Some(report) = report {
            return Ok(report);
        }
        // The chunker has its turn: it lives on this thread.
        tokio::task::yield_now().await;
    }
    unreachable!("a file of 2^64 chunks")
}

/// The most times that content which may have changed is read again, while it goes on changing.
const LOOKS: usize = 3;

/// The last word of a source that doubts, before the last piece. What may have changed is read again
/// here, and not sent again: nearly always it is the same, of a file that got another name and lost
/// it again.
async fn look_again(
    source: &mut dyn Source,
    transfer: &Transfer,
    chunks: u64,
    tail: &[u8],
    (mut what, mut how): (String, String),
) -> Result<SourceReport, SourceError> {
    for _ in 0..LOOKS {
        if !is_as_read(source, transfer, chunks, tail).await? {
            break;
        }
        match source.finish() {
            Err(SourceError::Doubtful { what: file, how: now }) => (what, how) = (file, now),
            last => return last,
        }
    }
    // The next attempt is of what there is by then, and not of this file.
    source.rewind()?;
    Err(SourceError::Changed { what, how })
}

/// Returns `true` if the source, from its start, has all of `chunks` as they were read, then
/// `tail`, and no more.
async fn is_as_read(
    source: &mut dyn Source,
    transfer: &Transfer,
    chunks: u64,
    tail: &[u8],
) -> Result<bool, SourceError> {
    if !source.rewind()? {
        return Ok(false);
    }
    let size = transfer.scope.chunk_size as usize;
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), transfer.buffers.take(size));
    for _ in 0..chunks {
        let length = fill(source, &mut buffer[..size]).await?;
        hasher.update(&buffer[..length]);
        transfer.read_again(length);
        if length < size {
            return Ok(false);
        }
        // Whoever waits may think better of it.
        tokio::task::yield_now().await;
    }
    let length = fill(source, &mut buffer[..size]).await?;
    // What is sent is hashed by those that send it, which may have some of it before them still.
    let is_same = match chunks {
        0 => true,
        _ => transfer.digest_of(chunks).await == Some(*hasher.finalize().as_bytes()),
    };
    Ok(is_same && buffer[..length] == *tail)
}

async fn fill(source: &mut dyn Source, buffer: &mut [u8]) -> Result<usize, SourceError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]).await? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::future::BoxFuture;
    use tokio::sync::mpsc;

    use super::*;
    use crate::delivery::{
        Content, ContentKind, ContentName, Incoming, KeyScope, TransferId, TransferKey,
    };
    use crate::pipeline::BufferPool;
    use crate::wire::{PeerId, Ranges, Suite};

    const CHUNK: usize = 1024;

    /// So many bytes are left of it.
    #[derive(Debug)]
    struct Zeros(usize);

    impl Source for Zeros {
        fn content(&self) -> Content {
            let name = ContentName::new("zeros").unwrap();
            Content::new(ContentKind::Bytes, name, Some(self.0 as u64))
        }

        fn read<'a>(
            &'a mut self,
            buffer: &'a mut [u8],
        ) -> BoxFuture<'a, Result<usize, SourceError>> {
            let read = self.0.min(buffer.len());
            self.0 -= read;
            buffer[..read].fill(0);
            Box::pin(std::future::ready(Ok(read)))
        }

        fn finish(&mut self) -> Result<SourceReport, SourceError> {
            Ok(SourceReport::default())
        }
    }

    /// Takes pieces, and drops them.
    struct Nobody;

    impl Actor for Nobody {
        type Context = Context<Self>;
    }

    impl Handler<Piece> for Nobody {
        type Result = ();

        fn handle(&mut self, _: Piece, _: &mut Context<Self>) {}
    }

    /// Two chunks, and a doubt whether they are still there as they were, once.
    #[derive(Debug)]
    struct Doubted {
        zeros: Zeros,
        doubts: bool,
        /// Chunks that others may hold, and whether they could while this was read again.
        others: (Budget, Slots),
        had_room: Arc<AtomicBool>,
    }

    impl Source for Doubted {
        fn content(&self) -> Content {
            self.zeros.content()
        }

        fn read<'a>(
            &'a mut self,
            buffer: &'a mut [u8],
        ) -> BoxFuture<'a, Result<usize, SourceError>> {
            if self.doubts {
                let (budget, slots) = &self.others;
                let slot = pin!(slots.take()).now_or_never();
                let has_room = budget.try_take(CHUNK).is_some() && slot.is_some();
                self.had_room.store(has_room, Ordering::Relaxed);
            }
            self.zeros.read(buffer)
        }

        fn finish(&mut self) -> Result<SourceReport, SourceError> {
            if self.doubts {
                return self.zeros.finish();
            }
            let (what, how) = ("zeros".into(), "its time is another one".into());
            Err(SourceError::Doubtful { what, how })
        }

        fn rewind(&mut self) -> Result<bool, SourceError> {
            (self.doubts, self.zeros) = (true, Zeros(CHUNK / 2));
            Ok(true)
        }
    }

    #[test]
    fn what_is_read_again_holds_no_place_meanwhile() {
        actix::System::new().block_on(async {
            let (mut run, _open) = run(1);
            // As many as one chunk needs.
            (run.budget, run.slots) = (Budget::new(CHUNK), Slots::new(1));
            let had_room = Arc::<AtomicBool>::default();
            let others = (run.budget.clone(), run.slots.clone());
            let (zeros, had) = (Zeros(CHUNK / 2), Arc::clone(&had_room));
            let source = Doubted { zeros, doubts: false, others, had_room: had };
            read(&mut Own::new(Box::new(source), None), run).await.unwrap();
            assert!(had_room.load(Ordering::Relaxed));
        });
    }

    /// A reading for a receiver that has the first `held` chunks; it ends if the other one goes.
    fn run(held: u64) -> (Run, watch::Sender<Gate>) {
        let (here, there) = (PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]));
        let scope = KeyScope {
            transfer: TransferId::random(),
            attempt: 0,
            suite: Suite::XSALSA20_POLY1305,
            sender: here,
            receiver: there,
            chunk_size: CHUNK as u32,
        };
        let key = TransferKey::from_bytes([3; 32]);
        let (buffers, signals) = (BufferPool::new(1 << 20), mpsc::unbounded_channel().0);
        let transfer = Transfer::new(scope, key, 1, None, buffers, Incoming::new(1), signals);
        transfer.set_held(Ranges::new(vec![(0, held)]).unwrap());
        let (open, gate) = watch::channel(Gate { limit: 9, ..Gate::default() });
        let run = Run {
            stream: 1,
            transfer,
            chunker: Nobody.start().recipient(),
            gate,
            budget: Budget::new(8 * CHUNK),
            slots: Slots::new(8),
            priority: Priority::default(),
            metrics: Arc::default(),
            limiter: None,
            with: None,
        };
        (run, open)
    }

    /// Reads two chunks, of which the receiver has the first `held`, and returns whether the rate
    /// was asked for.
    async fn asks_for_the_rate(held: u64) -> bool {
        let ((mut run, _open), limiter) = (run(held), Arc::new(Limiter::new(1 << 30)));
        run.limiter = Some(Arc::clone(&limiter));
        read(&mut Own::new(Box::new(Zeros(2 * CHUNK)), None), run).await.unwrap();
        limiter.was_asked()
    }

    #[test]
    fn what_the_receiver_holds_does_not_wait_for_the_rate() {
        actix::System::new().block_on(async {
            assert!(!asks_for_the_rate(2).await);
            assert!(asks_for_the_rate(1).await);
        });
    }
}
