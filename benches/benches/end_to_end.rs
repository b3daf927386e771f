//! Bulk content from one process to another, by every contender in turn: `cargo bench -p
//! estafette-benches --bench end_to_end`.

use std::process::ExitCode;

use anyhow::Result;
use estafette_benches::report::{LimitRun, Results, Run};
use estafette_benches::{
    Contender, Corpus, Kind, Settings, contenders, limit, machine, not_built, play_role, run,
    verdict,
};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let contenders = contenders();
    if let Some(code) = play_role(&contenders) {
        return code;
    }
    match bench(&contenders) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(contenders: &[Contender]) -> Result<()> {
    let settings = Settings::read();
    let chosen = settings.choose(contenders)?;
    let mut results = Results::default();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    for round in 0..settings.rounds {
        for &kind in &settings.kinds {
            results.limits.push(measure_limit(&settings, kind, round)?);
            runtime.block_on(take_turns(&settings, &chosen, kind, round, &mut results))?;
        }
    }
    println!(
        "\nend to end: {} MiB in pieces of {} KiB over loopback, two processes, medians of {} \
         rounds, {} cores",
        settings.mib,
        settings.piece_kib,
        settings.rounds,
        machine::cores()
    );
    println!("{}{}", results.table(&chosen, &settings.kinds), results.quietness());
    println!("{}", verdict(&results));
    if let Some(missing) = not_built() {
        println!("{missing}");
    }
    Ok(())
}

fn measure_limit(settings: &Settings, kind: Kind, round: u32) -> Result<LimitRun> {
    let job = settings.job(kind);
    let corpus = Corpus::generate(kind, job.seed, job.block);
    // What nodes of this machine seal with.
    let suite = estafette_actors::standard().stages().suites()[0];
    let (chunk, bytes) = (job.piece.min(job.block), job.bytes.min(LIMIT_BYTES));
    let limit = limit::measure(&corpus, chunk, bytes, suite)?;
    let run = LimitRun { kind, round, chunk: job.piece, limit };
    println!("{}", serde_json::to_string(&run)?);
    Ok(run)
}

/// Each round begins with another contender, so that none always runs after the same one.
async fn take_turns(
    settings: &Settings,
    contenders: &[Contender],
    kind: Kind,
    round: u32,
    results: &mut Results,
) -> Result<()> {
    let job = settings.job(kind);
    let first = round as usize % contenders.len();
    for contender in contenders[first..].iter().chain(&contenders[..first]) {
        let before = machine::wait_for_quiet(settings.patience()).await?;
        let usages = run(contender, &job, settings.deadline()).await?;
        let others_busy = before.max(machine::busy_share(machine::SAMPLE).await?);
        let run = Run::new(contender, round, &job, usages, others_busy);
        println!("{}", serde_json::to_string(&run)?);
        results.runs.push(run);
    }
    Ok(())
}

const LIMIT_BYTES: u64 = 256 << 20;
