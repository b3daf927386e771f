//! What each stage of the pipeline costs on this machine, measured in place, and the limit that
//! follows: `cargo bench -p estafette-benches --bench stages`.

use anyhow::Result;
use estafette_benches::limit::{self, Limit, Step};
use estafette_benches::report::{Table, median, number};
use estafette_benches::{Corpus, Kind, Settings, machine};

fn main() -> Result<()> {
    let settings = Settings::read();
    let bytes = settings.mib.min(MOST_MIB) << 20;
    println!(
        "\nstages: CPU s/GB of content, medians of {} passes of {} MiB, {} cores",
        settings.rounds,
        bytes >> 20,
        machine::cores()
    );
    let mut headings = vec!["step".to_owned()];
    let mut columns: Vec<Vec<Limit>> = Vec::new();
    for &kind in &settings.kinds {
        for chunk in CHUNKS {
            headings.push(format!("{kind} {} KiB", chunk / 1024));
            columns.push(passes(&settings, kind, chunk, bytes)?);
        }
    }
    println!("{}", table(&headings, &columns));
    Ok(())
}

fn passes(settings: &Settings, kind: Kind, chunk: usize, bytes: u64) -> Result<Vec<Limit>> {
    let corpus = Corpus::generate(kind, settings.seed, settings.job(kind).block);
    let passes = (0..settings.rounds).map(|round| {
        let limit = limit::measure(&corpus, chunk, bytes)?;
        println!("{}", serde_json::json!({ "bench": "stages", "kind": kind, "chunk": chunk, "round": round, "limit": limit }));
        Ok(limit)
    });
    passes.collect()
}

fn table(headings: &[String], columns: &[Vec<Limit>]) -> Table {
    let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    let mut row = |name: &str, decimals, figure: &dyn Fn(&Limit) -> f64| {
        let cells = columns
            .iter()
            .map(|passes| number(median(passes.iter().map(figure).collect()), decimals));
        table.row(std::iter::once(name.to_owned()).chain(cells).collect());
    };
    for step in Step::ALL {
        row(step.name(), 3, &|limit| limit.cost(step));
    }
    row("Σ s/GB", 2, &Limit::sum);
    row("Σ without BLAKE3", 2, &Limit::sum_without_digest);
    row("ideal MB/s", 0, &|limit| limit.ideal(limit.sum()));
    row("ideal without BLAKE3", 0, &|limit| limit.ideal(limit.sum_without_digest()));
    row("straight MB/s", 0, &|limit| limit.straight);
    table
}

const CHUNKS: [usize; 3] = [64 << 10, 256 << 10, 1 << 20];
const MOST_MIB: u64 = 256;
