//! Both chains of stages in one process, without a node, a socket or a disk: what actors alone make
//! of the stages.
//!
//! Invariant: what comes out of the last stage is verified by its digest, or the pass fails.

use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, Context, Handler, System};
use anyhow::{Context as _, Result, ensure};
use estafette::delivery::{KeyScope, TransferId, TransferKey};
use estafette::metrics::Metrics;
use estafette::pipeline::{
    Chunk, Codec, Custody, Outlet, Parcel, Pipeline, Prefix, Sealed, Transfer,
};
use estafette::wire::{PeerId, Suite};
use estafette_actors::chunk::Digest;
use estafette_actors::compress::Snappy;
use estafette_actors::compress::{Compressor, Decompressor};
use estafette_actors::seal::{Opener, Sealer};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::corpus::Corpus;
use crate::machine;

/// The arbiters that the stages run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workers {
    /// All on the arbiter that feeds them.
    OneArbiter,
    /// So many replicas of both chains, each on an arbiter of its own.
    Parallel(usize),
}

/// The figures of a pass.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pass {
    /// Content per second, 10⁶ bytes.
    pub mb_per_s: f64,
    /// CPU seconds per GB of content, all threads.
    pub seconds_per_gb: f64,
}

/// Brings `bytes` of `corpus` through digest, compress, seal, open, decompress, digest and place,
/// in chunks of `chunk` bytes.
///
/// # Errors
/// When what comes out is not what went in.
pub fn pass(corpus: &Corpus, chunk: u32, bytes: u64, workers: Workers) -> Result<Pass> {
    System::new().block_on(async {
        let (here, there) = (end(chunk), end(chunk));
        let replicas = if let Workers::Parallel(replicas) = workers { replicas } else { 1 };
        let room = Arc::new(Semaphore::new(IN_FLIGHT * replicas));
        let chain = chains(&there, &room, replicas);
        let chain = if let Workers::Parallel(replicas) = workers {
            chain.parallel(replicas)
        } else {
            chain.inline()
        };
        let running = chain
            .start(&Metrics::default(), Outlet::to(Nowhere.start().recipient()))
            .await
            .expect("the system gives threads");
        let (started, cpu) = (Instant::now(), machine::process_cpu_seconds());
        let mut chunks = 0;
        for piece in corpus.pieces(bytes, chunk as usize) {
            room.acquire().await.context("the room closed")?.forget();
            running.send(cut(&here, chunks, &piece)?);
            chunks += 1;
        }
        let all = u32::try_from(IN_FLIGHT * replicas).context("too many workers")?;
        drop(room.acquire_many(all).await.context("the room closed")?);
        let (seconds, cpu) =
            (started.elapsed().as_secs_f64(), machine::process_cpu_seconds() - cpu);
        let digest = there.digest_now(chunks).context("not all chunks came out")?;
        ensure!(
            digest == *corpus.digest(bytes).as_bytes(),
            "what came out of the chains is not what went in"
        );
        Ok(Pass {
            mb_per_s: bytes as f64 / seconds / 1e6,
            seconds_per_gb: cpu / bytes as f64 * 1e9,
        })
    })
}

fn end(chunk_size: u32) -> Arc<Transfer> {
    let scope = KeyScope {
        transfer: TransferId::from_bytes([3; 24]),
        attempt: 0,
        suite: Suite::XSALSA20_POLY1305,
        sender: PeerId::from_bytes([1; 32]),
        receiver: PeerId::from_bytes([2; 32]),
        chunk_size,
    };
    // Nobody hears its signals: a chunk that fails is missing at the end, and the pass with it.
    Transfer::bare(scope, TransferKey::from_bytes([9; 32]), Some(Arc::new(Snappy))).0
}

/// As the source and the chunker of a node do it: one copy, into a buffer that is used again.
fn cut(transfer: &Arc<Transfer>, index: u64, piece: &[u8]) -> Result<Chunk> {
    let raw_len = u32::try_from(piece.len()).context("a chunk beyond 4 GiB")?;
    let length = Prefix::LENGTH + piece.len();
    let mut buffer = transfer.buffers.take(length);
    buffer[..Prefix::LENGTH]
        .copy_from_slice(&Prefix { codec: Codec::RAW, raw_len, index }.encode());
    buffer[Prefix::LENGTH..].copy_from_slice(piece);
    let custody = Custody::outgoing(transfer, index, u64::from(raw_len), None);
    Ok(Chunk::from_parts(custody, buffer.freeze(0..length)))
}

fn chains(there: &Arc<Transfer>, room: &Arc<Semaphore>, replicas: usize) -> Pipeline<Chunk, Chunk> {
    let (there, room) = (Arc::clone(there), Arc::clone(room));
    Pipeline::new()
        .then("digest", Digest::default)
        .then("compress", Compressor::default)
        .then("seal", Sealer::new)
        .then_actor("road", move |outlet| {
            Road { there: Arc::clone(&there), outlet }.start().recipient()
        })
        .then("open", Opener::new)
        .then("decompress", Decompressor::default)
        .then("digest'", Digest::default)
        .then_actor("place", move |_| {
            Place { window: vec![0; WINDOW / replicas], room: Arc::clone(&room) }
                .start()
                .recipient()
        })
}

/// A road without a way: what leaves one end arrives at the other.
struct Road {
    there: Arc<Transfer>,
    outlet: Outlet<Sealed>,
}

impl Actor for Road {
    type Context = Context<Self>;
}

impl Handler<Sealed> for Road {
    type Result = ();

    fn handle(&mut self, sealed: Sealed, _: &mut Context<Self>) {
        sealed.custody().finish(0);
        if let Ok(Some(arrived)) = Sealed::arrived(&self.there, sealed.content().clone()) {
            self.outlet.send(arrived);
        }
    }
}

/// Places chunks as the limit's last step does, and makes room for others.
struct Place {
    window: Vec<u8>,
    room: Arc<Semaphore>,
}

impl Actor for Place {
    type Context = Context<Self>;
}

impl Handler<Chunk> for Place {
    type Result = ();

    fn handle(&mut self, chunk: Chunk, _: &mut Context<Self>) {
        let (index, bytes) = (chunk.custody().index() as usize, chunk.bytes());
        let slots = (self.window.len() / bytes.len().max(1)).max(1);
        let (at, length) = (index % slots * bytes.len(), bytes.len().min(self.window.len()));
        self.window[at..at + length].copy_from_slice(&bytes[..length]);
        chunk.custody().finish(length as u64);
        self.room.add_permits(1);
    }
}

/// The tail that nothing reaches: chunks end where they are placed.
struct Nowhere;

impl Actor for Nowhere {
    type Context = Context<Self>;
}

impl Handler<Chunk> for Nowhere {
    type Result = ();

    fn handle(&mut self, chunk: Chunk, _: &mut Context<Self>) {
        chunk.custody().finish(0);
    }
}

/// Chunks among the stages of one replica, as in a node.
const IN_FLIGHT: usize = 2;
const WINDOW: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Kind;

    #[test]
    fn content_of_either_kind_comes_through_on_one_arbiter_and_on_several() {
        for kind in [Kind::Text, Kind::Random] {
            let corpus = Corpus::generate(kind, 1, 1 << 20);
            for workers in [Workers::OneArbiter, Workers::Parallel(2)] {
                let pass = pass(&corpus, 64 << 10, 3 << 20, workers).unwrap();
                assert!(
                    pass.mb_per_s > 0.0 && pass.seconds_per_gb > 0.0,
                    "{kind} {workers:?}: {pass:?}"
                );
            }
        }
    }
}
