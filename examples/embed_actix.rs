//! The actors bare, in the host's own actix `System` and without a `Node`: wired by hand, from the chunker to the assembler.
//!
//! `cargo run -p estafette-examples --example embed_actix`

use std::sync::Arc;

use actix::{Actor, Context, Handler, Recipient};
use estafette::delivery::{Content, ContentKind, ContentName, KeyScope, TransferKey};
use estafette::metrics::Metrics;
use estafette::pipeline::{Assembled, AssemblerSeat, Assembly, Balanced, Budget, ChunkerSeat, Compression, Offer, Piece, Transfer};
use estafette::prelude::*;
use estafette_actors::chunk::{Assembler, Chunker, Digest};
use estafette_actors::compress::{Compressor, Decompressor};
use estafette_actors::seal::{Opener, Sealer};
use estafette_actors::sink::MemorySink;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Carries sealed frames from one end to the other: here within the process, in your program however you like.
struct Road(Arc<Transfer>, Outlet<Sealed>);

impl Actor for Road {
    type Context = Context<Self>;
}

impl Handler<Sealed> for Road {
    type Result = ();
    fn handle(&mut self, sealed: Sealed, _: &mut Context<Self>) {
        let frame = sealed.content().clone();
        sealed.custody().finish(sealed.custody().content_length());
        match Sealed::arrived(&self.0, frame) {
            Ok(arrived) => arrived.into_iter().for_each(|sealed| self.1.send(sealed)),
            Err(error) => eprintln!("a frame was lost: {error}"),
        }
    }
}

/// Hears from the assembler how it goes.
struct Owner(UnboundedSender<Assembly>);

impl Actor for Owner {
    type Context = Context<Self>;
}

impl Handler<Assembled> for Owner {
    type Result = ();
    fn handle(&mut self, assembled: Assembled, _: &mut Context<Self>) {
        self.0.send(assembled.news).expect("main waits for it");
    }
}

#[actix::main]
async fn main() -> anyhow::Result<()> {
    let (lyon, paris, metrics) = (Identity::generate().peer(), Identity::generate().peer(), Metrics::default());
    let (scope, key) = (KeyScope::fresh(lyon, paris, 64 << 10), TransferKey::random());
    let (here, _lost) = Transfer::bare(scope, key.clone(), Compression::Snappy);
    let (there, _lost) = Transfer::bare(scope, key, Compression::Snappy);

    // The receiver's end, from its last actor to its first.
    let (inbox, mut deliveries) = MemorySink::channel(8 << 20, 1);
    let content = Content { kind: ContentKind::Bytes, name: ContentName::new("letter")?, length: None };
    let sink = inbox.open(&Offer { peer: lyon, transfer: scope.transfer, content })?;
    let (owner, mut news) = unbounded_channel();
    let (seat, _abort) = AssemblerSeat::bare(Arc::clone(&there), sink, Owner(owner).start().recipient());
    let receive = Pipeline::new().then("open", Opener::new).then("decompress", Decompressor::default).then("verify", Digest::default);
    let receive = receive.start(&metrics, Outlet::to(Assembler::new(seat).start().recipient())).await;

    // The sender's end. A wrong order of stages would not compile.
    let road = Road(there, receive.inlet().clone()).start().recipient();
    let send = Pipeline::new().then("digest", Digest::default).then("compress", Compressor::default).then("seal", Sealer::new);
    let send = send.start(&metrics, Outlet::to(road)).await;
    let seat = ChunkerSeat { transfer: Arc::clone(&here), outlet: Balanced::single(send.inlet().clone()) };
    let chunker: Recipient<Piece> = Chunker::new(seat).start().recipient();

    // The credit of 256 KiB bounds all mailboxes together, whatever the size of the content.
    let (letter, budget) = ("Bonjour, cher collègue !\n".repeat(100_000).into_bytes(), Budget::new(256 << 10));
    let mut pieces = letter.chunks(64 << 10).peekable();
    while let Some(piece) = pieces.next() {
        let credit = budget.take(piece.len()).await;
        chunker.send(Piece::copied(&here, piece, pieces.peek().is_none()).with_credit(credit)).await?;
    }
    while !matches!(news.recv().await, Some(Assembly::Committed { .. })) {}
    let delivered = deliveries.recv().await.expect("it was committed").bytes;
    let sealed = metrics.report().iter().find(|stage| stage.stage == "seal").map_or(0, |stage| stage.bytes_out);
    println!("{} bytes went through seven actors, {sealed} of them sealed, and arrived as they were", delivered.len());
    assert_eq!(delivered, letter);
    Ok(())
}
