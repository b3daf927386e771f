//! The work of one content for three receivers, beside that for one: `cargo bench -p
//! estafette-benches --bench fan_out`.
//!
//! A sender in this process, and receivers in another one, over loopback. The work up to the seal is
//! what is not of a receiver: the processor's time of the whole sender, less what sealing and
//! sending take for each. That is found out with one receiver: what reading, hashing and compressing
//! took there, by the clock of their threads, is the work of one, and the rest is a receiver's. So
//! what sharing costs, locks and wake-ups too, counts as work up to the seal of three. Asked: at most
//! 1.25 times. Rounds take turns; the table has medians. What was read and compressed is counted.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use estafette::delivery::Content;
use estafette::node::StageRegistry;
use estafette::pipeline::{
    Pipeline, Source, SourceError, SourceReference, SourceReport, Transform, TransformError,
};
use estafette::wire::PeerId;
use estafette::{Identity, Node};
use estafette_actors::chunk::Digest;
use estafette_actors::compress::{Compressor, Decompressor};
use estafette_actors::sink::NullSink;
use estafette_actors::source::FileSource;
use estafette_actors::standard;
use estafette_benches::report::{Table, number};
use estafette_benches::{Corpus, Kind, Settings, machine, on_disk};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, try_join_all};

/// Bytes of the content.
const LENGTH: u64 = 128 << 20;
const RECEIVERS: usize = 3;
const ROUNDS: usize = 11;
/// The stages before the seal.
const BEFORE_THE_SEAL: [&str; 3] = ["source", "digest", "compress"];
/// The most that is asked.
const ASKED: f64 = 1.25;
/// Says to this program that it is the receivers, and who the sender is.
const ROLE: &str = "ESTAFETTE_BENCH_FAN_OUT";

/// Nanoseconds of threads in the stages before the seal.
static WORK: AtomicU64 = AtomicU64::new(0);

fn main() -> Result<()> {
    // Wrong arguments are an error here, too, though none of the settings matters.
    drop(Settings::read());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match std::env::var(ROLE) {
        Ok(sender) => runtime.block_on(receive(sender.parse()?)),
        Err(_) => runtime.block_on(measure()),
    }
}

/// Three nodes that count and discard, until nobody asks for them any more.
async fn receive(sender: PeerId) -> Result<()> {
    let mut nodes = Vec::new();
    for _ in 0..RECEIVERS {
        let node = Node::builder().listen("127.0.0.1:0").stages(standard());
        let node = node.peer("sender", sender, [""; 0]);
        let node = node.receive("in", NullSink::new()).start().await?;
        println!("{} {}", node.peer(), node.addresses().first().context("it listens")?);
        nodes.push(node);
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    for node in nodes {
        node.shutdown().await;
    }
    Ok(())
}

/// Counts the time of its thread in another one.
#[derive(Debug, Default)]
struct Timed<T>(T);

fn timed<R>(work: impl FnOnce() -> R) -> R {
    let before = machine::thread_cpu_seconds();
    let done = work();
    let taken = machine::thread_cpu_seconds() - before;
    WORK.fetch_add((taken * 1e9) as u64, Ordering::Relaxed);
    done
}

impl<T: Transform> Transform for Timed<T> {
    type In = T::In;
    type Out = T::Out;
    const SEES_TRAILER: bool = T::SEES_TRAILER;

    fn apply(&mut self, input: &T::In) -> Result<T::Out, TransformError> {
        timed(|| self.0.apply(input))
    }
}

impl Source for Timed<FileSource> {
    fn content(&self) -> Content {
        self.0.content()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        // A file is read at once.
        let read = timed(|| self.0.read(buffer).now_or_never());
        Box::pin(async move { read.expect("a file does not wait") })
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        self.0.finish()
    }

    fn version(&self) -> Option<[u8; 32]> {
        Source::version(&self.0)
    }

    fn reference(&self) -> Option<SourceReference> {
        self.0.reference()
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        self.0.rewind()
    }
}

/// The cost of a delivery to some receivers.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// Milliseconds of the sender's processor.
    all: f64,
    /// Of these, in the stages before the seal.
    work: f64,
    /// The time of these stages by the clock, where others had the processor meanwhile, too.
    clock: f64,
    /// Bytes that were read, and that were compressed.
    read: f64,
    compressed: f64,
}

