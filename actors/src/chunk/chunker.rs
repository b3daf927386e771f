//! Cuts content into chunks of one size, and ends it with a trailer.
//!
//! Invariant: every chunk but the last has exactly the transfer's chunk size, and none is empty.

use std::sync::Arc;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use bytes::Bytes;
use estafette::delivery::{FailureKind, Trailer};
use estafette::pipeline::{
    Balanced, Buffer, Chunk, ChunkerSeat, Codec, Credit, Custody, Parcel, Piece, Prefix, Ready,
    Slot, Transfer,
};

/// The actor that cuts. A piece of exactly one chunk is not copied; others are gathered.
#[derive(Debug)]
pub struct Chunker {
    transfer: Arc<Transfer>,
    outlet: Balanced,
    next: u64,
    length: u64,
    gathered: Option<Gathered>,
}

#[derive(Debug)]
struct Gathered {
    buffer: Buffer,
    length: usize,
    credit: Option<Credit>,
    slot: Option<Slot>,
}

impl Chunker {
    /// A chunker for this transfer.
    pub fn new(ChunkerSeat { transfer, outlet }: ChunkerSeat) -> Self {
        Self { transfer, outlet, next: 0, length: 0, gathered: None }
    }

    fn size(&self) -> usize {
        self.transfer.scope.chunk_size as usize
    }

    fn cut(&mut self, Gathered { mut buffer, length, credit, slot }: Gathered) {
        let index = self.next;
        self.next += 1;
        self.length += length as u64;
        if self.transfer.is_held(index) {
            // Its credit and its slot are free again: it goes nowhere.
            return self.transfer.skip(index, &buffer[Prefix::LENGTH..Prefix::LENGTH + length]);
        }
        let raw_len = u32::try_from(length).expect("a chunk size fits 32 bits");
        buffer[..Prefix::LENGTH]
            .copy_from_slice(&Prefix { codec: Codec::RAW, raw_len, index }.encode());
        let content = buffer.freeze(0..Prefix::LENGTH + length);
        let custody = Custody::outgoing(&self.transfer, index, length as u64, credit);
        custody.keep(content.clone());
        self.outlet.send(Chunk::from_parts(custody, content), slot);
    }

    /// Passes on a chunk that another delivery has cut.
    fn pass_on(&mut self, Ready { content, subtree }: Ready, piece: &mut Piece) {
        let (index, length) = (self.next, piece.length as u64);
        self.next += 1;
        self.length += length;
        if self.transfer.is_held(index) {
            return self.transfer.skip_hashed(index, subtree, length);
        }
        self.transfer.hashed(index, subtree);
        let custody = Custody::ready(&self.transfer, index, length, piece.credit.take());
        custody.keep(content.clone());
        self.outlet.send(Chunk::from_parts(custody, content), piece.slot.take());
    }

    /// Copies a piece that does not fit the chunks' bounds.
    fn gather(&mut self, piece: &mut Piece) {
        let (size, mut taken) = (self.size(), 0);
        while taken < piece.length {
            let mut gathered = self.gathered.take().unwrap_or_else(|| Gathered {
                buffer: self.transfer.buffers.take(Prefix::LENGTH + size),
                length: 0,
                credit: piece.credit.take(),
                slot: piece.slot.take(),
            });
            let count = (size - gathered.length).min(piece.length - taken);
            let at = Prefix::LENGTH + gathered.length;
            gathered.buffer[at..at + count].copy_from_slice(&piece.bytes()[taken..taken + count]);
            gathered.length += count;
            taken += count;
            if gathered.length == size {
                self.cut(gathered);
            } else {
                self.gathered = Some(gathered);
            }
        }
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        if let Some(rest) = self.gathered.take() {
            self.cut(rest);
        }
        let (transfer, chunks) = (Arc::clone(&self.transfer), self.next);
        let digest = async move { transfer.digest_of(chunks).await };
        ctx.spawn(digest.into_actor(self).map(|digest, chunker, _| {
            if let Some(digest) = digest {
                chunker.send_trailer(digest);
            }
        }));
    }

    fn send_trailer(&mut self, digest: [u8; 32]) {
        self.transfer.set_sent_digest(digest);
        let trailer = Trailer { chunks: self.next, length: self.length, digest };
        let prefix =
            Prefix { codec: Codec::TRAILER, raw_len: Trailer::LENGTH as u32, index: self.next };
        let content = Bytes::from([&prefix.encode()[..], &trailer.encode()[..]].concat());
        let custody = Custody::trailer(&self.transfer, self.next);
        custody.keep(content.clone());
        self.outlet.send(Chunk::from_parts(custody, content), None);
    }
}

impl Actor for Chunker {
    type Context = Context<Self>;
}

impl Handler<Piece> for Chunker {
    type Result = ();

    fn handle(&mut self, mut piece: Piece, ctx: &mut Context<Self>) {
        let last = piece.last;
        if let Some(ready) = piece.ready.take() {
            self.pass_on(ready, &mut piece);
            if last {
                self.end(ctx);
            }
            return;
        }
        if piece.buffer.len() < Prefix::LENGTH + piece.length {
            let custody = Custody::outgoing(&self.transfer, self.next, 0, None);
            return custody.fail(FailureKind::Stage, "a piece says it is longer than its buffer");
        }
        let is_a_chunk = piece.length == self.size() || (last && piece.length < self.size());
        if self.gathered.is_none() && is_a_chunk && piece.length > 0 {
            let Piece { buffer, length, credit, slot, .. } = piece;
            self.cut(Gathered { buffer, length, credit, slot });
        } else {
            self.gather(&mut piece);
        }
        if last {
            self.end(ctx);
        }
    }
}
