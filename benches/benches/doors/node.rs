//! The node with the actor, and the node with the door.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Handler};
use anyhow::{Context as _, Result};
use estafette::node::MemoryStore;
use estafette::remote::{Asked, Called, Raw, RawReply};
use estafette::{Identity, Node, RemoteMessage};
use estafette_actors::standard;
use estafette_doors::grpc::{Method, Methods, Way, grpc};
use estafette_doors::{Access, Tokens, http, serve};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::grpc::{ECHO, LINES};
use crate::role::{announce, orders};
use crate::{BYTES, percentile, tonics};

/// The key of the node with the door.
const KEY: [u8; 32] = [7; 32];

/// The message of asks by HTTP.
#[derive(Serialize, Deserialize, RemoteMessage)]
#[remote(name = "bench.Order", reply = Order, json)]
pub(crate) struct Order {
    article: String,
    pieces: u32,
}

struct Echo;

impl Actor for Echo {
    type Context = actix::Context<Self>;
}

impl Handler<Asked<Raw>> for Echo {
    type Result = ();

    fn handle(&mut self, asked: Asked<Raw>, _: &mut actix::Context<Self>) {
        asked.reply.send(&RawReply(asked.message.body));
    }
}

impl Handler<Asked<Order>> for Echo {
    type Result = ();

    fn handle(&mut self, asked: Asked<Order>, _: &mut actix::Context<Self>) {
        asked.reply.send(&asked.message);
    }
}

impl Handler<Called<Raw>> for Echo {
    type Result = ();

    fn handle(&mut self, mut called: Called<Raw>, _: &mut actix::Context<Self>) {
        actix::spawn(async move {
            let Some(Ok(request)) = called.requests.next().await else { return };
            let (times, _) = tonics::lines(&request.body);
            let line = RawReply(request.body);
            for _ in 0..times {
                if called.replies.send(&line).await.is_err() {
                    return;
                }
            }
            called.replies.finish();
        });
    }
}

/// A node with the echo, for the node with the door.
pub(crate) fn actor() -> Result<()> {
    Runtime::new()?.block_on(async {
        let node = Node::builder().name("paris").listen("127.0.0.1:0").stages(standard());
        let node = node.peer("lyon", Identity::from_secret(KEY).peer(), [""; 0]).start().await?;
        let echo = node.host("echo", || Echo).takes_asked::<Raw>().takes_asked::<Order>();
        echo.start().await?;
        node.host("lines", || Echo).takes_calls::<Raw>().start().await?;
        announce(&format!("{} {}", node.peer(), node.addresses()[0]))?;
        tokio::task::spawn_blocking(|| orders().for_each(drop)).await?;
        node.shutdown().await;
        Ok(())
    })
}

/// A node with a door, to the node with an id at an address; told `asks N`, it asks the actor so
/// often by itself, and says how long that took.
pub(crate) fn door(of: &str) -> Result<()> {
    let (id, address) = of.split_once(' ').context("an id and an address")?;
    Runtime::new()?.block_on(async {
        let node =
            Node::builder().name("lyon").identity(Identity::from_secret(KEY)).stages(standard());
        let node = node.peer("paris", id.parse()?, [address]).start().await?;
        let tokens = Tokens::load(Arc::new(MemoryStore::default()))?;
        let token = tokens.add("bench", &["*".parse()?], None, None)?;
        let methods = Methods::new()
            .method(ECHO, &Method::raw("paris/echo", Way::Ask))?
            .method(LINES, &Method::raw("paris/lines", Way::Download))?;
        let access = Access::of(&node, &tokens);
        let serving = serve(http(&access).merge(grpc(&access, methods)), "127.0.0.1:0").await?;
        announce(&format!("{} {}", serving.address(), token.text()))?;
        let (order, mut orders_in) = mpsc::unbounded_channel();
        std::thread::spawn(move || orders().try_for_each(|line| order.send(line)));
        while let Some(line) = orders_in.recv().await {
            let times = line.strip_prefix("asks ").context("no such order")?.parse()?;
            let mut latencies = asks(&node, times).await?;
            let [p50, p99] = [50, 99].map(|part| percentile(&mut latencies, part));
            announce(&format!("{p50} {p99}"))?;
        }
        serving.stop().await;
        node.shutdown().await;
        Ok(())
    })
}

/// Returns the times that asks take, one after the other.
async fn asks(node: &Node, times: u64) -> Result<Vec<Duration>> {
    let echo = node.remote::<Raw>("paris/echo")?;
    let message = Raw::new("", vec![0xa5; BYTES]);
    let mut latencies = Vec::new();
    for _ in 0..times {
        let start = Instant::now();
        echo.ask(message.clone()).await?;
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}
