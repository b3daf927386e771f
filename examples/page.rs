//! A host with an HTTP server of its own, in which the page of its node is mounted: `cargo run
//! --example page` asks for it once; `cargo run --example page -- --stay` lets a browser look.

use axum::Router;
use axum::routing::get;
use estafette::Node;
use estafette_actors::standard;
use estafette_page::Page;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::builder().name("paris").stages(standard()).start().await?;
    let app = Router::new()
        .route("/", get(async || "the host's own page"))
        .nest_service("/node", Page::of(&node).router());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("the page of the node: http://{address}/node/");
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    if std::env::args().any(|argument| argument == "--stay") {
        return Ok(serving.await??);
    }

    let mut client = TcpStream::connect(address).await?;
    let request =
        format!("GET /node/healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    assert!(answer.ends_with(r#"{"alive":true}"#), "{answer}");

    // The same, for a program.
    let snapshot = node.snapshot().await;
    println!("{} is up, with {} links", snapshot.node.name, snapshot.links.len());
    node.shutdown().await;
    Ok(())
}
