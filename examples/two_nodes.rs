//! Two nodes that know each other by key: one sends the other a file and a folder, and shows what
//! every stage did.
//!
//! `cargo run -p estafette-examples --example two_nodes`

use std::fs;
use std::path::Path;

use estafette::{Identity, Node, TrustedPeer};
use estafette_actors::source::{FileSource, TreeSource};
use estafette_actors::{sink::FileSink, standard};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (outbox, inbox) = (folder.path().join("out"), folder.path().join("in"));
    fill(&outbox)?;
    fs::create_dir(&inbox)?;

    // A key file is made at the first start; it is who the node is from then on.
    let paris_key = Identity::load_or_create(folder.path().join("paris.key"))?;
    let lyon_key = Identity::load_or_create(folder.path().join("lyon.key"))?;

    let paris = Node::builder()
        .name("paris")
        .identity(paris_key)
        .listen("127.0.0.1:0")
        .stages(standard())
        .start()
        .await?;
    paris.receive("backups", FileSink::into_dir(&inbox))?;
    paris.trust().add(
        lyon_key.peer(),
        TrustedPeer { inboxes: vec!["backups".into()], ..TrustedPeer::new("lyon") },
    )?;

    let lyon = Node::builder().name("lyon").identity(lyon_key).stages(standard());
    let lyon = lyon.peer("paris", paris.peer(), paris.addresses().to_vec()).start().await?;

    let (file, tree) = (
        FileSource::open(outbox.join("hello.txt"))?,
        TreeSource::new(vec![outbox.join("photos")])?,
    );
    let file = lyon.send("paris/backups", file).await?;
    let tree = lyon.send("paris/backups", tree).await?;
    for transfer in [file, tree] {
        let receipt = transfer.delivered().await?;
        println!(
            "{:>9} bytes in {} file(s) are in {}",
            receipt.length, receipt.files, receipt.place
        );
    }
    assert_eq!(fs::read(outbox.join("hello.txt"))?, fs::read(inbox.join("hello.txt"))?);
    assert_eq!(
        fs::read(outbox.join("photos/2026/sea.raw"))?,
        fs::read(inbox.join("photos/2026/sea.raw"))?
    );

    println!(
        "\n{:6} {:12} {:>7} {:>11}   {:>11}",
        "node", "stage", "chunks", "bytes in", "bytes out"
    );
    for (name, node) in [("lyon", &lyon), ("paris", &paris)] {
        for stage in node.metrics() {
            println!(
                "{name:6} {:12} {:7} {:11} → {:11}",
                stage.stage, stage.chunks, stage.bytes_in, stage.bytes_out
            );
        }
    }
    lyon.shutdown().await;
    paris.shutdown().await;
    Ok(())
}

fn fill(outbox: &Path) -> std::io::Result<()> {
    fs::create_dir_all(outbox.join("photos/2026"))?;
    fs::write(outbox.join("hello.txt"), "hello over there\n".repeat(100_000))?;
    let noise: Vec<u8> =
        (0_u32..500_000).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(outbox.join("photos/2026/sea.raw"), noise)?;
    fs::write(outbox.join("photos/list.txt"), "2026/sea.raw\n")
}
