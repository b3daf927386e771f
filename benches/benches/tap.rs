//! The cost of a tap: `cargo bench -p estafette-benches --bench tap`.
//!
//! Two nodes in one process, and a route that sends one file of 64 MiB, of text that compresses,
//! over loopback to an inbox that keeps nothing: without a tap, with one as `estafette tap` has it,
//! and with the most that one may ask for. Asked: a tap makes it at most 2 % slower. Rounds take
//! turns, and what counts is the processor's time of the whole process, since other programs share
//! the machine; the time of the clock stands beside it.
//!
//! On a busy machine two rounds of one case differ by more than what is asked. So there are many
//! short rounds; a ratio is the median of the quotients within each round, and beside it stands where
//! it lies with 95 % of certainty, by the order of the quotients, whatever their distribution. A
//! tap has shown what is asked when all of that is below it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use estafette::TransferNews;
use estafette::node::NodeEvent;
use estafette_actors::standard;
use estafette_benches::Settings;
use estafette_benches::machine;
use estafette_benches::report::{Table, number};
use estafette_topology::{Document, TapNews, TapOptions};

/// Rounds of each case.
const ROUNDS: usize = 61;
/// Bytes of the file.
const BYTES: usize = 64 << 20;
/// The most that is asked, of a case without a tap.
const ASKED: f64 = 1.02;

/// A name, and the tap, if there is one.
type Case = (&'static str, Option<TapOptions>);

fn main() -> Result<()> {
    // Wrong arguments are an error here, too, though none of the settings matters.
    drop(Settings::read());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(compare())
}

async fn compare() -> Result<()> {
    let most = TapOptions {
        samples: TapOptions::SAMPLES_MOST,
        bytes: TapOptions::BYTES_MOST,
        ..TapOptions::default()
    };
    let seal = TapOptions { stage: Some("seal".into()), ..TapOptions::default() };
    let cases: [Case; 5] = [
        ("none", None),
        ("source", Some(TapOptions::default())),
        ("seal", Some(seal)),
        ("source, the most", Some(most)),
        ("none again", None),
    ];
    let folder = tempfile::tempdir()?;
    std::fs::write(
        folder.path().join("file"),
        "a line of a log, as they are\n".repeat(BYTES / 29),
    )?;
    let mut taken = vec![Vec::new(); cases.len()];
    for round in 0..=ROUNDS {
        for at in 0..cases.len() {
            // Each is as often after one as after another.
            let at = if round % 2 == 0 { at } else { cases.len() - 1 - at };
            let one = deliver(folder.path(), &cases[at].1).await?;
            // The first round is for caches.
            if round > 0 {
                taken[at].push(one);
            }
        }
    }
    let mut table =
        Table::new(&["tap", "CPU, ms", "÷ none", "from", "to", "time, ms", "÷ none", "samples"]);
    for ((name, _), taken_so) in cases.iter().zip(&taken) {
        let one = Taken::median(taken_so);
        let [from, cpu, to] = ratio(taken_so, &taken[0], |one| one.cpu);
        let [_, time, _] = ratio(taken_so, &taken[0], |one| one.seconds);
        let json = serde_json::json!({
            "bench": "tap", "case": name, "cpu_ms": one.cpu * 1e3, "cpu_ratio": cpu,
            "from": from, "to": to, "ms": one.seconds * 1e3, "ratio": time, "samples": one.samples
        });
        println!("{json}");
        table.row(vec![
            (*name).into(),
            number(Some(one.cpu * 1e3), 0),
            number(Some(cpu), 3),
            number(Some(from), 3),
            number(Some(to), 3),
            number(Some(one.seconds * 1e3), 0),
            number(Some(time), 3),
            number(Some(one.samples), 0),
        ]);
    }
    println!("\n{table}\nasked: ≤ {ASKED} of none; shown where \"to\" is no more");
    Ok(())
}

/// The median of the quotients within each round, between the bounds in which it lies with 95 % of
/// certainty.
fn ratio(taken: &[Taken], none: &[Taken], figure: fn(&Taken) -> f64) -> [f64; 3] {
    let mut all: Vec<_> =
        taken.iter().zip(none).map(|(one, none)| figure(one) / figure(none)).collect();
    all.sort_by(f64::total_cmp);
    // As many of the quotients as heads of so many coins.
    let (middle, off) = (all.len() / 2, (0.98 * (all.len() as f64).sqrt()).ceil() as usize);
    [middle.saturating_sub(off), middle, (middle + off).min(all.len() - 1)].map(|at| all[at])
}

/// The cost of a delivery.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    cpu: f64,
    seconds: f64,
    samples: f64,
}

impl Taken {
    fn median(taken: &[Self]) -> Self {
        let median = |of: fn(&Self) -> f64| {
            let mut all: Vec<_> = taken.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let [cpu, seconds, samples] =
            [median(|one| one.cpu), median(|one| one.seconds), median(|one| one.samples)];
        Self { cpu, seconds, samples }
    }
}

async fn deliver(file: &Path, tap: &Option<TapOptions>) -> Result<Taken> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("topology.toml");
    std::fs::write(&path, text(&file.join("file"))?)?;
    let document = Document::open(&path)?;
    let report = document.check(&standard());
    ensure!(report.is_empty(), "{report}");
    let topology = document.topology();
    let paris = topology.start("paris", standard()).await?;
    let lyon = topology.start("lyon", standard()).await?;
    let (mut events, samples) = (lyon.node().events(), Arc::new(AtomicU64::new(0)));
    let looking = tap.as_ref().map(|options| lyon.taps().tap("post", options)).transpose()?;
    let looking = looking.map(|mut tap| {
        let samples = Arc::clone(&samples);
        tokio::spawn(async move {
            while let Ok(news) = tap.next().await {
                samples.fetch_add(u64::from(matches!(news, TapNews::Piece(_))), Ordering::Relaxed);
            }
        })
    });
    let mut began = None;
    let taken = loop {
        let event = events.next().await.context("the node stopped")?;
        let NodeEvent::Transfer(event) = event else { continue };
        match event.news {
            TransferNews::Started { .. } => {
                began = Some((Instant::now(), machine::process_cpu_seconds()));
            }
            TransferNews::Delivered { .. } => {
                let (time, cpu) = began.context("it began before it was looked at")?;
                let seconds = time.elapsed().as_secs_f64();
                let cpu = machine::process_cpu_seconds() - cpu;
                break Taken { cpu, seconds, samples: samples.load(Ordering::Relaxed) as f64 };
            }
            TransferNews::Failed { failure } => bail!("it failed: {failure}"),
            _ => {}
        }
    };
    ensure!(tap.is_none() || taken.samples > 0.0, "nothing was seen");
    if let Some(looking) = looking {
        looking.abort();
    }
    lyon.shutdown().await;
    paris.shutdown().await;
    Ok(taken)
}

/// A topology of two nodes, with a port that nobody has just now.
fn text(file: &Path) -> Result<String> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    Ok(format!(
        "[node.lyon]\n[node.paris]\nlisten = \"127.0.0.1:{port}\"\n\
         [inbox.letters]\nnode = \"paris\"\nsink = {{ null = {{}} }}\n\
         [route.post]\nfrom = \"lyon\"\nsource = {{ paths = {file:?} }}\nto = \"paris/letters\"\n\
         tap = \"content\"\n"
    ))
}
