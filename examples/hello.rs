//! The smallest complete program: two nodes, one delivery.
//!
//! `cargo run -p estafette-examples --example hello`

use estafette::Node;
use estafette_actors::{sink::MemorySink, source::BytesSource, standard};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Paris listens, and takes deliveries of up to 1 MiB to its inbox "post".
    let paris =
        Node::builder().name("paris").listen("127.0.0.1:0").stages(standard()).start().await?;
    let (inbox, mut deliveries) = MemorySink::channel(1 << 20, 1);
    paris.receive("post", inbox)?;

    // A ticket is all the other side needs: whom to dial, where, and the token that lets it in.
    let ticket = paris.ticket("post")?;

    // Lyon sends. `delivered` returns when Paris has verified all of it.
    let lyon = Node::builder().name("lyon").stages(standard()).start().await?;
    let transfer = lyon.send(ticket, BytesSource::new("letter", "Bonjour de Lyon !")?).await?;
    let receipt = transfer.delivered().await?;

    let letter = deliveries.recv().await.expect("it was delivered");
    println!(
        "Paris has {:?}: {:?} ({} bytes)",
        letter.offer.content.name,
        str::from_utf8(&letter.bytes)?,
        receipt.length
    );
    assert_eq!(letter.bytes, "Bonjour de Lyon !");

    lyon.shutdown().await;
    paris.shutdown().await;
    Ok(())
}
