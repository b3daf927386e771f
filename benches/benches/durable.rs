//! The cost of storing a delivery before it is made: `cargo bench -p estafette-benches --bench
//! durable`.
//!
//! From file to file on disk, by two processes, this very program both; each sender is a new
//! process. Asked of a stored delivery: at most 1.3 × the time of a transient one, or no more than
//! the disk itself takes for its writes.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use estafette::{Node, SendOptions, Ticket};
use estafette_actors::sink::FileSink;
use estafette_actors::source::{BytesSource, FileSource};
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use estafette_benches::report::{Table, median, number};
use estafette_benches::{Corpus, Kind, Settings, on_disk};
use serde::{Deserialize, Serialize};

/// The role of a process of this bench.
#[derive(Debug, Serialize, Deserialize)]
enum Role {
    Receive { home: PathBuf },
    Send { ticket: String, file: PathBuf, spool: PathBuf, mode: Mode },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Transient,
    ByReference,
    WithCopy,
}

/// Seconds from the call of `send` on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Took {
    stored: f64,
    delivered: f64,
}

/// One delivery in each mode, and what the disk itself takes to write the file once.
struct Round {
    took: [Took; 3],
    disk: f64,
}

fn main() -> Result<()> {
    if let Ok(role) = std::env::var(ROLE) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return match serde_json::from_str(&role).context("reading the role")? {
            Role::Receive { home } => runtime.block_on(receive(&home)),
            Role::Send { ticket, file, spool, mode } => {
                runtime.block_on(send(&ticket.parse()?, &file, &spool, mode))
            }
        };
    }
    let settings = Settings::read();
    let home = tempfile::Builder::new().prefix("estafette-bench-").tempdir_in(on_disk::disk()?)?;
    let bytes = settings.mib.min(MOST_MIB) << 20;
    let mut table = Table::new(&[
        "content",
        "delivery",
        "stored after s",
        "delivered after s",
        "MB/s",
        "÷ transient",
        "÷ disk",
        "asked",
        "",
    ]);
    for &kind in &settings.kinds {
        let corpus = Corpus::generate(kind, settings.seed, settings.job(kind).block);
        let file = home.path().join("large");
        on_disk::file(&file, &corpus, bytes)?;
        let rounds = (0..settings.rounds)
            .map(|number| round(home.path(), &file, kind, number))
            .collect::<Result<Vec<_>>>()?;
        MODES.iter().for_each(|&mode| table.row(row(kind, mode, bytes, &rounds)));
        fs::remove_file(&file)?;
    }
    println!("\n{table}");
    Ok(())
}

fn round(home: &Path, file: &Path, kind: Kind, number: u32) -> Result<Round> {
    let place = home.join("receiver");
    fs::create_dir_all(place.join("in"))?;
    let (mut receiver, ticket) = start_receiver(&place)?;
    let mut took = Vec::new();
    // Another one is first in each round.
    for turn in 0..MODES.len() {
        let mode = MODES[(turn + number as usize) % MODES.len()];
        let spool = home.join("sender");
        let spent: Took = start(&Role::Send {
            ticket: ticket.clone(),
            file: file.to_owned(),
            spool: spool.clone(),
            mode,
        })
        .and_then(finish)
        .with_context(|| format!("sending {mode:?}"))?;
        on_disk::compare(file, &place.join("in/large"))?;
        fs::remove_file(place.join("in/large"))?;
        fs::remove_dir_all(spool)?;
        println!(
            "{}",
            serde_json::json!({ "bench": "durable", "kind": kind, "round": number, "mode": mode, "seconds": spent })
        );
        took.push((mode, spent));
    }
    // The receiver ends when nobody can tell it anything any more.
    drop(receiver.stdin.take());
    ensure!(receiver.wait()?.success(), "the receiver failed");
    fs::remove_dir_all(&place)?;
    let copied = home.join("copied");
    let disk = on_disk::copy(file, &copied)?;
    fs::remove_file(copied)?;
    println!(
        "{}",
        serde_json::json!({ "bench": "durable", "kind": kind, "round": number, "copy": disk })
    );
    let of = |mode| {
        took.iter()
            .find(|(known, _)| *known == mode)
            .map(|(_, took)| *took)
            .context("every mode ran")
    };
    Ok(Round { took: [of(MODES[0])?, of(MODES[1])?, of(MODES[2])?], disk })
}

