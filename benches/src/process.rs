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
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::contender::Contender;
use crate::side::{Job, Side, Usage};

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
