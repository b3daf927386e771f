//! A web service whose handlers ask an actor on another node, within a deadline; what goes wrong
//! becomes a status.
//!
//! `cargo run -p estafette-examples --example embed_web`

use std::net::SocketAddr;
use std::time::Duration;

use actix::{Actor, Context, Handler, ResponseFuture};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use estafette::{Identity, Node, Remote, RemoteError, RemoteErrorKind, RemoteMessage};
use estafette_actors::standard;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "bakery.Bake", reply = Result<String, String>)]
struct Bake {
    grams: u32,
}

struct Oven;
impl Actor for Oven {
    type Context = Context<Self>;
}
impl Handler<Bake> for Oven {
    type Result = ResponseFuture<Result<String, String>>;
    fn handle(&mut self, Bake { grams }: Bake, _: &mut Context<Self>) -> Self::Result {
        match grams {
            0 => Box::pin(async { Err("a loaf of nothing".into()) }),
            1..5000 => Box::pin(async move { Ok(format!("a loaf of {grams} g")) }),
            // It takes all day.
            _ => Box::pin(std::future::pending()),
        }
    }
}

/// The status that the web is told when something went wrong between the nodes.
fn status(error: &RemoteError) -> StatusCode {
    match error.kind {
        RemoteErrorKind::Deadline => StatusCode::GATEWAY_TIMEOUT,
        RemoteErrorKind::Full | RemoteErrorKind::Unreachable | RemoteErrorKind::LinkLost => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::BAD_GATEWAY,
    }
}

async fn bake(
    State(oven): State<Remote<Bake>>,
    Path(grams): Path<u32>,
) -> Result<String, (StatusCode, String)> {
    // A client who goes away drops this future: the question is cancelled at the oven, too.
    let baked =
        oven.ask(Bake { grams }).await.map_err(|error| (status(&error), error.to_string()))?;
    baked.map_err(|why| (StatusCode::UNPROCESSABLE_ENTITY, why))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (counter, kitchen) = (Identity::generate(), Identity::generate());
    let node = Node::builder().identity(kitchen).listen("127.0.0.1:0").peer(
        "counter",
        counter.peer(),
        [""; 0],
    );
    let kitchen = node.stages(standard()).start().await?;
    kitchen.host("oven", || Oven).takes::<Bake>().start().await?;
    let node = Node::builder().identity(counter).peer(
        "kitchen",
        kitchen.peer(),
        kitchen.addresses().iter().cloned(),
    );
    let counter = node.stages(standard()).start().await?;

    let oven = counter.remote::<Bake>("kitchen/oven")?.within(Duration::from_secs(1));
    let web = TcpListener::bind("127.0.0.1:0").await?;
    let address = web.local_addr()?;
    let service = axum::Router::new().route("/loaves/{grams}", get(bake)).with_state(oven);
    let serving = tokio::spawn(async move { axum::serve(web, service).await });

    for (path, wanted) in [("400", "200 OK"), ("0", "422"), ("9000", "504"), ("much", "400")] {
        request(address, path, wanted).await?;
    }
    kitchen.shutdown().await;
    request(address, "400", "503").await?;
    serving.abort();
    counter.shutdown().await;
    Ok(())
}

/// Asks the service as a browser would, and checks the status.
async fn request(address: SocketAddr, path: &str, wanted: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(
            format!("GET /loaves/{path} HTTP/1.1\r\nhost: bakery\r\nconnection: close\r\n\r\n")
                .as_bytes(),
        )
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    println!("{path}: {answer:?}");
    assert!(answer.starts_with(&format!("HTTP/1.1 {wanted}")), "{answer}");
    Ok(())
}
