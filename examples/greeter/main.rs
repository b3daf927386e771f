//! A service that answers line by line, in one process, and its client, in another.
//!
//! `cargo run -p estafette-examples --example greeter`

mod client;
mod server;

use estafette::RemoteMessage;
use serde::{Deserialize, Serialize};

/// Answered with a stream of lines.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "greeter.SayHello", reply = Line)]
struct SayHello {
    name: String,
    times: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    text: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [role, client] if role == "serve" => server::run(client.parse()?).await,
        // The client starts the server, and ends when it has been greeted.
        [] => client::run().await,
        _ => anyhow::bail!("usage: greeter, or greeter serve PEER-ID-OF-THE-CLIENT"),
    }
}
