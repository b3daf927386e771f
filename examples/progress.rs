//! Watching a transfer, pausing it, letting it go on, and cancelling one.
//!
//! `cargo run -p estafette-examples --example progress`

use estafette::prelude::*;
use estafette_actors::{sink::NullSink, source::ReaderSource, standard};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

const MIB: u64 = 1 << 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let paris = Node::builder().listen("127.0.0.1:0").stages(standard()).start().await?;
    paris.receive("films", NullSink::new())?;
    let lyon = Node::builder().stages(standard()).start().await?;

    // The content is a pipe here, so that we decide how far it has got.
    let (mut pipe, source) = content("film")?;
    let transfer = lyon.send(paris.ticket("films")?, source).await?;
    let mut events = transfer.events();

    pipe.write_all(&vec![7; MIB as usize]).await?;
    let mut seen = 0;
    while seen < MIB {
        let news = events.next_news().await.expect("the node runs");
        if let TransferNews::Progress { bytes, total } = news {
            println!(
                "{bytes:>8} of {} bytes",
                total.map_or_else(|| "?".into(), |total| total.to_string())
            );
            seen = bytes;
        }
    }

    transfer.pause();
    while !matches!(events.next_news().await, Some(TransferNews::Paused)) {}
    println!("  paused: what has credit still arrives, and no more");
    transfer.resume();
    while !matches!(events.next_news().await, Some(TransferNews::Resumed)) {}
    println!("  goes on");

    pipe.write_all(&vec![8; 2 * MIB as usize]).await?;
    drop(pipe);
    let receipt = transfer.delivered().await?;
    println!("{:>8} bytes delivered, {}", receipt.length, transfer.id());
    assert_eq!((receipt.length, transfer.status().bytes), (3 * MIB, 3 * MIB));

    // The pipe of this one stays open: without a cancel it would never end.
    let (_pipe, source) = content("endless")?;
    let endless = lyon.send(paris.ticket("films")?, source).await?;
    endless.cancel();
    let failure = endless.delivered().await.expect_err("it was cancelled");
    println!("   another one: {failure}");
    assert_eq!(failure.kind, FailureKind::Cancelled);

    lyon.shutdown().await;
    paris.shutdown().await;
    Ok(())
}

fn content(name: &str) -> anyhow::Result<(DuplexStream, impl Source)> {
    let (pipe, reader) = duplex(64 << 10);
    Ok((pipe, ReaderSource::new(name, reader)?))
}
