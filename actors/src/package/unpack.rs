//! A package into the inbox it is for.
//!
//! Invariant: the sink is committed only with what the sender put in, and when unpacking fails the
//! sink was told before that is said.

use std::sync::Arc;

use estafette::delivery::{Failure, FailureKind, Incoming, Receipt, TransferKey};
use estafette::metrics::Metrics;
use estafette::node::{NodeConfig, OpenedInbox, PackageOffer, UnpackOrder, Unpacked};
use estafette::pipeline::{
    Chunk, Committed, Outlet, Parcel, Pipeline, Progress, Resumed, Sealed, SharedCodec, Slots,
    SourceError, Summary, Transfer,
};
use estafette::wire::package::{CHECKSUM_LENGTH, Letter, PackageError, PackageLabel};

use super::assembling::Assembling;
use super::no_thread;
use super::reading::{self, Reading};
use crate::thread::{self, Gone, Thread};

/// Enough chunks on their way that no stage waits for another.
const IN_FLIGHT: usize = 16;
/// Clocks of two nodes may differ by so many seconds.
const SKEW: u64 = 300;

pub(super) async fn unpack(order: UnpackOrder) -> Result<Unpacked, Failure> {
    let name =
        reading::name(&std::path::absolute(&order.file).unwrap_or_else(|_| order.file.clone()));
    let stopped = || {
        Failure::new(
            FailureKind::Stage,
            "unpacking stopped, by a panic or by the end of the node; see the log",
        )
    };
    let unpacked = thread::run(move |thread, gone| work(order, thread, gone), drop).await;
    unpacked.map_err(|error| no_thread(&error))?.unwrap_or_else(|| Err(stopped())).map_err(
        |failure| match failure.kind {
            FailureKind::Integrity if !failure.message.starts_with(&name) => Failure {
                message: format!("{name} is damaged, set it aside: {}", failure.message),
                ..failure
            },
            _ => failure,
        },
    )
}

async fn work(
    order: UnpackOrder,
    thread: Arc<Thread>,
    mut gone: Gone,
) -> Result<Unpacked, Failure> {
    let mut reading = Reading::open(&order.file).map_err(unreadable)?;
    let letter = reading.header().open(&order.identity).map_err(unopened)?;
    let label = reading.header().label().clone();
    let Undone { stages, codec, growth } = check(&order, &label)?;
    let key = TransferKey::from_bytes(*letter.key.expose());
    let offer = offer(&label, letter, reading.header().identity());
    let OpenedInbox { sink, journalled } = (order.open_inbox)(&offer)?;
    let resumed = match sink.resumed() {
        Resumed::Committed(summary, committed) => {
            return Ok(unpacked(&key, offer, order.now, summary, committed));
        }
        Resumed::Chunks(progress) => progress,
        // No package is offered as one that may be there already.
        Resumed::Nothing | Resumed::AlreadyThere(..) => Progress::default(),
    };
    let (transfer, signals) = Transfer::bare(label.scope(), key, codec);
    transfer.allow_growth(growth);
    if journalled {
        go_on(&transfer, &resumed);
    }
    let begun = Assembling::begin(
        &order.stages,
        &transfer,
        sink,
        journalled.then_some(resumed),
        signals,
        thread,
    );
    let (mut assembling, assembler) = begun?;
    let running = stages
        .inline()
        .start(&Metrics::default(), Outlet::to(assembler))
        .await
        .map_err(|error| no_thread(&error))?;
    let in_flight = (order.window / (2 * label.chunk_size as usize)).clamp(1, IN_FLIGHT);
    let outcome = tokio::select! {
        biased;
        _ = &mut gone => Err((Failure::new(FailureKind::Shutdown, "nobody waits for the package any more"), journalled)),
        outcome = assembling.watch(feed(&mut reading, &transfer, running.inlet(), in_flight)) => outcome.map_err(|failure| (failure, false)),
    };
    transfer.close();
    let (summary, committed) = match outcome {
        Ok(done) => done,
        Err((failure, keep)) => assembling.stop(failure, keep).await?,
    };
    Ok(unpacked(&transfer.key, offer, order.now, summary, committed))
}

/// The inverse of the sender's stages.
struct Undone {
    stages: Pipeline<Sealed, Chunk>,
    codec: Option<SharedCodec>,
    growth: u32,
}

