//! Content into a package.

use std::pin::pin;
use std::sync::Arc;

use actix::{Actor, Context, Handler, Recipient};
use estafette::delivery::{Failure, FailureKind, TransferKey};
use estafette::metrics::Metrics;
use estafette::node::RegistryError;
use estafette::node::{PackError, PackOrder, Packed};
use estafette::pipeline::{
    Balanced, Budget, Chunk, ChunkCodec, ChunkerSeat, Codec, Outlet, Piece, Prefix,
    RunningPipeline, Sealed, Signal, Source, SourceError, SourceReport, Transfer,
};
use estafette::wire::join_codec;
use estafette::wire::package::{Letter, PackageHeader, PackageLabel};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::no_thread;
use super::writing::Writing;
use crate::source::fill;
use crate::thread::{self, Gone};

/// Bytes of content between the source and the file; one chunk where that is more.
const WINDOW: usize = 2 << 20;

pub(super) async fn pack(order: PackOrder) -> Result<Packed, PackError> {
    let place = order.file.clone();
    let undo =
        move |packed: Result<Packed, PackError>| packed.map_or((), |_| thread::remove(&place));
    match thread::run(move |_thread, gone| work(order, gone), undo).await {
        Ok(done) => done.unwrap_or(Err(PackError::Stopped)),
        Err(error) => Err(PackError::Stage(no_thread(&error))),
    }
}

async fn work(mut order: PackOrder, mut gone: Gone) -> Result<Packed, PackError> {
    let key = TransferKey::random();
    let codec = order.stages.chosen_codec(order.compression)?;
    let header = header(&order, &key, codec.as_deref())?;
    let pipeline = order.stages.sending(&order.coders, header.label().suite)?.inline();
    let (transfer, mut signals) = Transfer::bare(header.label().scope(), key, codec);
    transfer.allow_growth(order.stages.growth(&order.coders, order.chunk_size)?);
    let _closing = Closing(&transfer);
    let mut writing = Writing::begin(&order.file, &header)?;
    let (tail, mut frames) = Tail::start();
    let running = pipeline
        .start(&Metrics::default(), tail)
        .await
        .map_err(|error| PackError::Stage(no_thread(&error)))?;
    let chunker = start_chunker(&order, &transfer, &running)?;

    let mut feeding = pin!(feed(order.source.as_mut(), &transfer, &chunker));
    let mut report = None;
    loop {
        tokio::select! {
            biased;
            _ = &mut gone => return Err(PackError::Stopped),
            Some(signal) = signals.recv() => return Err(PackError::Stage(fault(signal))),
            Some(sealed) = frames.recv() => if writing.take(sealed)? {
                break;
            },
            read = &mut feeding, if report.is_none() => report = Some(read?),
        }
    }
    let without_end = || {
        PackError::Stage(Failure::new(
            FailureKind::Stage,
            "the chunker ended the content before its source did",
        ))
    };
    let report = report.ok_or_else(without_end)?;
    let digest = transfer.digest_now(writing.frames() - 1).ok_or_else(without_end)?;
    let mac = |state| transfer.key.receipt(order.transfer, 0, state, &digest);
    let (delivered_mac, processed_mac, length) =
        (mac("delivered"), mac("processed"), writing.length());
    Ok(Packed { bytes: writing.publish()?, length, digest, delivered_mac, processed_mac, report })
}

fn header(
    order: &PackOrder,
    key: &TransferKey,
    codec: Option<&dyn ChunkCodec>,
) -> Result<PackageHeader, PackError> {
    // Every receiver has snappy.
    let codec = codec.filter(|codec| codec.id() != Codec::SNAPPY).map(ChunkCodec::name);
    let label = PackageLabel {
        sender: order.identity.peer(),
        receiver: order.receiver,
        transfer: order.transfer,
        created: order.created,
        expires: order.expires,
        chunk_size: order.chunk_size,
        suite: order.suite,
        stages: join_codec(&order.coders, codec),
    };
    let letter = Letter {
        version: order.source.version(),
        token: order.token.clone(),
        ..Letter::new(key, label.suite, order.inbox.clone(), order.content.clone())
    };
    Ok(PackageHeader::seal(&order.identity, label, &letter)?)
}

fn start_chunker(
    order: &PackOrder,
    transfer: &Arc<Transfer>,
    running: &RunningPipeline<Chunk>,
) -> Result<Recipient<Piece>, RegistryError> {
    let seat = ChunkerSeat {
        transfer: Arc::clone(transfer),
        outlet: Balanced::single(running.inlet().clone()),
    };
    order.stages.start_chunker(seat).ok_or(RegistryError::Missing { what: "chunker" })
}

/// Reads the source as fast as there is credit.
async fn feed(
    source: &mut dyn Source,
    transfer: &Transfer,
    chunker: &Recipient<Piece>,
) -> Result<SourceReport, SourceError> {
    let (size, budget) = (transfer.scope.chunk_size as usize, Budget::new(WINDOW));
    loop {
        let credit = budget.take(size).await;
        let mut buffer = transfer.buffers.take(Prefix::LENGTH + size);
        let length = fill(source, &mut buffer[Prefix::LENGTH..]).await?;
        let last = length < size;
        // The source's last word comes before the last piece: what changed while it was read makes
        // no package.
        let report = if last { Some(source.finish()?) } else { None };
        send(
            chunker,
            Piece { buffer, length, last, credit: Some(credit), slot: None, ready: None },
        );
        if let Some(report) = report {
            return Ok(report);
        }
        // The stages have their turn: they live on this thread.
        tokio::task::yield_now().await;
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the credit of each piece bounds the chunker's mailbox"
)]
fn send(chunker: &Recipient<Piece>, piece: Piece) {
    chunker.do_send(piece);
}

/// The failure of stages that did not go on with a chunk.
pub(super) fn fault(signal: Signal) -> Failure {
    let (failure, stage) = match signal {
        Signal::Fault(fault) => {
            (Failure::new(fault.kind, fault.message).at_index(fault.index), fault.stage)
        }
        Signal::Lost(lost) => {
            let text = if lost.panicked {
                "an actor panicked with the chunk; see the log"
            } else {
                "the chunk was thrown away"
            };
            (Failure::new(FailureKind::Stage, text).at_index(lost.index), lost.stage)
        }
    };
    stage.into_iter().fold(failure, Failure::in_stage)
}

/// Tells the stages that what is still on its way is of no use.
struct Closing<'a>(&'a Transfer);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The end of the stages: hands frames to whoever writes them.
struct Tail(UnboundedSender<Sealed>);

impl Tail {
    fn start() -> (Outlet<Sealed>, UnboundedReceiver<Sealed>) {
        // Bounded by the credit that each frame holds until it is written.
        let (sender, frames) = unbounded_channel();
        (Outlet::to(Self(sender).start().recipient()), frames)
    }
}

impl Actor for Tail {
    type Context = Context<Self>;
}

impl Handler<Sealed> for Tail {
    type Result = ();

    fn handle(&mut self, sealed: Sealed, _: &mut Context<Self>) {
        // Closed when packing has ended.
        let _ = self.0.send(sealed);
    }
}
