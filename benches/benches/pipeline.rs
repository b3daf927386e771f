//! Both chains of stages in one process, in memory, on one arbiter and on workers: `cargo bench -p
//! estafette-benches --bench pipeline`.

use anyhow::Result;
use estafette::wire::Suite;
use estafette_benches::in_memory::{Pass, Workers, pass};
use estafette_benches::limit::{self, Limit};
use estafette_benches::report::{Table, median, number};
use estafette_benches::{Corpus, Kind, Settings, machine};

fn main() -> Result<()> {
    let settings = Settings::read();
    let cores = machine::cores();
    let bytes = settings.mib.min(MOST_MIB) << 20;
    let mut table =
        Table::new(&["content", "stages on", "MB/s", "÷ ideal", "CPU s/GB", "÷ one arbiter"]);
    for &kind in &settings.kinds {
        let rounds = rounds(&settings, kind, bytes, cores)?;
        for (column, workers) in
            [Workers::OneArbiter, Workers::Parallel(cores)].into_iter().enumerate()
        {
            let over = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
            table.row(vec![
                kind.to_string(),
                format!("{workers:?}"),
                number(over(&|round| round.passes[column].mb_per_s), 0),
                number(
                    over(&|round| {
                        round.passes[column].mb_per_s
                            / round.limit.ideal(round.limit.sum_in_memory())
                    }),
                    2,
                ),
                number(over(&|round| round.passes[column].seconds_per_gb), 2),
                number(over(&|round| round.passes[column].mb_per_s / round.passes[0].mb_per_s), 2),
            ]);
        }
    }
    println!(
        "\npipeline: {} MiB in chunks of {} KiB, medians of {} rounds, {cores} cores",
        bytes >> 20,
        settings.piece_kib,
        settings.rounds
    );
    println!(
        "ideal: all cores at work on nothing but the stages, writing and reading not \
         counted\n{table}"
    );
    Ok(())
}

struct Round {
    limit: Limit,
    passes: [Pass; 2],
}

fn rounds(settings: &Settings, kind: Kind, bytes: u64, cores: usize) -> Result<Vec<Round>> {
    let corpus = Corpus::generate(kind, settings.seed, settings.job(kind).block);
    let chunk = (settings.piece_kib << 10).next_power_of_two();
    let rounds = (0..settings.rounds).map(|round| {
        let limit = limit::measure(&corpus, chunk as usize, bytes, Suite::XSALSA20_POLY1305)?;
        let passes = [pass(&corpus, chunk, bytes, Workers::OneArbiter)?, pass(&corpus, chunk, bytes, Workers::Parallel(cores))?];
        println!("{}", serde_json::json!({ "bench": "pipeline", "kind": kind, "round": round, "chunk": chunk, "passes": passes }));
        Ok(Round { limit, passes })
    });
    rounds.collect()
}

const MOST_MIB: u64 = 256;
