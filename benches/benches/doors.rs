//! Unary calls of gRPC, by plain tonic, by a proxy of tonic, and by the door to an actor of another
//! node; each server, proxy, door and client is a process of its own:
//! `cargo bench -p estafette-benches --features doors --bench doors`.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Write as _};
use std::pin::Pin;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix::{Actor, Handler};
use anyhow::{Context as _, Result, ensure};
use bytes::{Buf, BufMut, Bytes};
use estafette::node::MemoryStore;
use estafette::remote::{Asked, Raw, RawReply};
use estafette::{Identity, Node};
use estafette_actors::standard;
use estafette_benches::report::{Table, number};
use estafette_benches::{Settings, machine};
use estafette_doors::grpc::{Method, Methods, Way, grpc};
use estafette_doors::{Access, Tokens, serve};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Service, http};
use tonic::metadata::MetadataValue;
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

/// The variables that make this program a server: its role, and what that needs.
const ROLE: &str = "ESTAFETTE_DOORS_ROLE";
const OF: &str = "ESTAFETTE_DOORS_OF";
/// What the node with the door is made of.
const KEY: [u8; 32] = [7; 32];
const PATH: &str = "/bench.Echo/Echo";
/// What a call brings, and takes.
const BYTES: usize = 64;
/// Calls of a run, and how many of them are under way at once.
const MANY: (u64, usize) = (120_000, 64);
const ONE: (u64, usize) = (8_000, 1);

