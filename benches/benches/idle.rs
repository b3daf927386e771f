//! What a node costs that has nothing to do: `cargo bench -p estafette-benches --bench idle`.
//!
//! Each node has a process of its own, this very program. Asked: at most 15 MiB resident, and no CPU.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use estafette::{Node, Ticket};
use estafette_actors::sink::NullSink;
use estafette_actors::source::BytesSource;
use estafette_actors::standard;
use estafette_benches::Settings;
use estafette_benches::machine;
use estafette_benches::report::{Table, number};
use serde::{Deserialize, Serialize};

/// What an idle node used in [`WATCHED`].
#[derive(Debug, Serialize, Deserialize)]
struct Idle {
    resident_mib: f64,
    cpu_ms: f64,
}

fn main() -> Result<()> {
    if let Some(role) = std::env::var(ROLE).ok().filter(|role| !role.is_empty()) {
        return play(&role);
    }
    // Wrong arguments are an error here, too, though none of the settings matters to an idle node.
    drop(Settings::read());
    let mut table = Table::new(&["idle for 5 s", "RSS MiB", "CPU ms", "asked", ""]);
    for (role, about) in ROLES {
        let idle = watch(role)?;
        println!("{}", serde_json::json!({ "bench": "idle", "role": role, "idle": idle }));
        let met = idle.resident_mib <= MOST_MIB && idle.cpu_ms <= MOST_MS;
        let asked = format!("≤ {MOST_MIB} MiB, ≤ {MOST_MS} ms");
        let verdict = if met { "met" } else { "MISSED" };
        table.row(vec![about.into(), number(Some(idle.resident_mib), 1), number(Some(idle.cpu_ms), 1), asked, verdict.into()]);
    }
    println!("\n{table}");
    Ok(())
}

fn watch(role: &str) -> Result<Idle> {
    let program = std::env::current_exe().context("finding the bench's own file")?;
    let output = Command::new(program).env(ROLE, role).stderr(Stdio::inherit()).output().context("starting the idle process")?;
    ensure!(output.status.success(), "the idle process ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("reading what the idle process used")
}

fn play(role: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let node = Node::builder().listen("127.0.0.1:0").stages(standard()).start().await?;
        node.receive("anything", NullSink::new())?;
        let linked = if role == LINKED { Some(link(&node.ticket("anything")?).await?) } else { None };
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

const ROLE: &str = "ESTAFETTE_BENCH_IDLE_ROLE";
const LINKED: &str = "linked";
const ROLES: [(&str, &str); 2] = [("alone", "a node that listens"), (LINKED, "two linked nodes in one process")];
const SETTLED: Duration = Duration::from_secs(1);
const WATCHED: Duration = Duration::from_secs(5);
const MOST_MIB: f64 = 15.0;
/// A thousandth of a core: what can be measured, and no more.
const MOST_MS: f64 = 5.0;
