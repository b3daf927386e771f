//! From file to file, on a file system in memory and on disk, with sync, beside what that file
//! system does by itself: `cargo bench -p estafette-benches --bench files`.
//!
//! Two nodes in one process, over loopback. The source file is in the page cache; every target is
//! synced before the clock stops, and compared with its source after it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use estafette::pipeline::Source;
use estafette::{Node, Ticket};
use estafette_actors::sink::{FileSink, OnConflict};
use estafette_actors::source::{BytesSource, FileSource, TreeSource};
use estafette_actors::standard;
use estafette_benches::report::{Table, median, number};
use estafette_benches::rsync::Rsync;
use estafette_benches::{Corpus, Settings, on_disk};
use tempfile::TempDir;

fn main() -> Result<()> {
    let settings = Settings::read();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for (name, root) in [("tmpfs", PathBuf::from("/dev/shm")), ("disk", on_disk::disk()?)] {
            if !root.is_dir() {
                println!("\nSKIPPED files on {name}: there is no {}\n", root.display());
                continue;
            }
            let place = Place::new(&root).await?;
            large(&settings, name, &place).await?;
            small(&settings, name, &place).await?;
            place.end().await;
        }
        Ok(())
    })
}

/// A folder to work in, and two nodes: one receives into its `in`.
struct Place {
    home: TempDir,
    sender: Node,
    receiver: Node,
    ticket: Ticket,
}

impl Place {
    async fn new(root: &Path) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("estafette-bench-").tempdir_in(root)?;
        for folder in ["in", "rsync"] {
            fs::create_dir(home.path().join(folder))?;
        }
        let receiver = Node::builder().listen("127.0.0.1:0").stages(standard()).start().await?;
        receiver.receive(
            "in",
            FileSink::into_dir(home.path().join("in")).on_conflict(OnConflict::Replace),
        )?;
        let ticket = receiver.ticket("in")?;
        let sender = Node::builder().stages(standard()).start().await?;
        sender.send(ticket.clone(), BytesSource::new("first", "first")?).await?.delivered().await?;
        Ok(Self { home, sender, receiver, ticket })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Seconds until the receipt: verified, synced, and under its name.
    async fn send(&self, source: impl Source) -> Result<f64> {
        let started = Instant::now();
        self.sender.send(self.ticket.clone(), source).await?.delivered().await?;
        Ok(started.elapsed().as_secs_f64())
    }

    async fn end(self) {
        self.sender.shutdown().await;
        self.receiver.shutdown().await;
    }
}

async fn large(settings: &Settings, name: &str, place: &Place) -> Result<()> {
    let bytes = settings.mib.min(MOST_MIB) << 20;
    let mut table =
        Table::new(&["file", "content", "estafette MB/s", "copy with sync MB/s", "÷ copy"]);
    for &kind in &settings.kinds {
        let corpus = Corpus::generate(kind, settings.seed, settings.job(kind).block);
        let (source, copied) = (place.path("large"), place.path("copied"));
        on_disk::file(&source, &corpus, bytes)?;
        let mut rounds = Vec::new();
        for round in 0..settings.rounds {
            let ours = place.send(FileSource::open(&source)?).await?;
            on_disk::compare(&source, &place.path("in/large"))?;
            let theirs = on_disk::copy(&source, &copied)?;
            println!(
                "{}",
                serde_json::json!({ "bench": "files", "on": name, "kind": kind, "round": round, "seconds": ours, "copy": theirs })
            );
            rounds.push((ours, theirs));
            fs::remove_file(&copied)?;
            fs::remove_file(place.path("in/large"))?;
        }
        fs::remove_file(&source)?;
        let speed = |seconds: fn(&(f64, f64)) -> f64| {
            number(
                median(rounds.iter().map(|round| bytes as f64 / 1e6 / seconds(round)).collect()),
                0,
            )
        };
        let ratio = number(median(rounds.iter().map(|(ours, theirs)| theirs / ours).collect()), 2);
        table.row(vec![
            format!("{} MiB on {name}", bytes >> 20),
            kind.to_string(),
            speed(|r| r.0),
            speed(|r| r.1),
            ratio,
        ]);
    }
    println!("\n{table}");
    Ok(())
}

async fn small(settings: &Settings, name: &str, place: &Place) -> Result<()> {
    let kind = settings.kinds[0];
    let (source, rsynced) = (place.path("small"), place.path("rsync"));
    on_disk::folder(
        &source,
        &Corpus::generate(kind, settings.seed, settings.job(kind).block),
        FILES,
        FILE,
    )?;
    let rsync = Rsync::start(place.home.path(), &rsynced)?;
    let mut rounds = Vec::new();
    for round in 0..settings.rounds {
        let ours = place.send(TreeSource::new(vec![source.clone()])?).await?;
        on_disk::compare(&source, &place.path("in/small"))?;
        fs::remove_dir_all(place.path("in/small"))?;
        let theirs = rsync.as_ref().map(|rsync| rsync.send(&source)).transpose()?;
        if theirs.is_some() {
            on_disk::compare(&source, &rsynced.join("small"))?;
            fs::remove_dir_all(rsynced.join("small"))?;
        }
        println!(
            "{}",
            serde_json::json!({ "bench": "files", "on": name, "files": FILES, "round": round, "seconds": ours, "rsync": theirs })
        );
        rounds.push((ours, theirs));
    }
    fs::remove_dir_all(&source)?;
    let mut table = Table::new(&["folder", "estafette s", "rsync -a --fsync s", "× rsync"]);
    let seconds = |figures: Vec<f64>| number(median(figures), 2);
    table.row(vec![
        format!("{FILES} files of {} KiB on {name}", FILE >> 10),
        seconds(rounds.iter().map(|round| round.0).collect()),
        seconds(rounds.iter().filter_map(|round| round.1).collect()),
        seconds(rounds.iter().filter_map(|(ours, theirs)| Some((*theirs)? / ours)).collect()),
    ]);
    println!("\n{table}");
    if rsync.is_none() {
        println!(
            "SKIPPED rsync: none with --fsync (3.2.4 or newer) is installed; Debian: apt-get \
             install rsync\n"
        );
    }
    Ok(())
}

const MOST_MIB: u64 = 512;
const FILES: usize = 10_000;
const FILE: usize = 4 << 10;