/// Checks what a node asks of any delivery, before its inbox does; gives the stages it passes.
fn check(order: &UnpackOrder, label: &PackageLabel) -> Result<Undone, Failure> {
    let refuse = |kind, text: String| Err(Failure::new(kind, text));
    if label.chunk_size as usize > order.window / 2 {
        let most = order.window / 2;
        return refuse(
            FailureKind::Refused,
            format!("chunks of {} bytes are too large here, {most} is the most", label.chunk_size),
        );
    }
    let (life, most) =
        (label.expires.saturating_sub(label.created), NodeConfig::EXPIRY_MOST.as_secs());
    if life > most {
        return refuse(
            FailureKind::Refused,
            format!("the package is to live for {life} seconds, {most} is the most"),
        );
    }
    // Whoever carries it may hold it back for longer than the receiver remembers it. By the
    // receiver's clock, which may be wrong: so it passes, and whoever carries it comes again.
    if label.expires < order.now {
        return refuse(
            FailureKind::Expired,
            "the package has expired, or the clocks of the two nodes differ too much".into(),
        );
    }
    // Nobody would remember it until then. It passes, too.
    if label.expires > order.now.saturating_add(most + SKEW) {
        let text = "the package is dated in the future, or the clock of its receiver is behind: \
                    it is taken when it is its time";
        return refuse(FailureKind::Busy, text.into());
    }
    let known = &order.stages;
    let undone = known.named_codec(&label.stages).and_then(|(coders, codec)| {
        let stages = known.receiving(coders, label.suite)?;
        Ok(Undone { stages, codec, growth: known.growth(coders, label.chunk_size)? })
    });
    undone.map_err(|error| {
        Failure::new(
            FailureKind::Stage,
            format!("the receiver can't undo what was done to the chunks: {}", error.to_sender()),
        )
    })
}

fn offer(label: &PackageLabel, letter: Letter, package: [u8; 32]) -> PackageOffer {
    let PackageLabel { sender, transfer, chunk_size, created, expires, .. } = *label;
    let Letter { inbox, content, version, token, .. } = letter;
    PackageOffer {
        sender,
        transfer,
        chunk_size,
        inbox,
        content,
        token,
        version: version.unwrap_or(package),
        created,
        expires,
    }
}

fn unpacked(
    key: &TransferKey,
    offer: PackageOffer,
    now: u64,
    summary: Summary,
    committed: Committed,
) -> Unpacked {
    let life = offer.life(now);
    let PackageOffer { sender, transfer, inbox, content, .. } = offer;
    let mac = |state| key.receipt(transfer, 0, state, &summary.digest);
    let Committed { ref place, files, .. } = committed;
    let receipt = Receipt {
        digest: summary.digest,
        length: summary.length,
        place: place.clone(),
        files,
        mac: mac("delivered"),
    };
    Unpacked {
        sender,
        transfer,
        inbox,
        content,
        summary,
        receipt,
        processed_mac: mac("processed"),
        committed,
        life,
    }
}

/// Begins behind the chunks that the sink holds.
fn go_on(transfer: &Transfer, held: &Progress) {
    let mut incoming = Incoming::resumed(u64::MAX / 4, held.chunks);
    incoming.open();
    transfer.keep_subtrees();
    transfer.go_on(incoming, held.digest.clone(), held.length);
}

/// Gives the frames to the stages, a few at a time.
async fn feed(
    reading: &mut Reading,
    transfer: &Arc<Transfer>,
    inlet: &Outlet<Sealed>,
    in_flight: usize,
) -> Result<(), Failure> {
    let slots = Slots::new(in_flight);
    while let Some(record) = reading.next().map_err(unreadable)? {
        let slot = slots.take().await;
        let frame = record.slice(..record.len() - CHECKSUM_LENGTH);
        let arrived = Sealed::arrived(transfer, frame)
            .map_err(|error| Failure::new(FailureKind::Protocol, error.to_string()))?;
        // What an earlier attempt left with the sink does not arrive again.
        if let Some(sealed) = arrived {
            sealed.custody().hold_slot(slot);
            inlet.send(sealed);
        }
        // The stages have their turn: they live on this thread.
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn unreadable(error: SourceError) -> Failure {
    let kind = match error {
        SourceError::Damaged { .. } => FailureKind::Integrity,
        SourceError::Unsuitable { .. } => FailureKind::Protocol,
        _ => FailureKind::Io,
    };
    Failure::new(kind, error.to_string())
}

fn unopened(error: PackageError) -> Failure {
    let kind = match error {
        PackageError::OtherReceiver { .. } => FailureKind::Refused,
        PackageError::Malformed(_) => FailureKind::Protocol,
        _ => FailureKind::Integrity,
    };
    Failure::new(kind, error.to_string())
}
