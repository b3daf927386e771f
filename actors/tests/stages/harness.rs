//! Transfers, chunks and frames outside of a node.

use std::sync::Arc;

use actix::{Actor, Context, Handler, System};
use bytes::Bytes;
use estafette::delivery::{Content, ContentKind, ContentName, KeyScope, TransferId, TransferKey};
use estafette::metrics::Metrics;
use estafette::pipeline::{
    Assembled, AssemblerSeat, Assembly, Balanced, Chunk, ChunkerSeat, Codec, Custody, Inbox, Offer,
    Outlet, Parcel, Piece, Pipeline, Prefix, Sealed, Signal, Transfer,
};
use estafette::wire::{PeerId, Suite};
use estafette_actors::chunk::{Assembler, Chunker, Digest};
use estafette_actors::compress::Snappy;
use estafette_actors::sink::MemorySink;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) fn scope(chunk_size: u32) -> KeyScope {
    KeyScope {
        transfer: TransferId::from_bytes([3; 24]),
        attempt: 0,
        suite: Suite::XSALSA20_POLY1305,
        sender: PeerId::from_bytes([1; 32]),
        receiver: PeerId::from_bytes([2; 32]),
        chunk_size,
    }
}

/// One end of a transfer; its signals go nowhere.
pub(crate) fn end_of(scope: KeyScope) -> Arc<Transfer> {
    Transfer::bare(scope, TransferKey::from_bytes([9; 32]), Some(Arc::new(Snappy))).0
}

pub(crate) fn end(chunk_size: u32) -> Arc<Transfer> {
    end_of(scope(chunk_size))
}

/// A chunk as the chunker makes it.
pub(crate) fn chunk(transfer: &Arc<Transfer>, index: u64, bytes: &[u8]) -> Chunk {
    let prefix = Prefix { codec: Codec::RAW, raw_len: bytes.len() as u32, index };
    let custody = Custody::outgoing(transfer, index, bytes.len() as u64, None);
    Chunk::from_parts(custody, [&prefix.encode(), bytes].concat().into())
}

/// Bytes that compress to less than half, and differ everywhere.
pub(crate) fn text(length: usize) -> Vec<u8> {
    let line = |number: usize| {
        format!("line {number} of the text, and what stands in it stands in the others, too\n")
            .into_bytes()
    };
    (0..).flat_map(line).take(length).collect()
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_derive_key("noise").finalize_xof().fill(&mut bytes);
    bytes
}

/// Sizes around every boundary of `chunk` bytes.
pub(crate) fn sizes(chunk: usize) -> Vec<usize> {
    let around = [1, 2, 3, 4, 8].map(|count| count * chunk);
    [0, 1, 2]
        .into_iter()
        .chain(around.into_iter().flat_map(|size| [size - 1, size, size + 1]))
        .collect()
}

/// Collects what comes out of a stage.
struct Collector<M>(UnboundedSender<M>);

impl<M: Parcel> Actor for Collector<M> {
    type Context = Context<Self>;
}

impl<M: Parcel> Handler<M> for Collector<M> {
    type Result = ();
    fn handle(&mut self, message: M, _: &mut Context<Self>) {
        message.custody().finish(0);
        self.0.send(message).unwrap();
    }
}

/// The road: what leaves one end of a transfer arrives at the other.
struct Road {
    there: Arc<Transfer>,
    inlet: Outlet<Sealed>,
}

impl Actor for Road {
    type Context = Context<Self>;
}

impl Handler<Sealed> for Road {
    type Result = ();
    fn handle(&mut self, sealed: Sealed, _: &mut Context<Self>) {
        sealed.custody().finish(0);
        self.inlet.send(Sealed::arrived(&self.there, sealed.content().clone()).unwrap().unwrap());
    }
}

struct Owner(UnboundedSender<Assembly>);

impl Actor for Owner {
    type Context = Context<Self>;
}

impl Handler<Assembled> for Owner {
    type Result = ();
    fn handle(&mut self, assembled: Assembled, _: &mut Context<Self>) {
        if !matches!(assembled.news, Assembly::Grant(_)) {
            self.0.send(assembled.news).unwrap();
        }
    }
}

