//! The cost of each stage of the pipeline on this machine, measured in place, and the limit that
//! follows: `cargo bench -p estafette-benches --bench stages`.

use anyhow::Result;
use estafette::wire::Suite;
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
    let mut columns: Vec<Vec<[Option<Limit>; 2]>> = Vec::new();
    for &kind in &settings.kinds {
        for chunk in CHUNKS {
            headings.push(format!("{kind} {} KiB", chunk / 1024));
            columns.push(passes(&settings, kind, chunk, bytes)?);
        }
    }
    println!("{}", table(&headings, &columns));
    Ok(())
}

/// A pass with each suite, one after the other, where this processor has both.
fn passes(
    settings: &Settings,
    kind: Kind,
    chunk: usize,
    bytes: u64,
) -> Result<Vec<[Option<Limit>; 2]>> {
    let here = estafette_actors::standard().stages().suites();
    let corpus = Corpus::generate(kind, settings.seed, settings.job(kind).block);
    let passes = (0..settings.rounds).map(|round| {
        let mut limits = [None; 2];
        for (limit, suite) in limits.iter_mut().zip(SUITES) {
            if !here.contains(&suite) {
                continue;
            }
            let measured = limit::measure(&corpus, chunk, bytes, suite)?;
            println!("{}", serde_json::json!({ "bench": "stages", "kind": kind, "chunk": chunk, "round": round, "suite": suite.to_string(), "limit": measured }));
            *limit = Some(measured);
        }
        Ok(limits)
    });
    passes.collect()
}

fn table(headings: &[String], columns: &[Vec<[Option<Limit>; 2]>]) -> Table {
    let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    let mut row = |name: String, decimals, figure: &Figure<'_>| {
        let cells = columns
            .iter()
            .map(|passes| number(median(passes.iter().filter_map(figure).collect()), decimals));
        table.row(std::iter::once(name).chain(cells).collect());
    };
    for step in Step::ALL.into_iter().filter(|step| !SEALING.contains(step)) {
        row(step.name().into(), 3, &|[salsa, _]| Some(salsa.as_ref()?.cost(step)));
    }
    for step in SEALING {
        for (at, suite) in SUITES.into_iter().enumerate() {
            let name = format!("{}, {suite}", step.name());
            row(name, 3, &|limits| Some(limits[at].as_ref()?.cost(step)));
        }
        row(format!("{}: first ÷ second", step.name()), 2, &|[first, second]| {
            Some(first.as_ref()?.cost(step) / second.as_ref()?.cost(step))
        });
    }
    for (at, suite) in SUITES.into_iter().enumerate() {
        let mut row = |name: &str, decimals, figure: &dyn Fn(&Limit) -> f64| {
            row(format!("{name}, {suite}"), decimals, &|limits| limits[at].as_ref().map(figure));
        };
        row("Σ s/GB", 2, &Limit::sum);
        row("Σ without BLAKE3", 2, &Limit::sum_without_digest);
        row("ideal MB/s", 0, &|limit| limit.ideal(limit.sum()));
        row("ideal without BLAKE3", 0, &|limit| limit.ideal(limit.sum_without_digest()));
        row("straight MB/s", 0, &|limit| limit.straight);
    }
    table
}

type Figure<'a> = dyn Fn(&[Option<Limit>; 2]) -> Option<f64> + 'a;

const SUITES: [Suite; 2] = [Suite::XSALSA20_POLY1305, Suite::AES_256_GCM];
const SEALING: [Step; 2] = [Step::Seal, Step::Open];
const CHUNKS: [usize; 3] = [64 << 10, 256 << 10, 1 << 20];
const MOST_MIB: u64 = 256;
