//! A delivery by a relay: its sender is gone before its receiver comes.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use estafette::node::{OutboxState, RelayQuota};
use estafette::{Destination, Identity, Node, NodeBuilder, NodeConfig, SendOptions, TransferId};
use estafette_actors::sink::FileSink;
use estafette_actors::source::FileSource;
use estafette_actors::spool::Spool;
use estafette_actors::standard;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("in"))?;
    std::fs::write(path("letter.txt"), "Nobody on the way can read this. ".repeat(100_000))?;
    let (lyon, dijon, paris) = (Identity::generate(), Identity::generate(), Identity::generate());

    // The relay knows both; neither address of theirs is needed, since both come to it.
    let relaying = NodeConfig { relay: Some(RelayQuota::default()), ..NodeConfig::default() };
    let relay = node(folder.path(), "dijon", &dijon)?.config(relaying).listen("127.0.0.1:0");
    let nowhere: [&str; 0] = [];
    let relay = relay
        .peer("lyon", lyon.peer(), nowhere)
        .peer("paris", paris.peer(), nowhere)
        .start()
        .await?;
    let at = [relay.addresses()[0].as_str()];

    // Lyon knows paris by its key alone, which it seals the letter for.
    let start_lyon = || async {
        let sender =
            node(folder.path(), "lyon", &lyon)?.peer("dijon", dijon.peer(), at).start().await?;
        sender.stay_connected(dijon.peer());
        Ok::<_, Box<dyn Error>>(sender)
    };
    let sender = start_lyon().await?;
    let options = SendOptions { via: Some(dijon.peer()), ..SendOptions::default() };
    let to = Destination::Peer(paris.peer(), "letters".into());
    let id = sender.send_with(to, FileSource::open(path("letter.txt"))?, options).await?.id();
    until_relayed(&sender, id).await?;
    println!("lyon: dijon keeps {id}");
    sender.shutdown().await;
    // A spool has one owner at a time, as long as there are handles of its node.
    drop(sender);
    println!("lyon is away");

    // Paris must trust lyon, or have given it a ticket; and it keeps a link with its relay.
    let receiver = node(folder.path(), "paris", &paris)?.peer("lyon", lyon.peer(), nowhere).peer(
        "dijon",
        dijon.peer(),
        at,
    );
    let receiver = receiver.receive("letters", FileSink::into_dir(path("in"))).start().await?;
    receiver.stay_connected(dijon.peer());
    relay.outbox().transfer(id).await?.delivered().await?;
    let (from, _, arrival) = receiver.arrivals().remove(0);
    println!("paris: {} of {} came by dijon", arrival.name, from.short());
    receiver.processed(from, id).await?;

    // The word of paris proves itself: dijon could not have made it up.
    let sender = start_lyon().await?;
    let receipt = sender.outbox().transfer(id).await?.processed().await?;
    println!("lyon: paris has it, {} bytes, and is done with it", receipt.length);
    for node in [sender, receiver, relay] {
        node.shutdown().await;
    }
    assert_eq!(std::fs::read(path("in/letter.txt"))?, std::fs::read(path("letter.txt"))?);
    Ok(())
}

fn node(folder: &Path, name: &str, identity: &Identity) -> Result<NodeBuilder, Box<dyn Error>> {
    let spool = Arc::new(Spool::open(folder.join(name))?);
    Ok(Node::builder().name(name).identity(identity.clone()).stages(standard()).spool(spool))
}

async fn until_relayed(node: &Node, id: TransferId) -> Result<(), Box<dyn Error>> {
    let mut events = node.events();
    while !node
        .outbox()
        .list()
        .await?
        .iter()
        .any(|(known, entry)| *known == id && matches!(entry.state, OutboxState::Relayed { .. }))
    {
        events.next().await.ok_or("the node has stopped")?;
    }
    Ok(())
}
