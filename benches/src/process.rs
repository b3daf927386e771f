//! A run in two processes: the bench starts itself twice, as receiver and as sender, and each
//! reports what it used. Invariant: the clock runs from after the handshake until the sender has
//! been told that the receiver verified everything; nothing measured runs in the process that
//! prints the table.
//!
//! ```text
//! bench ── starts ──▶ receiver: listens, prints where ──▶ bench ── starts, with where ──▶ sender
//!                     receiver ◀══════ handshake, stream, "verified" ══════▶ sender
//!       ◀── usage ─── receiver                                               sender ── usage ──▶ bench
//! ```

use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::check::{Check, Checker};
use crate::contender::Contender;
use crate::corpus::{Corpus, Kind};
use crate::machine;

/// What is to be sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The kind of content.
    pub kind: Kind,
    /// The seed of the content.
    pub seed: u64,
    /// The length of the stream, in bytes.
    pub bytes: u64,
    /// The length of the block that is repeated to make the stream, in bytes.
    pub block: usize,
    /// The length of a write or a message, in bytes.
    pub piece: usize,
}

/// What a process used while its clock ran.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// Wall-clock seconds; the sender's is the run's.
    pub seconds: f64,
    /// User and system CPU seconds.
    pub cpu_seconds: f64,
    /// Peak resident memory in bytes since the process began, the block included.
    pub peak_bytes: u64,
}

/// One end of a run, ready to go: the content is in memory, the clock not yet started.
#[derive(Debug)]
pub struct Side {
    /// What is to be sent.
    pub job: Job,
    /// The content.
    pub corpus: Corpus,
    /// How it is verified.
    pub check: Check,
}

impl Side {
    fn new(job: Job, check: Check) -> Self {
        let corpus = Corpus::generate(job.kind, job.seed, job.block);
        Self { job, corpus, check }
    }

    /// The stream to send, in pieces.
    pub fn pieces(&self) -> impl Iterator<Item = bytes::Bytes> + Send + use<> {
        self.corpus.pieces(self.job.bytes, self.job.piece)
    }

    /// A checker for the stream to receive.
    #[must_use]
    pub fn checker(&self) -> Checker {
        Checker::new(self.check, self.corpus.clone(), self.job.bytes)
    }

    /// On the receiver: says where it listens, in one line whose form is the contender's own; its
    /// sender gets that line.
    pub fn announce(&self, whereabouts: &str) {
        println!("{whereabouts}");
    }

    /// Starts the clock: the handshake is done.
    #[must_use]
    pub fn start(&self) -> Clock {
        Clock { started: Instant::now(), cpu: machine::process_cpu_seconds() }
    }
}

/// The running clock of one end.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    cpu: f64,
}

impl Clock {
    /// Stops the clock: the receiver has verified, or the sender has been told so.
    ///
    /// # Errors
    /// When the peak of memory cannot be read.
    pub fn stop(self) -> Result<Usage> {
        let seconds = self.started.elapsed().as_secs_f64();
        let cpu_seconds = machine::process_cpu_seconds() - self.cpu;
        Ok(Usage { seconds, cpu_seconds, peak_bytes: machine::peak_resident_bytes()? })
    }
}

/// Runs `job` by `contender` once, in two new processes; returns the sender's usage and the
/// receiver's.
///
/// # Errors
/// When a process cannot be started, fails (verification included), or the run takes longer than
/// `patience`.
pub async fn run(contender: &Contender, job: &Job, patience: Duration) -> Result<(Usage, Usage)> {
    tokio::time::timeout(patience, run_pair(contender, job))
        .await
        .with_context(|| format!("{} did not end within {patience:?}", contender.name))?
        .with_context(|| format!("running {} over {}", contender.name, job.kind))
}

async fn run_pair(contender: &Contender, job: &Job) -> Result<(Usage, Usage)> {
    let mut receiver = Process::start(RECEIVE, contender, job, None)?;
    let whereabouts = receiver.line().await?;
    let mut sender = Process::start(SEND, contender, job, Some(&whereabouts))?;
    let sent = sender.usage().await?;
    let received = receiver.usage().await?;
    Ok((sent, received))
}

struct Process {
    role: &'static str,
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(
        role: &'static str,
        contender: &Contender,
        job: &Job,
        whereabouts: Option<&str>,
    ) -> Result<Self> {
        let mut command =
            Command::new(std::env::current_exe().context("finding the bench's own file")?);
        command
            .arg(ROLE)
            .arg(role)
            .arg(contender.name)
            .arg(serde_json::to_string(job)?)
            .args(whereabouts);
        let mut child = command
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting the {role} process"))?;
        let output = child.stdout.take().context("the process has no output to read")?;
        Ok(Self { role, child, output: BufReader::new(output).lines() })
    }

    async fn line(&mut self) -> Result<String> {
        let line = self.output.next_line().await?;
        line.with_context(|| format!("the {} process ended early; its error is above", self.role))
    }

    async fn usage(&mut self) -> Result<Usage> {
        let line = self.line().await?;
        let usage = serde_json::from_str(&line)
            .with_context(|| format!("the {} process said {line:?}", self.role))?;
        let status = self.child.wait().await?;
        ensure!(status.success(), "the {} process ended with {status}", self.role);
        Ok(usage)
    }
}

/// If this process was started by [`run`], plays its part and says with which code to exit. First
/// thing in `main`.
#[must_use]
pub fn play_role(contenders: &[Contender]) -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (first, rest) = arguments.split_first()?;
    if first != ROLE {
        return None;
    }
    Some(match play(contenders, rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error:#}", rest.join(" "));
            ExitCode::FAILURE
        }
    })
}

fn play(contenders: &[Contender], arguments: &[String]) -> Result<()> {
    let [role, name, job, whereabouts @ ..] = arguments else {
        bail!("a role needs its name, a contender and a job")
    };
    let contender = contenders
        .iter()
        .find(|contender| contender.name == name)
        .with_context(|| format!("no contender {name} is built"))?;
    let side = Side::new(serde_json::from_str(job).context("reading the job")?, contender.check);
    let usage = match (role.as_str(), whereabouts) {
        (RECEIVE, []) => (contender.receive)(side),
        (SEND, [whereabouts]) => (contender.send)(side, whereabouts),
        _ => bail!("no such role"),
    }?;
    println!("{}", serde_json::to_string(&usage)?);
    Ok(())
}

const ROLE: &str = "__role";
const RECEIVE: &str = "receive";
const SEND: &str = "send";