/// Everything the chunker makes of content that comes in pieces of these lengths; the last is
/// marked so when it comes, or by an empty one behind it.
pub(crate) fn cut(
    content: &[u8],
    chunk_size: u32,
    pieces: impl Iterator<Item = usize>,
    empty_end: bool,
) -> Vec<(u64, bool, Bytes)> {
    System::new().block_on(async {
        let transfer = end(chunk_size);
        let (sender, mut collected) = unbounded_channel();
        let tail = Outlet::to(Collector::<Chunk>(sender).start().recipient());
        let digest = Pipeline::new()
            .then("digest", Digest::default)
            .start(&Metrics::default(), tail)
            .await
            .unwrap();
        let outlet = Balanced::single(digest.inlets().next().unwrap().clone());
        let chunker = Chunker::new(ChunkerSeat { transfer: Arc::clone(&transfer), outlet }).start();
        feed(content, pieces, empty_end, |bytes, last| {
            chunker.do_send(Piece::copied(&transfer, bytes, last))
        });
        let mut chunks = Vec::new();
        loop {
            let chunk = collected.recv().await.unwrap();
            let last = chunk.custody().is_trailer();
            chunks.push((chunk.custody().index(), last, chunk.content().clone()));
            if last {
                return chunks;
            }
        }
    })
}

fn feed(
    content: &[u8],
    pieces: impl Iterator<Item = usize>,
    empty_end: bool,
    mut send: impl FnMut(&[u8], bool),
) {
    let mut rest = content;
    for piece in pieces {
        let (bytes, after) = rest.split_at(piece.min(rest.len()));
        rest = after;
        send(bytes, rest.is_empty() && !empty_end);
        if rest.is_empty() {
            break;
        }
    }
    if empty_end {
        send(&[], true);
    }
}

/// Content through both ends of a transfer, with these pipelines between; what the sink got, and
/// the verdict.
pub(crate) fn deliver(
    content: &[u8],
    chunk_size: u32,
    send: &Pipeline<Chunk, Sealed>,
    receive: &Pipeline<Sealed, Chunk>,
) -> (Assembly, Bytes) {
    System::new().block_on(async {
        let (here, there, metrics) = (end(chunk_size), end(chunk_size), Metrics::default());
        let (inbox, mut delivered) = MemorySink::channel(1 << 24, 1);
        let name = ContentName::new("content").unwrap();
        let content_of = Content::new(ContentKind::Bytes, name, Some(content.len() as u64));
        let sink = inbox
            .open(&Offer::new(scope(chunk_size).sender, scope(chunk_size).transfer, content_of))
            .unwrap();
        let (sender, mut verdicts) = unbounded_channel();
        let (seat, _abort) =
            AssemblerSeat::bare(Arc::clone(&there), sink, Owner(sender).start().recipient());
        let receiving = receive
            .start(&metrics, Outlet::to(Assembler::new(seat).start().recipient()))
            .await
            .unwrap();
        let road = Road { there, inlet: receiving.inlets().next().unwrap().clone() };
        let sending = send.start(&metrics, Outlet::to(road.start().recipient())).await.unwrap();
        let outlet = Balanced::single(sending.inlets().next().unwrap().clone());
        let chunker = Chunker::new(ChunkerSeat { transfer: Arc::clone(&here), outlet }).start();
        feed(content, std::iter::repeat(chunk_size as usize), content.is_empty(), |bytes, last| {
            chunker.do_send(Piece::copied(&here, bytes, last));
        });
        let verdict = verdicts.recv().await.unwrap();
        (verdict, delivered.try_recv().map(|delivered| delivered.bytes).unwrap_or_default())
    })
}

/// The signals that the owner of a transfer has heard so far.
pub(crate) fn heard(signals: &mut UnboundedReceiver<Signal>) -> Vec<Signal> {
    std::iter::from_fn(|| signals.try_recv().ok()).collect()
}
