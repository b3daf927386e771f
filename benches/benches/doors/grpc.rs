//! Calls of gRPC, by plain tonic, by a proxy of tonic, and by the door to an actor of another node.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::Request;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::bytes::AsTheyAre;
use crate::{BYTES, Bench, World, percentile, print};

pub(crate) const ECHO: &str = "/bench.Echo/Echo";
pub(crate) const LINES: &str = "/bench.Echo/Lines";
/// Calls of a run, and how many of them are under way at once.
const MANY: (u64, usize) = (120_000, 64);
const ONE: (u64, usize) = (8_000, 1);
/// Answers of a stream, and how many streams there are at once: a fraction of a second of tonic.
const STREAM: (u64, usize) = (1_000_000, 4);

/// An address, and a token for it.
type Way<'a> = (&'a str, &'a str);

fn ways(world: &World) -> Result<[(&'static str, Way<'_>); 3]> {
    let (tonic, proxy) = (world.tonic.said(), world.proxy.said());
    Ok([("tonic", (tonic, "")), ("proxy", (proxy, "")), ("door", world.door()?)])
}

pub(crate) fn unary(bench: &Bench<'_>, world: &World) -> Result<()> {
    let ways = ways(world)?;
    let names = ["calls_per_second_64", "p50_us", "p99_us"];
    let measured = bench.measure("unary", names, &ways, async |(address, token)| {
        let (rate, _) = drive(address, token, MANY).await?;
        let (_, mut latencies) = drive(address, token, ONE).await?;
        Ok([rate, percentile(&mut latencies, 50), percentile(&mut latencies, 99)])
    })?;
    let [tonic, proxy] = [measured[0], measured[1]];
    let rows = ways.iter().zip(&measured).map(|((name, _), &[rate, p50, p99])| {
        let of = [(rate / tonic[0], 2), (rate / proxy[0], 2), (p50, 0), (p50 / proxy[1], 2)];
        (*name, [&[(rate, 0)], &of[..], &[(p99, 0)]].concat())
    });
    print(
        "unary calls of 64 bytes",
        &[
            "by",
            "calls/s, 64 at once",
            "÷ tonic",
            "÷ proxy",
            "p50 µs, 1 at once",
            "× proxy",
            "p99 µs",
        ],
        rows.collect(),
        "≥ 0.55 × tonic and ≥ 1.3 × proxy; p50 ≤ 1.2 × proxy",
    );
    Ok(())
}

pub(crate) fn streams(bench: &Bench<'_>, world: &World) -> Result<()> {
    let ways = ways(world)?;
    let measured = bench.measure("streams", ["answers_per_second"], &ways, async |way| {
        let (address, token) = way;
        Ok([stream(address, token).await?])
    })?;
    let [tonic, proxy] = [measured[0][0], measured[1][0]];
    let rows = ways.iter().zip(&measured);
    let rows = rows
        .map(|((name, _), &[rate])| (*name, vec![(rate, 0), (rate / tonic, 2), (rate / proxy, 2)]));
    print(
        "answers of 64 bytes in 4 streams at once",
        &["by", "answers/s", "÷ tonic", "÷ proxy"],
        rows.collect(),
        "≥ 0.7 × tonic",
    );
    Ok(())
}

/// Makes calls, so many at a time; how many a second, and how long each took.
async fn drive(address: &str, token: &str, calls: (u64, usize)) -> Result<(f64, Vec<Duration>)> {
    let (channel, token) = (connect(address).await?, bearer(token)?);
    // Both ends are there, and have their memory, before it counts.
    some(channel.clone(), token.clone(), 200).await?;
    let (all, at_once) = calls;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        tasks.spawn(some(channel.clone(), token.clone(), all / at_once as u64));
    }
    let mut latencies = Vec::new();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done??);
    }
    Ok((latencies.len() as f64 / start.elapsed().as_secs_f64(), latencies))
}

type Token = Option<MetadataValue<Ascii>>;

fn bearer(token: &str) -> Result<Token> {
    Ok((!token.is_empty()).then(|| format!("Bearer {token}").parse()).transpose()?)
}

async fn some(channel: Channel, token: Token, calls: u64) -> Result<Vec<Duration>> {
    let mut client = tonic::client::Grpc::new(channel);
    let body = Bytes::from(vec![0xa5; BYTES]);
    let mut latencies = Vec::new();
    for _ in 0..calls {
        let start = Instant::now();
        client.ready().await?;
        let request = with(body.clone(), token.as_ref());
        let answer = client.unary(request, PathAndQuery::from_static(ECHO), AsTheyAre).await?;
        ensure!(answer.into_inner() == body, "another answer");
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}

/// Reads streams, so many at once; answers a second of all.
async fn stream(address: &str, token: &str) -> Result<f64> {
    let (channel, token) = (connect(address).await?, bearer(token)?);
    some_lines(channel.clone(), token.clone(), 1_000).await?;
    let (answers, at_once) = STREAM;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        tasks.spawn(some_lines(channel.clone(), token.clone(), answers));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok((answers * at_once as u64) as f64 / start.elapsed().as_secs_f64())
}

async fn some_lines(channel: Channel, token: Token, asked: u64) -> Result<()> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    let mut body = vec![0xa5; BYTES];
    body[..8].copy_from_slice(&asked.to_le_bytes());
    let request = with(Bytes::from(body), token.as_ref());
    let path = PathAndQuery::from_static(LINES);
    let mut lines = client.server_streaming(request, path, AsTheyAre).await?.into_inner();
    let mut came = 0;
    while let Some(line) = lines.message().await? {
        ensure!(line.len() == BYTES, "another answer");
        came += 1;
    }
    ensure!(came == asked, "{came} answers of {asked}");
    Ok(())
}

fn with(body: Bytes, token: Option<&MetadataValue<Ascii>>) -> Request<Bytes> {
    let mut request = Request::new(body);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", token.clone());
    }
    request
}

pub(crate) async fn connect(address: &str) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?)
}
