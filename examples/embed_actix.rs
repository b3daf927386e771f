//! The actors bare, in the host's own actix `System` and without a `Node`: wired by hand, from the
//! chunker to the assembler. `cargo run -p estafette-examples --example embed_actix`

use std::sync::Arc;

use actix::{Actor, Context, Handler};
use estafette::delivery::{Content, ContentKind, ContentName, KeyScope, TransferKey};
use estafette::metrics::Metrics;
use estafette::pipeline::{
    Assembled, AssemblerSeat, Assembly, Balanced, Budget, ChunkerSeat, Offer, Piece, Transfer,
};
use estafette::prelude::*;
use estafette_actors::chunk::{Assembler, Chunker, Digest};
use estafette_actors::compress::{Compressor, Decompressor, Snappy};
use estafette_actors::seal::{Opener, Sealer};
use estafette_actors::sink::MemorySink;

/// Carries sealed frames from one end to the other: here within the process, in your program
/// however you like.
struct Road(Arc<Transfer>, Outlet<Sealed>);

impl Actor for Road {
    type Context = Context<Self>;
}

impl Handler<Sealed> for Road {
    type Result = ();
    fn handle(&mut self, sealed: Sealed, _: &mut Context<Self>) {
        let frame = sealed.content().clone();
        sealed.custody().finish(sealed.custody().content_length());
        Sealed::arrived(&self.0, frame)
            .expect("it is a frame of ours")
            .into_iter()
            .for_each(|sealed| self.1.send(sealed));
    }
}

/// Hears how assembling goes.
struct Owner;

impl Actor for Owner {
    type Context = Context<Self>;
}

impl Handler<Assembled> for Owner {
    type Result = ();
    fn handle(&mut self, assembled: Assembled, _: &mut Context<Self>) {
        assert!(!matches!(assembled.news, Assembly::Failed(_)), "{assembled:?}");
    }
}

#[actix::main]
async fn main() -> anyhow::Result<()> {
    let (lyon, paris, metrics) =
        (Identity::generate().peer(), Identity::generate().peer(), Metrics::default());
    let (scope, key) = (KeyScope::fresh(lyon, paris, 64 << 10), TransferKey::random());
    let (here, _lost) = Transfer::bare(scope, key.clone(), Some(Arc::new(Snappy)));
    let (there, _lost) = Transfer::bare(scope, key, Some(Arc::new(Snappy)));

    // The receiver's end, from its last actor to its first.
    let (inbox, mut deliveries) = MemorySink::channel(8 << 20, 1);
    let content = Content::new(ContentKind::Bytes, ContentName::new("letter")?, None);
    let sink = inbox.open(&Offer::new(lyon, scope.transfer, content))?;
    let (seat, _abort) = AssemblerSeat::bare(Arc::clone(&there), sink, Owner.start().recipient());
    let receive = Pipeline::new()
        .then("open", Opener::new)
        .then("decompress", Decompressor::default)
        .then("verify", Digest::default);
    let receive =
        receive.start(&metrics, Outlet::to(Assembler::new(seat).start().recipient())).await?;

    // The sender's end. A wrong order of stages would not compile.
    let road = Road(there, receive.inlet().clone()).start().recipient();
    let send = Pipeline::new()
        .then("digest", Digest::default)
        .then("compress", Compressor::default)
        .then("seal", Sealer::new);
    let send = send.start(&metrics, Outlet::to(road)).await?;
    let outlet = Balanced::single(send.inlet().clone());
    let chunker = Chunker::new(ChunkerSeat { transfer: Arc::clone(&here), outlet }).start();

    // 256 KiB of credit bound all mailboxes together, whatever the size of the content.
    let (letter, budget) =
        ("Bonjour, cher collègue !\n".repeat(100_000).into_bytes(), Budget::new(256 << 10));
    let mut pieces = letter.chunks(64 << 10).peekable();
    while let Some(piece) = pieces.next() {
        let credit = budget.take(piece.len()).await;
        chunker
            .send(Piece::copied(&here, piece, pieces.peek().is_none()).with_credit(credit))
            .await?;
    }
    let delivered = deliveries.recv().await.expect("the inbox is open").bytes;
    let sealed: u64 = metrics
        .report()
        .iter()
        .filter(|stage| stage.stage == "seal")
        .map(|stage| stage.bytes_out)
        .sum();
    println!(
        "{} bytes went through eight stages, were {sealed} when sealed, and arrived as they had \
         been",
        delivered.len()
    );
    assert_eq!(delivered, letter);
    Ok(())
}
