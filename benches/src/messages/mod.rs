//! Small messages from one process to another: without an answer, and questions with answers.
//!
//! A server process takes them, a client process sends them and clocks; both are this very program.
//! A message has 64 bytes. What is told counts as done when the server, asked behind it, says that
//! it has all.

mod ours;
mod raw;
#[cfg(feature = "peer-zmq")]
mod zmq;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

pub use ours::Ping;

/// One way to bring messages from one process to another.
#[derive(Clone, Copy, Debug)]
pub struct Messenger {
    /// Its name, unique.
    pub name: &'static str,
    /// Its description.
    pub about: &'static str,
    /// The server: announces where it is, serves until its standard input ends.
    pub serve: fn() -> Result<()>,
    /// The client: given what the server announced and what to do.
    pub drive: fn(&str, Task) -> Result<Measured>,
    /// Set if it can be clocked beside a bulk transfer on the same link.
    pub takes_bulk: bool,
}

/// The task of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// So many messages without an answer, one after the other.
    Tell(u64),
    /// So many questions, with so many waiting for their answer at a time.
    Ask(u64, usize),
    /// So many questions, one at a time, while a bulk transfer runs on the same link.
    AskBesideBulk(u64),
}

/// The figures that a client measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Messages, or questions.
    pub count: u64,
    /// From the first to the last word.
    pub seconds: f64,
    /// Microseconds from question to answer: the half, and 99 of 100, were quicker.
    pub p50: Option<f64>,
    /// As `p50`.
    pub p99: Option<f64>,
}

impl Measured {
    /// Messages a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }
}

/// Clocks a task.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    latencies: Vec<Duration>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), latencies: Vec::new() }
    }

    pub(crate) fn answered(&mut self, since: Instant) {
        self.latencies.push(since.elapsed());
    }

    pub(crate) fn stop(mut self, count: u64) -> Measured {
        let seconds = self.start.elapsed().as_secs_f64();
        self.latencies.sort_unstable();
        let at = |share: f64| {
            let place = (self.latencies.len() as f64 * share) as usize;
            self.latencies.get(place).map(|latency| latency.as_secs_f64() * 1e6)
        };
        Measured { count, seconds, p50: at(0.5), p99: at(0.99) }
    }
}

/// All that are built, in the order in which each round runs them.
#[must_use]
pub fn messengers() -> Vec<Messenger> {
    [
        ours::ACTOR,
        ours::DIRECT,
        ours::APART,
        raw::RAW,
        #[cfg(feature = "peer-zmq")]
        zmq::CURVE,
    ]
    .into()
}

/// Plays the role this process was started for, if it was.
pub fn play_role() -> Option<Result<()>> {
    let role = std::env::var(ROLE).ok()?;
    Some(play(&role))
}

fn play(role: &str) -> Result<()> {
    let (name, task) = role.split_once(' ').context("a name and a task")?;
    let messenger = messengers()
        .into_iter()
        .find(|messenger| messenger.name == name)
        .context("an unknown messenger")?;
    if task == SERVE {
        return (messenger.serve)();
    }
    let (task, whereabouts): (Task, String) = serde_json::from_str(task)?;
    let measured = (messenger.drive)(&whereabouts, task)?;
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// Says where this server is, and waits for the end of its standard input.
pub(crate) fn announce(whereabouts: &str) -> Result<()> {
    println!("{whereabouts}");
    std::io::stdout().flush()?;
    Ok(())
}

pub(crate) fn wait_for_the_end() {
    // Whatever it is: it is the end.
    let _ = std::io::stdin().lock().read_line(&mut String::new());
}

/// Runs a task with a server and a client of its own.
///
/// # Errors
/// When either fails.
pub fn run(messenger: &Messenger, task: Task) -> Result<Measured> {
    let mut server = Server::start(messenger)?;
    let role =
        format!("{} {}", messenger.name, serde_json::to_string(&(task, &server.whereabouts))?);
    let output = Command::new(std::env::current_exe()?)
        .env(ROLE, role)
        .stderr(Stdio::inherit())
        .output()
        .context("starting the client")?;
    ensure!(
        output.status.success(),
        "the client of {} ended with {}",
        messenger.name,
        output.status
    );
    drop(server.process.stdin.take());
    let status = server.process.wait()?;
    ensure!(status.success(), "the server of {} ended with {status}", messenger.name);
    serde_json::from_slice(&output.stdout).context("reading what the client measured")
}

struct Server {
    process: Child,
    whereabouts: String,
}

impl Server {
    fn start(messenger: &Messenger) -> Result<Self> {
        let role = format!("{} {SERVE}", messenger.name);
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the server")?;
        let mut whereabouts = String::new();
        let stdout = process.stdout.take().context("the server has an output")?;
        BufReader::new(stdout).read_line(&mut whereabouts)?;
        ensure!(!whereabouts.is_empty(), "the server of {} did not start", messenger.name);
        whereabouts.truncate(whereabouts.trim_end().len());
        Ok(Self { process, whereabouts })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended, unless something failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const ROLE: &str = "ESTAFETTE_BENCH_MESSAGES_ROLE";
const SERVE: &str = "serve";
