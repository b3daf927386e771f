//! The cost of a node that has nothing to do, and each of its links and names: `cargo bench -p
//! estafette-benches --bench idle`.
//!
//! Each node has a process of its own, this very program. Asked: at most 15 MiB resident, and no
//! CPU. What a link and a name take is how much the process grew by all of them, shared out;
//! buffers of sockets are the kernel's, and not in it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actix::{Actor, Context as Ctx, Handler};
use anyhow::{Context as _, Result, ensure};
use estafette::pipeline::Hosting;
use estafette::remote::RemoteMessage;
use estafette::{Identity, Node, NodeConfig, Ticket};
use estafette_actors::sink::NullSink;
use estafette_actors::source::BytesSource;
use estafette_actors::standard;
use estafette_benches::Settings;
use estafette_benches::machine;
use estafette_benches::report::{Table, number};
use serde::{Deserialize, Serialize};

/// The cost of an idle node in [`WATCHED`].
#[derive(Debug, Serialize, Deserialize)]
struct Idle {
    resident_mib: f64,
    cpu_ms: f64,
}

/// The growth of a process, in KiB for each.
#[derive(Debug, Serialize, Deserialize)]
struct Each {
    kib: f64,
}

/// A question, so that the way to whoever answers is there.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "bench.Hello", reply = u32)]
struct Hello(u32);

struct Greeter;

impl Actor for Greeter {
    type Context = Ctx<Self>;
}

impl Handler<Hello> for Greeter {
    type Result = u32;

    fn handle(&mut self, Hello(number): Hello, _: &mut Ctx<Self>) -> u32 {
        number
    }
}

fn main() -> Result<()> {
    if let Some(role) = std::env::var(ROLE).ok().filter(|role| !role.is_empty()) {
        return play(&role);
    }
    // Wrong arguments are an error here, too, though none of the settings matters to an idle node.
    drop(Settings::read());
    let mut table = Table::new(&["idle for 5 s", "RSS MiB", "CPU ms", "asked", ""]);
    for (role, about) in ROLES {
        let idle: Idle = watch(role)?;
        println!("{}", serde_json::json!({ "bench": "idle", "role": role, "idle": idle }));
        let met = idle.resident_mib <= MOST_MIB && idle.cpu_ms <= MOST_MS;
        let asked = format!("≤ {MOST_MIB} MiB, ≤ {MOST_MS} ms");
        let verdict = if met { "met" } else { "MISSED" };
        table.row(vec![
            about.into(),
            number(Some(idle.resident_mib), 1),
            number(Some(idle.cpu_ms), 1),
            asked,
            verdict.into(),
        ]);
    }
    println!("\n{table}");
    let mut table = Table::new(&["each of", "", "KiB"]);
    for (role, count, about) in GROWN {
        let each: Each = watch(role)?;
        println!(
            "{}",
            serde_json::json!({ "bench": "idle", "role": role, "count": count, "each": each })
        );
        table.row(vec![count.to_string(), about.into(), number(Some(each.kib), 1)]);
    }
    println!("\n{table}");
    Ok(())
}