fn main() -> ExitCode {
    let role = std::env::var(ROLE);
    let of = std::env::var(OF).unwrap_or_default();
    let done = match role.as_deref() {
        Err(_) => bench(),
        Ok("tonic") => tonic_server(None),
        Ok("proxy") => tonic_server(Some(&of)),
        Ok("actor") => actor(),
        Ok("door") => door(&of),
        Ok(other) => Err(anyhow::anyhow!("no role {other:?}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<()> {
    let settings = Settings::read();
    let runtime = Runtime::new()?;
    let plain = Role::start("tonic", "")?;
    let proxy = Role::start("proxy", &plain.said)?;
    let actor = Role::start("actor", "")?;
    let door = Role::start("door", &actor.said)?;
    let (address, token) = door.said.split_once(' ').context("an address and a token")?;
    let ways = [("tonic", &*plain.said, ""), ("proxy", &*proxy.said, ""), ("door", address, token)];
    let mut measured = vec![[Vec::new(), Vec::new(), Vec::new()]; ways.len()];
    for round in 0..settings.rounds as usize {
        for at in (0..ways.len()).map(|at| (at + round) % ways.len()) {
            let (name, address, token) = ways[at];
            let busy = runtime.block_on(machine::wait_for_quiet(settings.patience()))?;
            let (rate, _) = runtime.block_on(drive(address, token, MANY))?;
            let (_, mut latencies) = runtime.block_on(drive(address, token, ONE))?;
            latencies.sort_unstable();
            let of = |part: usize| latencies[latencies.len() * part / 100].as_secs_f64() * 1e6;
            let values = [rate, of(50), of(99)];
            println!(
                "{}",
                serde_json::json!({ "bench": "doors", "by": name, "round": round,
                    "calls_per_second_64": rate, "p50_us": values[1], "p99_us": values[2],
                    "others_busy": busy })
            );
            measured[at].iter_mut().zip(values).for_each(|(all, value)| all.push(value));
        }
    }
    let median = |values: &[f64]| {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let mut table = Table::new(&[
        "by",
        "calls/s, 64 at once",
        "÷ tonic",
        "÷ proxy",
        "p50 µs, 1 at once",
        "× proxy",
        "p99 µs",
    ]);
    let of = |at: usize, value: usize| median(&measured[at][value]);
    for (at, (name, ..)) in ways.iter().enumerate() {
        let ratio = |other: usize, value: usize| Some(of(at, value)? / of(other, value)?);
        table.row(vec![
            (*name).into(),
            number(of(at, 0), 0),
            number(ratio(0, 0), 2),
            number(ratio(1, 0), 2),
            number(of(at, 1), 0),
            number(ratio(1, 1), 2),
            number(of(at, 2), 0),
        ]);
    }
    println!(
        "\nunary calls of {BYTES} bytes, medians of {} rounds, {} cores\n{table}\
         asked of the door: ≥ 0.55 × tonic and ≥ 1.3 × proxy; p50 ≤ 1.2 × proxy",
        settings.rounds,
        machine::cores()
    );
    Ok(())
}

/// Makes calls, so many at a time; how many a second, and how long each took.
async fn drive(address: &str, token: &str, calls: (u64, usize)) -> Result<(f64, Vec<Duration>)> {
    let channel = connect(address).await?;
    let token = (!token.is_empty()).then(|| format!("Bearer {token}").parse()).transpose()?;
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

type Token = Option<MetadataValue<tonic::metadata::Ascii>>;

async fn some(channel: Channel, token: Token, calls: u64) -> Result<Vec<Duration>> {
    let mut client = tonic::client::Grpc::new(channel);
    let body = Bytes::from(vec![0xa5; BYTES]);
    let mut latencies = Vec::new();
    for _ in 0..calls {
        let start = Instant::now();
        client.ready().await?;
        let mut request = Request::new(body.clone());
        if let Some(token) = &token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        let answer = client.unary(request, PathAndQuery::from_static(PATH), AsTheyAre).await?;
        ensure!(answer.into_inner() == body, "another answer");
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}

async fn connect(address: &str) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?)
}

/// A process of this program that serves until its standard input ends.
struct Role {
    process: Child,
    /// What it said about itself.
    said: String,
}

impl Role {
    fn start(role: &str, of: &str) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(ROLE, role).env(OF, of).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let mut said = String::new();
        let output = process.stdout.take().context("its output")?;
        BufReader::new(output).read_line(&mut said)?;
        ensure!(!said.is_empty(), "the role {role} ended at once");
        Ok(Self { process, said: said.trim_end().into() })
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn announce(what: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{what}")?;
    Ok(out.flush()?)
}

fn until_the_end() {
    let _ = std::io::stdin().lines().last();
}

/// An echo, or what passes calls on to one.
fn tonic_server(behind: Option<&str>) -> Result<()> {
    let runtime = Runtime::new()?;
    let behind = behind.map(|address| runtime.block_on(connect(address))).transpose()?;
    let address = "127.0.0.1:0".parse()?;
    let incoming = runtime.block_on(async { TcpIncoming::bind(address) })?;
    let incoming = incoming.with_nodelay(Some(true));
    announce(&incoming.local_addr()?.to_string())?;
    let server = Server::builder().add_service(Echo { behind });
    runtime.spawn(server.serve_with_incoming(incoming));
    until_the_end();
    Ok(())
}

#[derive(Clone)]
struct Echo {
    behind: Option<Channel>,
}

type Answered<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answered<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move { Ok(tonic::server::Grpc::new(AsTheyAre).unary(echo, request).await) })
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = Answered<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let behind = self.behind.clone();
        Box::pin(async move {
            let Some(behind) = behind else { return Ok(Response::new(request.into_inner())) };
            let mut client = tonic::client::Grpc::new(behind);
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            client.unary(request, PathAndQuery::from_static(PATH), AsTheyAre).await
        })
    }
}

struct EchoActor;

impl Actor for EchoActor {
    type Context = actix::Context<Self>;
}

impl Handler<Asked<Raw>> for EchoActor {
    type Result = ();

    fn handle(&mut self, asked: Asked<Raw>, _: &mut actix::Context<Self>) {
        asked.reply.send(&RawReply(asked.message.body));
    }
}

/// A node with the echo, for the node with the door.
fn actor() -> Result<()> {
    Runtime::new()?.block_on(async {
        let node = Node::builder().name("paris").listen("127.0.0.1:0").stages(standard());
        let node = node.peer("lyon", Identity::from_secret(KEY).peer(), [""; 0]).start().await?;
        node.host("echo", || EchoActor).takes_asked::<Raw>().start().await?;
        announce(&format!("{} {}", node.peer(), node.addresses()[0]))?;
        tokio::task::spawn_blocking(until_the_end).await?;
        node.shutdown().await;
        Ok(())
    })
}

/// A node with a door, to the node with an id at an address.
fn door(of: &str) -> Result<()> {
    let (id, address) = of.split_once(' ').context("an id and an address")?;
    Runtime::new()?.block_on(async {
        let node =
            Node::builder().name("lyon").identity(Identity::from_secret(KEY)).stages(standard());
        let node = node.peer("paris", id.parse()?, [address]).start().await?;
        let tokens = Tokens::load(Arc::new(MemoryStore::default()))?;
        let token = tokens.add("bench", &["*".parse()?], None, None)?;
        let methods = Methods::new().method(PATH, &Method::raw("paris/echo", Way::Ask))?;
        let serving = serve(grpc(&Access::of(&node, &tokens), methods), "127.0.0.1:0").await?;
        announce(&format!("{} {}", serving.address(), token.text()))?;
        tokio::task::spawn_blocking(until_the_end).await?;
        serving.stop().await;
        node.shutdown().await;
        Ok(())
    })
}

/// Gives bytes through.
#[derive(Clone, Copy)]
struct AsTheyAre;

impl Codec for AsTheyAre {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsTheyAre {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for AsTheyAre {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