fn row(kind: Kind, mode: Mode, bytes: u64, rounds: &[Round]) -> Vec<String> {
    let index = mode as usize;
    let over = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let delivered = over(&|round| round.took[index].delivered);
    let ratio = over(&|round| round.took[index].delivered / round.took[0].delivered);
    let of_disk = over(&|round| round.took[index].delivered / (mode.writes() * round.disk));
    let met =
        ratio.is_some_and(|ratio| ratio <= MOST) || of_disk.is_some_and(|of_disk| of_disk <= MOST);
    let (asked, verdict) = match mode {
        Mode::Transient => ("", ""),
        _ => ("≤ 1.3 of either", if met { "met" } else { "MISSED" }),
    };
    vec![
        format!("{} MiB {kind}", bytes >> 20),
        mode.name().to_owned(),
        number(over(&|round| round.took[index].stored).filter(|_| mode != Mode::Transient), 3),
        number(delivered, 2),
        number(delivered.map(|seconds| bytes as f64 / 1e6 / seconds), 0),
        number(ratio, 2),
        number(of_disk, 2),
        asked.to_owned(),
        verdict.to_owned(),
    ]
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::ByReference => "stored by reference",
            Self::WithCopy => "stored with a copy",
        }
    }

    /// The least number of times that the content must be written.
    fn writes(self) -> f64 {
        if self == Self::WithCopy { 2.0 } else { 1.0 }
    }
}

fn start(role: &Role) -> Result<Child> {
    let program = std::env::current_exe().context("finding the bench's own file")?;
    let mut command = Command::new(program);
    command.env(ROLE, serde_json::to_string(role)?).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().context("starting a process of the bench")
}

fn start_receiver(place: &Path) -> Result<(Child, String)> {
    let mut child = start(&Role::Receive { home: place.to_owned() })?;
    let mut ticket = String::new();
    BufReader::new(child.stdout.as_mut().context("its output is piped")?).read_line(&mut ticket)?;
    if ticket.is_empty() {
        bail!("the receiver ended with {}", child.wait()?);
    }
    Ok((child, ticket.trim().to_owned()))
}

fn finish(child: Child) -> Result<Took> {
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "the process ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("reading what the process measured")
}

async fn receive(home: &Path) -> Result<()> {
    let spool = Arc::new(Spool::open(home.join("spool"))?);
    let node = Node::builder().listen("127.0.0.1:0").stages(standard()).spool(spool);
    let node = node.receive("in", FileSink::into_dir(home.join("in"))).start().await?;
    println!("{}", node.ticket_for("in", u16::MAX, std::time::Duration::from_secs(24 * 3600))?);
    // Until the bench closes it.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    node.shutdown().await;
    Ok(())
}

async fn send(ticket: &Ticket, file: &Path, spool: &Path, mode: Mode) -> Result<()> {
    let node =
        Node::builder().stages(standard()).spool(Arc::new(Spool::open(spool)?)).start().await?;
    let warm = SendOptions { transient: true, ..SendOptions::default() };
    let name = format!("warm-up {}", std::process::id());
    node.send_with(ticket.clone(), BytesSource::new(&name, "first")?, warm)
        .await?
        .delivered()
        .await?;
    let source = FileSource::open(file)?;
    let options = SendOptions {
        transient: mode == Mode::Transient,
        copy: mode == Mode::WithCopy,
        ..SendOptions::default()
    };
    let started = Instant::now();
    let transfer = node.send_with(ticket.clone(), source, options).await?;
    let stored = started.elapsed().as_secs_f64();
    transfer.delivered().await?;
    let took = Took { stored, delivered: started.elapsed().as_secs_f64() };
    println!("{}", serde_json::to_string(&took)?);
    node.shutdown().await;
    Ok(())
}

const ROLE: &str = "ESTAFETTE_BENCH_DURABLE_ROLE";
/// In the order of their numbers.
const MODES: [Mode; 3] = [Mode::Transient, Mode::ByReference, Mode::WithCopy];
const MOST_MIB: u64 = 512;
const MOST: f64 = 1.3;
