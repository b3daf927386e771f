//! The cost of a topology of many routes: `cargo bench -p estafette-benches --bench topology`.
//!
//! Each case has a process of its own, this very program, with both nodes in it. Asked, of 1,000
//! routes: read and checked within 0.2 s, started within 2 s, at most 64 KiB for each idle route,
//! no CPU, and a reload that changes one of them within 0.2 s, which touches no other. A route's memory is how much the process grew by the node that has them, shared out.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use estafette_actors::standard;
use estafette_benches::Settings;
use estafette_benches::machine;
use estafette_benches::report::{Table, number};
use estafette_topology::{Document, RunningNode};
use serde::{Deserialize, Serialize};

/// Routes, and what they send: entries of a folder that has none, or a text that is delivered.
const CASES: [(usize, &str); 3] = [(1000, "each"), (10_000, "each"), (1000, "once")];
/// The variable by which the program knows what it is to do.
const ROLE: &str = "ESTAFETTE_BENCH_TOPOLOGY";
/// The time for which an idle topology is watched.
const WATCHED: Duration = Duration::from_secs(5);
/// The time after which it has nothing left to do.
const SETTLED: Duration = Duration::from_secs(2);

/// The cost of a topology.
#[derive(Debug, Serialize, Deserialize)]
struct Taken {
    read_ms: f64,
    start_ms: f64,
    kib_per_route: f64,
    idle_cpu_ms: f64,
    reload_ms: f64,
    /// Routes, inboxes and peers that the reload touched.
    touched: usize,
}

fn main() -> Result<()> {
    if let Some(role) = std::env::var(ROLE).ok().filter(|role| !role.is_empty()) {
        let (count, source) = role.split_once(' ').context("a count and a source")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let taken = runtime.block_on(play(count.parse()?, source))?;
        println!("{}", serde_json::to_string(&taken)?);
        return Ok(());
    }
    // Wrong arguments are an error here, too, though none of the settings matters.
    drop(Settings::read());
    let mut table = Table::new(&[
        "routes",
        "send",
        "read, ms",
        "start, ms",
        "KiB each",
        "CPU in 5 s, ms",
        "reload, ms",
        "touched",
    ]);
    for (count, source) in CASES {
        let taken: Taken = watch(count, source)?;
        let json = serde_json::json!({
            "bench": "topology", "routes": count, "source": source, "taken": taken
        });
        println!("{json}");
        table.row(vec![
            count.to_string(),
            source.into(),
            number(Some(taken.read_ms), 0),
            number(Some(taken.start_ms), 0),
            number(Some(taken.kib_per_route), 1),
            number(Some(taken.idle_cpu_ms), 0),
            number(Some(taken.reload_ms), 0),
            taken.touched.to_string(),
        ]);
    }
    println!("\n{table}\nasked of 1000: ≤ 200 ms, ≤ 2000 ms, ≤ 64 KiB, no CPU, ≤ 200 ms and 1");
    Ok(())
}

fn watch(count: usize, source: &str) -> Result<Taken> {
    let program = std::env::current_exe().context("finding the bench's own file")?;
    let output = Command::new(program)
        .env(ROLE, format!("{count} {source}"))
        .stderr(Stdio::inherit())
        .output()
        .context("starting the process of a topology")?;
    ensure!(output.status.success(), "the process ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("reading what the topology took")
}

async fn play(count: usize, source: &str) -> Result<Taken> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("out"))?;
    let path = folder.path().join("topology.toml");
    std::fs::write(&path, text(count, source)?)?;
    let began = Instant::now();
    let document = Document::open(&path)?;
    let report = document.check(&standard());
    let read_ms = began.elapsed().as_secs_f64() * 1e3;
    ensure!(report.is_empty(), "{report}");
    let topology = document.topology();
    let began = Instant::now();
    let paris = topology.start("paris", standard()).await?;
    let before = machine::resident_bytes()?;
    let mut lyon = topology.start("lyon", standard()).await?;
    let start_ms = began.elapsed().as_secs_f64() * 1e3;
    while source == "once" && lyon.pending().await?.open > 0 {
        tokio::time::sleep(SETTLED).await;
    }
    tokio::time::sleep(SETTLED).await;
    let kib = (machine::resident_bytes()? as f64 - before as f64) / 1024.0;
    let cpu = machine::process_cpu_seconds();
    tokio::time::sleep(WATCHED).await;
    let idle_cpu_ms = (machine::process_cpu_seconds() - cpu) * 1e3;
    let (reload_ms, touched) = reload(&mut lyon, &path, count).await?;
    lyon.shutdown().await;
    paris.shutdown().await;
    Ok(Taken {
        reload_ms,
        touched,
        read_ms,
        start_ms,
        kib_per_route: kib / count as f64,
        idle_cpu_ms,
    })
}

/// Changes the route in the middle; how long that takes from the file to the routes that run, and
/// how many parts it touches.
async fn reload(lyon: &mut RunningNode, path: &Path, count: usize) -> Result<(f64, usize)> {
    let text = std::fs::read_to_string(path)?;
    let route = format!("[route.route-{}]\n", count / 2);
    std::fs::write(path, text.replace(&route, &format!("{route}expires = \"2d\"\n")))?;
    let began = Instant::now();
    let document = Document::open(path)?;
    let report = document.check(&standard());
    ensure!(report.is_empty(), "{report}");
    let changed = lyon.reload(document.topology()).await?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    Ok((took, changed.routes.len() + changed.inboxes.len() + changed.peers.len()))
}

/// A topology of two nodes, with a port that nobody has just now.
fn text(count: usize, source: &str) -> Result<String> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut text = format!(
        "[node.lyon]\n[node.paris]\nlisten = \"127.0.0.1:{port}\"\n\
         [inbox.letters]\nnode = \"paris\"\nsink = {{ null = {{}} }}\n"
    );
    for route in 0..count {
        let source = match source {
            "each" => "{ each = \"out\" }".to_owned(),
            _ => format!("{{ text = {{ name = \"text {route}\", text = \"hello\" }} }}"),
        };
        text.push_str(&format!(
            "[route.route-{route}]\nfrom = \"lyon\"\nsource = {source}\nto = \"paris/letters\"\n"
        ));
    }
    Ok(text)
}
