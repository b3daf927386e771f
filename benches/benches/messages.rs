//! Small messages between two processes, by every messenger in turn: `cargo bench -p
//! estafette-benches --bench messages`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use estafette_benches::messages::{Measured, Messenger, Task, messengers, play_role, run};
use estafette_benches::report::{Table, number};
use estafette_benches::{Settings, machine};

fn main() -> ExitCode {
    match play_role().unwrap_or_else(bench) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The tasks of each round for every messenger. So many are told that it takes about a second:
/// until the scheduler has moved two processes that woke each other to a core each, some 15 ms go
/// by.
const TASKS: [Task; 4] = [
    Task::Tell(20_000_000),
    Task::Ask(300_000, 256),
    Task::Ask(20_000, 1),
    Task::AskBesideBulk(20_000),
];

/// Measured values by messenger and task.
type Runs = BTreeMap<(&'static str, usize), Vec<Measured>>;

fn bench() -> Result<()> {
    let settings = Settings::read();
    let all = messengers();
    let mut runs = Runs::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for round in 0..settings.rounds {
        for (place, &task) in TASKS.iter().enumerate() {
            let first = round as usize % all.len();
            for messenger in all[first..].iter().chain(&all[..first]) {
                let asked = settings.only.is_empty()
                    || settings.only.iter().any(|name| name == messenger.name);
                if !asked || !messenger.takes_bulk && matches!(task, Task::AskBesideBulk(_)) {
                    continue;
                }
                let busy = runtime.block_on(machine::wait_for_quiet(settings.patience()))?;
                let measured = run(messenger, task)?;
                let line = serde_json::json!({ "bench": "messages", "by": messenger.name, "task": task, "round": round, "measured": measured, "others_busy": busy });
                println!("{line}");
                runs.entry((messenger.name, place)).or_default().push(measured);
            }
        }
    }
    println!(
        "\nmessages of 64 bytes between two processes over loopback, medians of {} rounds, {} \
         cores",
        settings.rounds,
        machine::cores()
    );
    println!("{}", table(&all, &runs));
    println!("{}", goals(&runs));
    Ok(())
}

fn median(
    runs: &Runs,
    by: &'static str,
    task: usize,
    value: impl Fn(&Measured) -> Option<f64>,
) -> Option<f64> {
    let mut values: Vec<f64> = runs.get(&(by, task))?.iter().filter_map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn table(all: &[Messenger], runs: &Runs) -> Table {
    let mut table = Table::new(&[
        "messenger",
        "tell/s",
        "÷ raw",
        "ask ×256/s",
        "÷ raw",
        "ask p50 µs",
        "× raw",
        "p99 µs",
        "p99 beside bulk",
        "",
    ]);
    for messenger in all {
        let of = |task, value: fn(&Measured) -> Option<f64>| {
            (median(runs, messenger.name, task, value), median(runs, "raw", task, value))
        };
        let ratio = |(ours, raw): (Option<f64>, Option<f64>)| {
            number(ours.zip(raw).map(|(ours, raw)| ours / raw), 2)
        };
        let (tell, ask, p50) = (of(0, rate), of(1, rate), of(2, |run| run.p50));
        table.row(vec![
            messenger.name.into(),
            number(tell.0, 0),
            ratio(tell),
            number(ask.0, 0),
            ratio(ask),
            number(p50.0, 1),
            ratio(p50),
            number(of(2, |run| run.p99).0, 1),
            number(of(3, |run| run.p99).0, 1),
            messenger.about.into(),
        ]);
    }
    table
}

#[allow(clippy::unnecessary_wraps, reason = "it stands beside others that may be nothing")]
fn rate(run: &Measured) -> Option<f64> {
    Some(run.rate())
}

fn goals(runs: &Runs) -> Table {
    let mut table = Table::new(&["goal", "messenger", "asked", "measured", ""]);
    let mut goal = |name: &str,
                    by: &'static str,
                    asked: f64,
                    at_least: bool,
                    of: &str,
                    measured: Option<f64>| {
        let met = measured.map_or("not measured", |value| {
            if (value >= asked) == at_least { "met" } else { "MISSED" }
        });
        let sign = if at_least { "≥" } else { "≤" };
        table.row(vec![
            name.into(),
            by.into(),
            format!("{sign} {asked} × {of}"),
            number(measured, 2),
            met.into(),
        ]);
    };
    let ratio = |by, against, task, value: fn(&Measured) -> Option<f64>| {
        Some(median(runs, by, task, value)? / median(runs, against, task, value)?)
    };
    goal("tell", "estafette", 3.0, true, "zmq-curve", ratio("estafette", "zmq-curve", 0, rate));
    goal("tell", "estafette", 0.45, true, "raw", ratio("estafette", "raw", 0, rate));
    goal(
        "ask, 256 in flight",
        "estafette",
        1.5,
        true,
        "zmq-curve",
        ratio("estafette", "zmq-curve", 1, rate),
    );
    goal("ask, 256 in flight", "estafette", 0.45, true, "raw", ratio("estafette", "raw", 1, rate));
    goal(
        "ask, 256 in flight",
        "estafette-direct",
        0.8,
        true,
        "raw",
        ratio("estafette-direct", "raw", 1, rate),
    );
    goal(
        "ask p50, 1 in flight",
        "estafette",
        1.2,
        false,
        "raw",
        ratio("estafette", "raw", 2, |run| run.p50),
    );
    goal(
        "ask p50, 1 in flight",
        "estafette",
        1.0,
        false,
        "zmq-curve",
        ratio("estafette", "zmq-curve", 2, |run| run.p50),
    );
    let beside =
        |by| Some(median(runs, by, 3, |run| run.p99)? / median(runs, by, 2, |run| run.p99)?);
    goal("ask p99 beside bulk", "estafette", 3.0, false, "its own, idle", beside("estafette"));
    table
}
