//! Doors beside what they stand for: unary calls and streams of gRPC beside plain tonic, asks by
//! HTTP beside plain axum, uploads by tus beside the disk, streams of events that say nothing, and
//! an application's own asks while its door is flooded; each server, proxy, door and client is a
//! process of its own:
//! `cargo bench -p estafette-benches --features doors --bench doors`.
//! `-- --only unary,streams,http,tus,idle,flood` runs some of them.

mod bytes;
mod flood;
mod grpc;
mod http;
mod idle;
mod node;
mod role;
mod tonics;
mod tus;

use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, ensure};
use estafette_benches::report::{Table, number};
use estafette_benches::{Settings, machine};
use tokio::runtime::Runtime;

use self::role::Role;

/// The bytes that a call brings, and takes.
const BYTES: usize = 64;
const PARTS: [&str; 6] = ["unary", "streams", "http", "tus", "idle", "flood"];

fn main() -> ExitCode {
    match play().unwrap_or_else(bench) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Plays the role that this process was started for.
fn play() -> Option<Result<()>> {
    let role = std::env::var(role::ROLE).ok()?;
    let of = std::env::var(role::OF).unwrap_or_default();
    Some(match &*role {
        "tonic" => tonics::server(None),
        "proxy" => tonics::server(Some(&of)),
        "axum" => http::server(),
        "actor" => node::actor(),
        "door" => node::door(&of),
        "idle" => idle::door(),
        other => Err(anyhow!("no role {other:?}")),
    })
}

fn bench() -> Result<()> {
    let settings = Settings::read();
    for part in &settings.only {
        ensure!(PARTS.contains(&part.as_str()), "no part {part}; there are {}", PARTS.join(", "));
    }
    let asked = |part: &str| settings.only.is_empty() || settings.only.iter().any(|at| at == part);
    let (runtime, mut world) = (Runtime::new()?, World::start()?);
    let bench = Bench { settings: &settings, runtime: &runtime };
    println!("\nmedians of {} rounds, {} cores", settings.rounds, machine::cores());
    if asked("unary") {
        grpc::unary(&bench, &world)?;
    }
    if asked("streams") {
        grpc::streams(&bench, &world)?;
    }
    if asked("http") {
        http::asks(&bench, &world)?;
    }
    if asked("flood") {
        flood::flood(&bench, &mut world)?;
    }
    drop(world);
    if asked("tus") {
        tus::uploads(&bench)?;
    }
    if asked("idle") {
        idle::streams(&bench)?;
    }
    Ok(())
}

/// The means of measuring.
struct Bench<'a> {
    settings: &'a Settings,
    runtime: &'a Runtime,
}

/// All servers, which serve all parts.
struct World {
    tonic: Role,
    proxy: Role,
    axum: Role,
    door: Role,
    _actor: Role,
}

impl World {
    fn start() -> Result<Self> {
        let tonic = Role::start("tonic", "")?;
        let proxy = Role::start("proxy", tonic.said())?;
        let axum = Role::start("axum", "")?;
        let actor = Role::start("actor", "")?;
        let door = Role::start("door", actor.said())?;
        Ok(Self { tonic, proxy, axum, door, _actor: actor })
    }

    /// The address of the door, and the token for it.
    fn door(&self) -> Result<(&str, &str)> {
        self.door.said().split_once(' ').context("an address and a token")
    }
}

/// The measured values of one who was measured, by round.
type Rounds<const N: usize> = Vec<[f64; N]>;

impl Bench<'_> {
    /// Measures each of `ways` in each round, another one first each time.
    fn measure<W: Copy, const N: usize>(
        &self,
        bench: &str,
        names: [&str; N],
        ways: &[(&str, W)],
        run: impl AsyncFn(W) -> Result<[f64; N]>,
    ) -> Result<Vec<[f64; N]>> {
        let mut measured = vec![Rounds::<N>::new(); ways.len()];
        for round in 0..self.settings.rounds as usize {
            for at in (0..ways.len()).map(|at| (at + round) % ways.len()) {
                let (name, way) = ways[at];
                let quiet = machine::wait_for_quiet(self.settings.patience());
                let busy = self.runtime.block_on(quiet)?;
                let values = self.runtime.block_on(run(way))?;
                let mut line = serde_json::json!({ "bench": bench, "by": name, "round": round,
                    "others_busy": busy });
                for (name, value) in names.iter().zip(values) {
                    line[*name] = value.into();
                }
                println!("{line}");
                measured[at].push(values);
            }
        }
        Ok(measured.iter().map(medians).collect())
    }
}

fn medians<const N: usize>(rounds: &Rounds<N>) -> [f64; N] {
    std::array::from_fn(|value| {
        let mut values: Vec<f64> = rounds.iter().map(|values| values[value]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    })
}

/// Prints a table with a row for each, and what is asked.
fn print(about: &str, header: &[&str], rows: Vec<(&str, Vec<(f64, usize)>)>, asked: &str) {
    let mut table = Table::new(header);
    for (name, values) in rows {
        let figures = values.into_iter().map(|(value, digits)| number(Some(value), digits));
        table.row(std::iter::once(name.to_owned()).chain(figures).collect());
    }
    println!("\n{about}\n{table}asked of the door: {asked}");
}

/// The value at a hundredth part of them, in µs.
fn percentile(latencies: &mut [std::time::Duration], part: usize) -> f64 {
    latencies.sort_unstable();
    latencies[latencies.len() * part / 100].as_secs_f64() * 1e6
}
