//! A delivery that outlives its process, to a receiver who is away: stored, and delivered when both
//! have come back.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use estafette::node::FileStore;
use estafette::{Identity, Node, TransferNews};
use estafette_actors::sink::FileSink;
use estafette_actors::source::FileSource;
use estafette_actors::spool::Spool;
use estafette_actors::standard;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("in"))?;
    std::fs::write(path("letter.txt"), "Arrives, whoever sleeps meanwhile. ".repeat(100_000))?;
    let (lyon, paris) = (Identity::generate(), Identity::generate());

    // Paris gives a ticket away, and goes home for the day.
    let node = start_paris(folder.path(), &paris, "127.0.0.1:0").await?;
    let (ticket, address) = (node.ticket("letters")?, node.addresses()[0].clone());
    node.shutdown().await;
    // A spool has one owner at a time, as long as there are handles of its node.
    drop(node);
    println!("paris is away");

    // Lyon sends all the same. A second after `send` has returned, this process could be dead.
    let node = start_lyon(folder.path(), &lyon).await?;
    let transfer = node.send(ticket, FileSource::open(path("letter.txt"))?).await?;
    let (id, stored) = (transfer.id(), transfer.status().stored);
    println!("lyon: {id} is {}", if stored { "stored" } else { "lost with this process" });
    let mut events = transfer.events();
    while let Some(news) = events.next_news().await {
        if let TransferNews::Deferred { failure } = news {
            println!("lyon: not delivered yet ({failure})");
            break;
        }
    }
    node.shutdown().await;
    drop((transfer, events, node));
    println!("lyon is away, too");

    // Another day: whoever has the spool goes on.
    let receiver = start_paris(folder.path(), &paris, &address).await?;
    println!("paris is back");
    let node = start_lyon(folder.path(), &lyon).await?;
    println!("lyon is back");
    let receipt = node.outbox().transfer(id).await?.delivered().await?;
    println!("delivered: {} bytes are in {}", receipt.length, receipt.place);
    for (peer, id, arrival) in receiver.arrivals() {
        println!("paris: {} of {} came as {id}", arrival.name, peer.short());
    }
    node.shutdown().await;
    receiver.shutdown().await;
    assert_eq!(std::fs::read(path("in/letter.txt"))?, std::fs::read(path("letter.txt"))?);
    Ok(())
}

/// Sends; what it has to deliver is in the spool.
async fn start_lyon(folder: &Path, lyon: &Identity) -> Result<Node, Box<dyn Error>> {
    let spool = Arc::new(Spool::open(folder.join("lyon.spool"))?);
    Ok(Node::builder()
        .name("lyon")
        .identity(lyon.clone())
        .stages(standard())
        .spool(spool)
        .start()
        .await?)
}

/// Receives; whom it trusts is in its store, and what has arrived in its spool.
async fn start_paris(
    folder: &Path,
    paris: &Identity,
    address: &str,
) -> Result<Node, Box<dyn Error>> {
    let (store, spool) = (
        Arc::new(FileStore::open(folder.join("paris.trust"))?),
        Arc::new(Spool::open(folder.join("paris.spool"))?),
    );
    let node = Node::builder()
        .name("paris")
        .identity(paris.clone())
        .stages(standard())
        .store(store)
        .spool(spool);
    let node = node.receive("letters", FileSink::into_dir(folder.join("in"))).listen(address);
    Ok(node.start().await?)
}
