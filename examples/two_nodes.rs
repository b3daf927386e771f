//! Two nodes in one process: one takes files into a folder, the other sends it one.

use estafette::Node;
use estafette_actors::{sink::FileSink, source::FileSource, standard};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (outbox, inbox) = (folder.path().join("out"), folder.path().join("in"));
    std::fs::create_dir(&outbox)?;
    std::fs::create_dir(&inbox)?;
    std::fs::write(outbox.join("hello.txt"), "hello over there\n".repeat(100_000))?;

    let paris = Node::builder().name("paris").listen("127.0.0.1:0").stages(standard()).start().await?;
    paris.receive("backups", FileSink::into_dir(&inbox))?;

    let lyon = Node::builder().name("lyon").stages(standard()).start().await?;
    let transfer = lyon.send(paris.ticket("backups")?, FileSource::open(outbox.join("hello.txt"))?).await?;
    let receipt = transfer.delivered().await?;

    println!("{} bytes are in {}", receipt.length, receipt.place);
    assert_eq!(std::fs::read(outbox.join("hello.txt"))?, std::fs::read(inbox.join("hello.txt"))?);
    for stage in lyon.metrics().iter().chain(&paris.metrics()) {
        println!("{:10} {:3} chunks  {:8} → {:8} bytes", stage.stage, stage.chunks, stage.bytes_in, stage.bytes_out);
    }
    lyon.shutdown().await;
    paris.shutdown().await;
    Ok(())
}