async fn measure() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("content");
    on_disk::file(&path, &Corpus::generate(Kind::Text, 7, 4 << 20), LENGTH)?;
    // Of one that may still change without a trace nothing is shared.
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&path)?.set_modified(long_ago)?;
    let world = World::start().await?;
    let (mut one, mut three) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (of_one, of_three) = (world.send(&path, 1).await?, world.send(&path, RECEIVERS).await?);
        // The first round is for caches and links.
        if round > 0 {
            one.push(of_one);
            three.push(of_three);
        }
    }
    world.end().await?;
    let (one, three) = (median(&one), median(&three));
    // What is not before the seal is a receiver's.
    let before_the_seal = three.all - RECEIVERS as f64 * (one.all - one.work);
    let (of_stages, ratio) = (three.work / one.work, before_the_seal / one.work);
    let mut table = Table::new(&[
        "receivers",
        "CPU, ms",
        "before the seal, ms",
        "by the clock, ms",
        "read, MiB",
        "compressed, MiB",
    ]);
    for (receivers, taken) in [(1, one), (RECEIVERS, three)] {
        let json = serde_json::json!({
            "bench": "fan_out", "receivers": receivers, "cpu_ms": taken.all,
            "stages_ms": taken.work, "clock_ms": taken.clock, "read": taken.read, "compressed": taken.compressed
        });
        println!("{json}");
        let mib = f64::from(1 << 20);
        let figures = [
            (taken.all, 0),
            (taken.work, 0),
            (taken.clock, 0),
            (taken.read / mib, 1),
            (taken.compressed / mib, 1),
        ];
        let figures = figures.map(|(figure, digits)| number(Some(figure), digits));
        table.row([vec![receivers.to_string()], figures.to_vec()].concat());
    }
    println!(
        "\n{table}\nfor {RECEIVERS}: {ratio:.2} times the work of one up to the seal, of which \
         the stages are {of_stages:.2}; asked: at most {ASKED}"
    );
    Ok(())
}

fn median(rounds: &[Taken]) -> Taken {
    let of = |figure: fn(&Taken) -> f64| {
        let mut all: Vec<_> = rounds.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Taken {
        all: of(|taken| taken.all),
        work: of(|taken| taken.work),
        clock: of(|taken| taken.clock),
        read: of(|taken| taken.read),
        compressed: of(|taken| taken.compressed),
    }
}

/// The sender, and the process of those it sends to.
struct World {
    sender: Node,
    receivers: Child,
}

impl World {
    async fn start() -> Result<Self> {
        let identity = Identity::generate();
        let mut receivers = Command::new(std::env::current_exe()?)
            .env(ROLE, identity.peer().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = BufReader::new(receivers.stdout.take().context("it has an output")?);
        let mut sender = Node::builder().identity(identity).stages(stages());
        for (number, line) in said.lines().take(RECEIVERS).enumerate() {
            let line = line?;
            let (peer, address) = line.split_once(' ').context("a node and its address")?;
            sender = sender.peer(format!("receiver-{number}"), peer.parse()?, [address]);
        }
        Ok(Self { sender: sender.start().await?, receivers })
    }

    /// Sends the file to so many, and tells what that took.
    async fn send(&self, path: &Path, receivers: usize) -> Result<Taken> {
        let before = self.taken();
        let each = (0..receivers).map(|number| async move {
            let source = Timed(FileSource::open(path)?);
            let to = format!("receiver-{number}/in");
            let sent = self.sender.send(to.as_str(), source).await?;
            sent.delivered().await.context("delivering")
        });
        let receipts = try_join_all(each).await?;
        ensure!(receipts.iter().all(|receipt| receipt.length == LENGTH), "something is missing");
        let after = self.taken();
        Ok(Taken {
            all: after.all - before.all,
            work: after.work - before.work,
            clock: after.clock - before.clock,
            read: after.read - before.read,
            compressed: after.compressed - before.compressed,
        })
    }

    fn taken(&self) -> Taken {
        let reports = self.sender.metrics();
        let bytes_into = |stage: &str| {
            let found = reports.iter().filter(|report| &*report.stage == stage);
            found.map(|report| report.bytes_in as f64).sum()
        };
        let before = reports.iter().filter(|report| BEFORE_THE_SEAL.contains(&&*report.stage));
        Taken {
            all: machine::process_cpu_seconds() * 1e3,
            clock: before.map(|report| report.busy.as_secs_f64() * 1e3).sum(),
            work: WORK.load(Ordering::Relaxed) as f64 / 1e6,
            read: bytes_into("source"),
            compressed: bytes_into("compress"),
        }
    }

    async fn end(mut self) -> Result<()> {
        self.sender.shutdown().await;
        drop(self.receivers.stdin.take());
        ensure!(self.receivers.wait()?.success(), "the receivers failed");
        Ok(())
    }
}

/// Stages that are timed before the seal.
fn stages() -> StageRegistry {
    standard().digest(Pipeline::new().then("digest", Timed::<Digest>::default)).compressor(
        Pipeline::new().then("compress", Timed::<Compressor>::default),
        Pipeline::new().then("decompress", Decompressor::default),
    )
}
