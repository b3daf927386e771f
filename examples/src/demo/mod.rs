//! `estafette demo`: two nodes in two processes on loopback, a real input, and a look at where the time went.

mod compare;
mod corpus;
mod explain;
mod table;

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::error::{CommandError, ErrorKind};
use crate::output::Output;
use crate::units;

/// What the two processes say: the events of `--json` that the demo looks at.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Said {
    Ticket {
        ticket: String,
    },
    Progress {
        bytes: u64,
        total: Option<u64>,
    },
    Delivered {
        files: u64,
        bytes: u64,
        seconds: f64,
        blake3: String,
    },
    Report {
        stages: Vec<Stage>,
    },
    Error {
        kind: String,
        message: String,
        hint: String,
    },
    #[serde(other)]
    Other,
}

/// The counters of one stage.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Stage {
    pub(crate) stage: String,
    pub(crate) chunks: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) busy_seconds: f64,
    pub(crate) mailbox_high_water: u64,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) blake3: String,
    pub(crate) sender: Vec<Stage>,
    pub(crate) receiver: Vec<Stage>,
    /// Threads that run the stages, in each process.
    pub(crate) workers: usize,
}

pub(crate) async fn run(path: Option<&Path>, output: &Output) -> Result<ExitCode, CommandError> {
    let failed =
        |what: &str, error: std::io::Error| CommandError::io(format!("{what}: {error}"), "free some space in the temporary folder");
    let folder = tempfile::Builder::new().prefix("estafette-demo-").tempdir().map_err(|error| failed("no temporary folder", error))?;
    let inbox = folder.path().join("in");
    std::fs::create_dir(&inbox).map_err(|error| failed("no folder to receive into", error))?;
    let input = match path {
        Some(path) => path.to_owned(),
        None => corpus::gather(folder.path()).map_err(|error| failed("the demo's input could not be gathered", error))?,
    };
    let shown = path.map_or_else(|| "this project's sources and its own executable".to_owned(), |path| path.display().to_string());
    output.remark(&format!("Sending {} from one process to another, over loopback.", units::printable(&shown)));
    let measured = deliver(folder.path(), &inbox, &input, output).await?;
    let name = input.file_name().ok_or_else(|| CommandError::usage(format!("{shown} has no name"), "name a file or a folder"))?;
    let compared = compare::trees(&input, &inbox.join(name));
    let compared =
        compared.map_err(|why| CommandError::new(ErrorKind::Integrity, why, "this is a fault in estafette: please report it"))?;
    output.result(&table::stages(&measured));
    output.result(&explain::text(&measured));
    output.result(&format!(
        "Compared: {} and {} arrived byte for byte, with modes, times and links.\nblake3  {}",
        units::count(compared.files, "file"),
        if compared.others == 1 { "1 folder or link".to_owned() } else { format!("{} folders and links", compared.others) },
        measured.blake3
    ));
    Ok(ExitCode::SUCCESS)
}

/// Runs the two processes until both have ended well.
async fn deliver(folder: &Path, inbox: &Path, input: &Path, output: &Output) -> Result<Measured, CommandError> {
    let receive = ["receive", "--once", "--listen", "127.0.0.1:0", "--name", "paris", "--into"];
    let mut receiver = Process::start(folder, "paris", &receive, &[inbox.to_owned()])?;
    let ticket = loop {
        match receiver.next().await? {
            Some(Said::Ticket { ticket }) => break ticket,
            Some(_) => {}
            None => return Err(receiver.ended_early()),
        }
    };
    let mut sender = Process::start(folder, "lyon", &["send", "--name", "lyon", "--"], &[input.to_owned(), ticket.into()])?;
    let bar = output.bars.add(ProgressBar::new(1).with_style(style()).with_message("lyon → paris"));
    let (mut delivered, mut sent) = (None, Vec::new());
    while let Some(said) = sender.next().await? {
        match said {
            Said::Progress { bytes, total } => {
                bar.set_length(total.unwrap_or(bytes));
                bar.set_position(bytes);
            }
            Said::Delivered { files, bytes, seconds, blake3 } => delivered = Some((files, bytes, seconds, blake3)),
            Said::Report { stages } => sent = stages,
            _ => {}
        }
    }
    bar.finish_and_clear();
    let mut received = Vec::new();
    while let Some(said) = receiver.next().await? {
        if let Said::Report { stages } = said {
            received = stages;
        }
    }
    let (files, bytes, seconds, blake3) = delivered.ok_or_else(|| sender.ended_early())?;
    let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8));
    Ok(Measured { files, bytes, seconds, blake3, sender: sent, receiver: received, workers })
}

fn style() -> ProgressStyle {
    let template = "{msg:14} {bar:30} {binary_bytes:>10} of {binary_total_bytes:10} {decimal_bytes_per_sec:>11}";
    ProgressStyle::with_template(template).expect("the template is a constant").progress_chars("━╸─")
}

/// One of the two processes.
struct Process {
    name: &'static str,
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(folder: &Path, name: &'static str, arguments: &[&str], paths: &[PathBuf]) -> Result<Self, CommandError> {
        let failed = |error| CommandError::io(format!("the process of {name} could not be started: {error}"), "free some memory");
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["--json", "--report", "--key"]).arg(folder.join(name).with_extension("key"));
        command.args(arguments).args(paths).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let stdout = child.stdout.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { name, _child: child, lines: BufReader::new(stdout).lines() })
    }

    /// What it says next; an error it reports is the demo's.
    async fn next(&mut self) -> Result<Option<Said>, CommandError> {
        let line = self.lines.next_line().await.map_err(|error| CommandError::io(format!("{} can't be heard: {error}", self.name), ""))?;
        let Some(line) = line else { return Ok(None) };
        match serde_json::from_str(&line) {
            Ok(Said::Error { kind, message, hint }) => {
                Err(CommandError::new(ErrorKind::named(&kind), format!("{}: {message}", self.name), hint))
            }
            Ok(said) => Ok(Some(said)),
            Err(error) => Err(CommandError::io(format!("{} said {line:?}: {error}", self.name), "")),
        }
    }

    fn ended_early(&self) -> CommandError {
        CommandError::io(format!("the process of {} ended without a word", self.name), "run it by hand: estafette receive, estafette send")
    }
}
