//! The rate of small durable records in the spool, beside what the disk itself can sync: `cargo
//! bench -p estafette-benches --bench spool`.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use estafette::node::{Change, Store};
use estafette_actors::spool::Spool;
use estafette_benches::machine;
use estafette_benches::report::{Table, number};
use futures_util::future::FutureExt;
use tokio::runtime::Builder;

fn main() -> Result<()> {
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("spool-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = run(&folder);
    fs::remove_dir_all(&folder)?;
    outcome
}

fn run(folder: &Path) -> Result<()> {
    println!("\nspool: durable records of {VALUE} bytes, {ROUND:?} each, in {}", folder.display());
    let mut table = Table::new(&[
        "in flight",
        "records/s",
        "commits/s",
        "records per commit",
        "records per sync",
        "disk's own syncs/s",
        "CPU µs/record",
    ]);
    for in_flight in IN_FLIGHT {
        let syncs = disk_syncs(folder)?;
        let (records, commits, cpu) =
            spool_records(&folder.join(in_flight.to_string()), in_flight)?;
        let per_commit = records / commits;
        // A commit in two phases syncs twice.
        let cells = [records, commits, per_commit, per_commit / 2.0, syncs, cpu];
        println!(
            "{}",
            serde_json::json!({ "bench": "spool", "in_flight": in_flight, "records_per_s": records, "commits_per_s": commits, "disk_syncs_per_s": syncs, "cpu_us_per_record": cpu })
        );
        table.row(
            std::iter::once(in_flight.to_string())
                .chain(cells.map(|cell| number(Some(cell), 1)))
                .collect(),
        );
    }
    println!("{table}");
    Ok(())
}

/// Returns how often a page can be written and synced in a second.
fn disk_syncs(folder: &Path) -> Result<f64> {
    let file = File::create(folder.join("syncs"))?;
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < ROUND {
        file.write_all_at(&[count as u8; 4096], u64::from(count % 64) * 4096)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

/// Records and commits in a second, and microseconds of CPU for a record, with so many writes on
/// their way at any time.
fn spool_records(folder: &Path, in_flight: usize) -> Result<(f64, f64, f64)> {
    let spool = Spool::open(folder)?;
    let (before, cpu) = (spool.version()?, machine::process_cpu_seconds());
    let (start, mut count) = (Instant::now(), 0_u64);
    Builder::new_current_thread().build()?.block_on(async {
        let mut waiting = VecDeque::with_capacity(in_flight);
        while start.elapsed() < ROUND || !waiting.is_empty() {
            while waiting.len() < in_flight && start.elapsed() < ROUND {
                waiting.push_back(spool.write_later(vec![record(count)]));
                count += 1;
            }
            if let Some(written) = waiting.pop_front() {
                written.await?;
            }
            // Those that came with the same commit are done, too.
            while let Some(written) = waiting.front_mut().and_then(|written| written.now_or_never())
            {
                written?;
                waiting.pop_front();
            }
        }
        anyhow::Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = (machine::process_cpu_seconds() - cpu) * 1e6 / count as f64;
    Ok((count as f64 / seconds, (spool.version()? - before) as f64 / seconds, cpu))
}

/// Keys that are spread like those of transfers, which are random.
fn record(number: u64) -> Change {
    let key = blake3::hash(&number.to_le_bytes()).as_bytes()[..16].to_vec();
    Change::Put { table: "bench", key, value: vec![number as u8; VALUE] }
}

const IN_FLIGHT: [usize; 4] = [1, 64, 1024, 16_384];
const ROUND: Duration = Duration::from_secs(3);
const VALUE: usize = 100;
