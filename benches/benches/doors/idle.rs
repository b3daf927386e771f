//! Streams of events that say nothing for long: what each costs in memory.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use estafette::node::MemoryStore;
use estafette::{Identity, Node};
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use estafette_doors::{Access, Tokens, http, serve_at_most};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::role::{Role, announce, orders};
use crate::{Bench, print};

/// Event streams, and the deliveries that they tell of.
const STREAMS: usize = 10_000;
const DELIVERIES: usize = 1_000;

pub(crate) fn streams(bench: &Bench<'_>) -> Result<()> {
    let door = Role::start("idle", "")?;
    let (address, token) = door.said().split_once(' ').context("an address and a token")?;
    bench.runtime.block_on(async {
        for delivery in 0..DELIVERIES {
            let body = r#"{"article":"tea","pieces":1}"#;
            let request = format!(
                "POST /v1/deliver/paris/echo/bench.Order HTTP/1.1\r\nHost: {address}\r\n\
                 Authorization: Bearer {token}\r\nIdempotency-Key: order-{delivery}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            begin(address, &request, "202").await?;
        }
        let before = resident_mib(door.process())?;
        let mut open = Vec::new();
        for stream in 0..STREAMS {
            let request = format!(
                "GET /v1/deliveries/order-{} HTTP/1.1\r\nHost: {address}\r\n\
                 Authorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n",
                stream % DELIVERIES
            );
            open.push(begin(address, &request, "event: stored").await?);
        }
        let after = resident_mib(door.process())?;
        println!(
            "{}",
            serde_json::json!({ "bench": "idle", "streams": STREAMS, "mib_before": before,
                "mib_with_them": after })
        );
        let each = (after - before) * 1024.0 / STREAMS as f64;
        let row = vec![(STREAMS as f64, 0), (before, 1), (after, 1), (each, 1)];
        print(
            "event streams of deliveries to a node that is away, a connection each",
            &["", "streams", "MiB before", "MiB with them", "KiB each"],
            vec![("door", row)],
            "≤ 200 MiB",
        );
        Ok(())
    })
}

/// Sends a request on a connection of its own, and reads until the answer has `until`.
async fn begin(address: &str, request: &str, until: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(until) {
        let came = socket.read_buf(&mut answer).await?;
        ensure!(came > 0, "the door said: {}", String::from_utf8_lossy(&answer));
    }
    Ok(socket)
}

fn resident_mib(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim_end().parse()?;
    Ok(kibibytes / 1024.0)
}

/// A node with a door and a spool, whose peer is nowhere.
pub(crate) fn door() -> Result<()> {
    let folder = tempfile::tempdir()?;
    Runtime::new()?.block_on(async {
        let away = Identity::from_secret([8; 32]).peer();
        let spool = Arc::new(Spool::open(folder.path().join("spool"))?);
        let node = Node::builder().name("lyon").stages(standard()).spool(spool);
        let node = node.peer("paris", away, ["127.0.0.1:1"]).start().await?;
        let tokens = Tokens::load(Arc::new(MemoryStore::default()))?;
        let token = tokens.add("bench", &["*".parse()?], None, None)?;
        let router = http(&Access::of(&node, &tokens));
        let serving = serve_at_most(router, "127.0.0.1:0", STREAMS + 1_000).await?;
        announce(&format!("{} {}", serving.address(), token.text()))?;
        tokio::task::spawn_blocking(|| orders().for_each(drop)).await?;
        serving.stop().await;
        node.shutdown().await;
        Ok(())
    })
}
