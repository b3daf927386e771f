//! Asks by HTTP, of the door beside plain axum.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use axum::routing::post;
use axum::{Json, Router};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::node::Order;
use crate::role::{announce, orders};
use crate::{Bench, World, percentile, print};

const ORDER: &str = r#"{"article":"a packet of tea, green, loose","pieces":12345678}"#;
pub(crate) const ASK: &str = "/v1/ask/paris/echo/bench.Order";
/// Asks of a run, and how many connections make them.
const MANY: (u64, usize) = (60_000, 64);
const ONE: (u64, usize) = (6_000, 1);

pub(crate) fn asks(bench: &Bench<'_>, world: &World) -> Result<()> {
    let ways = [("axum", (world.axum.said(), "none")), ("door", world.door()?)];
    let names = ["asks_per_second_64", "p50_us", "p99_us"];
    let measured = bench.measure("http", names, &ways, async |(address, token)| {
        let (rate, _) = drive(address, token, MANY).await?;
        let (_, mut latencies) = drive(address, token, ONE).await?;
        Ok([rate, percentile(&mut latencies, 50), percentile(&mut latencies, 99)])
    })?;
    let axum = measured[0];
    let rows = ways.iter().zip(&measured).map(|((name, _), &[rate, p50, p99])| {
        (*name, vec![(rate, 0), (rate / axum[0], 2), (p50, 0), (p50 / axum[1], 2), (p99, 0)])
    });
    print(
        "asks of some 60 bytes of JSON by HTTP/1.1: axum answers by itself, the door asks an actor \
         of another node",
        &["by", "asks/s, 64 at once", "÷ axum", "p50 µs, 1 at once", "× axum", "p99 µs"],
        rows.collect(),
        "≥ 0.6 × axum",
    );
    Ok(())
}

/// Plain axum.
pub(crate) fn server() -> Result<()> {
    let runtime = Runtime::new()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    announce(&listener.local_addr()?.to_string())?;
    let echo = post(async |order: Json<Order>| order);
    let router = Router::new().route(ASK, echo);
    runtime.spawn(async { axum::serve(listener, router).await });
    orders().for_each(drop);
    Ok(())
}

/// Asks by so many connections; how many a second, and how long each took.
async fn drive(address: &str, token: &str, asks: (u64, usize)) -> Result<(f64, Vec<Duration>)> {
    Client::connect(address, token).await?.asks(200).await?;
    let (all, at_once) = asks;
    let mut clients = Vec::new();
    for _ in 0..at_once {
        clients.push(Client::connect(address, token).await?);
    }
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move { client.asks(all / at_once as u64).await });
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    Ok((latencies.len() as f64 / start.elapsed().as_secs_f64(), latencies))
}

/// A connection on which one ask follows the other: as little client as there can be.
pub(crate) struct Client {
    socket: TcpStream,
    request: String,
    answer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: &str, token: &str) -> Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let length = ORDER.len();
        let request = format!(
            "POST {ASK} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{ORDER}"
        );
        Ok(Self { socket, request, answer: Vec::new() })
    }

    async fn asks(&mut self, times: u64) -> Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        for _ in 0..times {
            let start = Instant::now();
            let answer = self.ask().await?;
            ensure!(answer.ends_with(ORDER), "another answer: {answer}");
            latencies.push(start.elapsed());
        }
        Ok(latencies)
    }

    /// The answer to one ask, its head with it.
    pub(crate) async fn ask(&mut self) -> Result<&str> {
        self.socket.write_all(self.request.as_bytes()).await?;
        self.answer.clear();
        loop {
            ensure!(self.socket.read_buf(&mut self.answer).await? > 0, "the server hung up");
            let text = std::str::from_utf8(&self.answer)?;
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            if body.len() >= length(head)? {
                break;
            }
        }
        Ok(std::str::from_utf8(&self.answer)?)
    }
}

fn length(head: &str) -> Result<usize> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = headers
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .with_context(|| format!("an answer of no known length: {head}"))?;
    Ok(value.trim().parse()?)
}
