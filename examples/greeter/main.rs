//! A service that answers line by line, in one process, and its client, in another.
//!
//! `cargo run -p estafette-examples --example greeter`
//!
//! The service takes JSON, too, so that a program without its types can be a client; `estafette` is
//! one. In two terminals:
//! ```text
//! cargo run -p estafette-examples --example greeter stay $(estafette id)
//! > 3yiqr4na… 127.0.0.1:40123
//! estafette trust add 3yiqr4na… --name greeter --addr 127.0.0.1:40123
//! estafette describe greeter/greeter
//! estafette ask greeter/greeter greeter.SayHello '{"name":"Ada","times":1}'
//! estafette download greeter/greeter greeter.SayHello '{"name":"Ada","times":3}'
//! ```

mod client;
mod server;

use estafette::RemoteMessage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Answered with a stream of lines.
#[derive(Debug, Serialize, Deserialize, JsonSchema, RemoteMessage)]
#[remote(name = "greeter.SayHello", reply = Line, schema)]
struct SayHello {
    name: String,
    times: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Line {
    text: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [role, client] if role == "serve" => server::run(client.parse()?, false).await,
        // For clients that come and go, until this is stopped.
        [role, client] if role == "stay" => server::run(client.parse()?, true).await,
        // The client starts the server, and ends when it has been greeted.
        [] => client::run().await,
        _ => anyhow::bail!("usage: greeter, or greeter serve|stay PEER-ID-OF-THE-CLIENT"),
    }
}
