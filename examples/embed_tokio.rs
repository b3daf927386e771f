//! A node inside a `#[tokio::main]` service, which keeps serving: the node has threads of its own.
//!
//! `cargo run -p estafette-examples --example embed_tokio`

use estafette::Node;
use estafette_actors::{sink::NullSink, source::BytesSource, standard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const BULK: usize = 32 << 20;

/// The service: answers every number with its successor.
async fn serve(mut client: TcpStream) -> std::io::Result<()> {
    loop {
        let number = client.read_u64().await?;
        client.write_u64(number + 1).await?;
    }
}

// One thread for all of the service: if the node blocked it, nobody would be answered.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let service = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = TcpStream::connect(service.local_addr()?).await?;
    tokio::spawn(serve(service.accept().await?.0));

    let paris = Node::builder().listen("127.0.0.1:0").stages(standard()).start().await?;
    let inbox = NullSink::new();
    paris.receive("bulk", inbox.clone())?;

    // The handle can be cloned into any task.
    let lyon = Node::builder().stages(standard()).start().await?;
    let (sender, ticket) = (lyon.clone(), paris.ticket("bulk")?);
    let delivery = tokio::spawn(async move {
        let transfer = sender.send(ticket, BytesSource::new("zeros", vec![0; BULK])?).await?;
        anyhow::Ok(transfer.delivered().await?)
    });

    let mut answers = 0;
    while answers == 0 || !delivery.is_finished() {
        client.write_u64(answers).await?;
        assert_eq!(client.read_u64().await?, answers + 1);
        answers += 1;
    }
    let receipt = delivery.await??;
    println!(
        "{} bytes were delivered, and the service answered {answers} requests meanwhile",
        receipt.length
    );
    assert_eq!((receipt.length, inbox.bytes()), (BULK as u64, BULK as u64));

    lyon.shutdown().await;
    paris.shutdown().await;
    Ok(())
}