fn watch<T: serde::de::DeserializeOwned>(role: &str) -> Result<T> {
    let program = std::env::current_exe().context("finding the bench's own file")?;
    let output = Command::new(program)
        .env(ROLE, role)
        .stderr(Stdio::inherit())
        .output()
        .context("starting the idle process")?;
    ensure!(output.status.success(), "the idle process ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("reading what the idle process used")
}

fn play(role: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(server) = role.strip_prefix(PEERS) {
        return runtime.block_on(peers(server));
    }
    let each = match role {
        LINKS => Some(runtime.block_on(links())?),
        NAMES => Some(runtime.block_on(names(false))?),
        NAMES_SENT_TO => Some(runtime.block_on(names(true))?),
        _ => None,
    };
    if let Some(each) = each {
        println!("{}", serde_json::to_string(&each)?);
        return Ok(());
    }
    runtime.block_on(async {
        let node = Node::builder().listen("127.0.0.1:0").stages(standard()).start().await?;
        node.receive("anything", NullSink::new())?;
        let linked =
            if role == LINKED { Some(link(&node.ticket("anything")?).await?) } else { None };
        tokio::time::sleep(SETTLED).await;
        let before = machine::process_cpu_seconds();
        tokio::time::sleep(WATCHED).await;
        let cpu_ms = (machine::process_cpu_seconds() - before) * 1e3;
        let idle = Idle { resident_mib: machine::resident_bytes()? as f64 / 1_048_576.0, cpu_ms };
        println!("{}", serde_json::to_string(&idle)?);
        drop(linked);
        node.shutdown().await;
        Ok(())
    })
}

/// A second node in the same process, whose link to the first is up and has carried something.
async fn link(ticket: &Ticket) -> Result<Node> {
    let other = Node::builder().stages(standard()).start().await?;
    other.send(ticket.clone(), BytesSource::new("first", "first")?).await?.delivered().await?;
    Ok(other)
}

fn identity(number: u32) -> Identity {
    // All ends are this program, and nobody else is to trust them.
    let mut secret = [1; 32];
    // Not in the first byte: X25519 takes no notice of its lowest bits, and two of them would be
    // the same node.
    secret[8..12].copy_from_slice(&number.to_le_bytes());
    Identity::from_secret(secret)
}

fn grown(before: u64, count: u32) -> Result<Each> {
    Ok(Each {
        kib: (machine::resident_bytes()? as f64 - before as f64) / 1024.0 / f64::from(count),
    })
}

/// A node, when it has a link with each of so many peers, by which a message has come and was
/// answered.
async fn links() -> Result<Each> {
    let mut node = Node::builder().identity(identity(0)).listen("127.0.0.1:0").stages(standard());
    for number in 1..=LINKS_COUNT {
        node = node.peer(format!("peer-{number}"), identity(number).peer(), [""; 0]);
    }
    let node = node.start().await?;
    node.host("greeter", || Greeter).takes::<Hello>().start().await?;
    let before = machine::resident_bytes()?;
    let program = std::env::current_exe().context("finding the bench's own file")?;
    let mut command = Command::new(program);
    command
        .env(ROLE, format!("{PEERS}{}", node.addresses()[0]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut peers = Peers(command.spawn().context("starting the peers")?);
    let (stdout, (ready, is_ready)) = (
        peers.0.stdout.take().context("the peers have an output")?,
        tokio::sync::oneshot::channel(),
    );
    std::thread::spawn(move || ready.send(BufReader::new(stdout).read_line(&mut String::new())));
    ensure!(is_ready.await?? > 0, "the peers did not come up");
    let sockets = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let sockets = sockets
        .filter(|target| target.as_os_str().as_encoded_bytes().starts_with(b"socket:"))
        .count();
    ensure!(sockets >= LINKS_COUNT as usize, "no more than {sockets} connections are there");
    let each = grown(before, LINKS_COUNT)?;
    drop(peers.0.stdin.take());
    let _ = peers.0.wait();
    node.shutdown().await;
    Ok(each)
}

/// The process of the peers, which ends with its input.
struct Peers(Child);

impl Drop for Peers {
    fn drop(&mut self) {
        // It has ended, unless something failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn peers(server: &str) -> Result<()> {
    let mut nodes = Vec::new();
    for number in 1..=LINKS_COUNT {
        let config = NodeConfig { hosting: Hosting::Inline, ..NodeConfig::default() };
        let node = Node::builder().identity(identity(number)).config(config).stages(standard());
        let node = node.peer("server", identity(0).peer(), [server]).start().await?;
        ensure!(
            node.remote::<Hello>("server/greeter")?.ask(Hello(number)).await? == number,
            "a wrong answer"
        );
        nodes.push(node);
    }
    println!("ready");
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new())).await??;
    Ok(())
}

/// A node with so many names; or, with these already there, that node and one that has sent
/// something to each.
async fn names(sent_to: bool) -> Result<Each> {
    let [here, there] = [identity(1), identity(2)];
    let node = Node::builder()
        .identity(here.clone())
        .listen("127.0.0.1:0")
        .peer("other", there.peer(), [""; 0])
        .stages(standard());
    let node = node.start().await?;
    let address = node.addresses()[0].clone();
    let other = Node::builder()
        .identity(there)
        .peer("node", here.peer(), [address])
        .stages(standard())
        .start()
        .await?;
    node.host("greeter", || Greeter).takes::<Hello>().start().await?;
    // The link is up.
    other.remote::<Hello>("node/greeter")?.ask(Hello(0)).await?;
    let greeter = node.directory().lookup::<Hello>("greeter").context("it was hosted just now")?;
    let mut before = machine::resident_bytes()?;
    for number in 0..NAMES_COUNT {
        node.register(&format!("greeter-{number}"), greeter.clone())?;
    }
    if sent_to {
        before = machine::resident_bytes()?;
        for number in 0..NAMES_COUNT {
            other.remote::<Hello>(&format!("node/greeter-{number}"))?.ask(Hello(number)).await?;
        }
    }
    let each = grown(before, NAMES_COUNT)?;
    other.shutdown().await;
    node.shutdown().await;
    Ok(each)
}

const LINKS: &str = "links";
const NAMES: &str = "names";
const NAMES_SENT_TO: &str = "names sent to";
const PEERS: &str = "peers of ";
const LINKS_COUNT: u32 = 1000;
const NAMES_COUNT: u32 = 10_000;
const GROWN: [(&str, u32, &str); 3] = [
    (LINKS, LINKS_COUNT, "links by which a message has come, at one end"),
    (NAMES, NAMES_COUNT, "names of one actor"),
    (NAMES_SENT_TO, NAMES_COUNT, "names that were sent a message, at both ends"),
];
const ROLE: &str = "ESTAFETTE_BENCH_IDLE_ROLE";
const LINKED: &str = "linked";
const ROLES: [(&str, &str); 2] =
    [("alone", "a node that listens"), (LINKED, "two linked nodes in one process")];
const SETTLED: Duration = Duration::from_secs(1);
const WATCHED: Duration = Duration::from_secs(5);
const MOST_MIB: f64 = 15.0;
/// A thousandth of a core: what can be measured, and no more.
const MOST_MS: f64 = 5.0;
