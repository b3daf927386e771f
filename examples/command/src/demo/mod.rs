//! `estafette demo`: two nodes in two processes on loopback, a real input, and a look at where the
//! time went.

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

use self::compare::Compared;
use self::explain::Explained;
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::output::Output;
use crate::{settings, units};

/// The words of the two processes: the events of `--json` that the demo looks at.
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
        /// The delivery that the error is about a part of: it goes on, if this is there.
        transfer: Option<String>,
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

/// The figures that were measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) blake3: String,
    pub(crate) sender: Vec<Stage>,
    pub(crate) receiver: Vec<Stage>,
    /// Entries that could not be sent, with the reason.
    pub(crate) left_out: Vec<String>,
    /// Threads that run the stages, in each process.
    pub(crate) workers: usize,
}

pub(crate) async fn run(path: Option<&Path>, output: &Output) -> Result<ExitCode, CommandError> {
    let failed = |what: &str, error: std::io::Error| {
        CommandError::io(format!("{what}: {error}"), "free some space in the temporary folder")
    };
    let folder = tempfile::Builder::new()
        .prefix("estafette-demo-")
        .tempdir()
        .map_err(|error| failed("no temporary folder", error))?;
    let inbox = folder.path().join("in");
    std::fs::create_dir(&inbox).map_err(|error| failed("no folder to receive into", error))?;
    let (input, shown) = match path {
        Some(path) => (named(path)?, settings::shown(path)),
        None => {
            output.remark(
                "Gathering an input: this program, its sources where they are at hand, and files \
                 of this system.",
            );
            let gathered = corpus::gather(folder.path())
                .map_err(|error| failed("the demo's input could not be gathered", error))?;
            (gathered, "it".to_owned())
        }
    };
    output.remark(&format!(
        "Sending {shown} from one process (lyon) to another (paris), over loopback.\n"
    ));
    let measured = deliver(folder.path(), &inbox, &input, output).await?;
    let arrived = input.file_name().map_or_else(|| inbox.clone(), |name| inbox.join(name));
    let compared = compare::trees(&input, &arrived, measured.left_out.len());
    let compared = compared.map_err(|why| {
        CommandError::new(
            ErrorKind::Integrity,
            why,
            "if nothing wrote to it meanwhile, please report this",
        )
    })?;
    report(&measured, &compared, output);
    Ok(if measured.left_out.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(ErrorKind::Io.exit_code())
    })
}

/// The input with a name of its own, which `.` and links lack.
fn named(path: &Path) -> Result<PathBuf, CommandError> {
    let found = path.canonicalize();
    let found = found.map_err(|error| {
        CommandError::io(format!("{}: {error}", settings::shown(path)), "name a file or a folder")
    })?;
    match found.file_name() {
        Some(_) => Ok(found),
        None => Err(CommandError::usage(
            format!("{} has no name of its own", settings::shown(path)),
            "name a file or a folder in it",
        )),
    }
}

fn report(measured: &Measured, compared: &Compared, output: &Output) {
    let explained = Explained::of(measured);
    output.result(&table::stages(measured));
    output.result(&explained.text(measured));
    for left_out in &measured.left_out {
        output.result(left_out);
    }
    let others = if compared.others == 1 {
        "1 folder or link".to_owned()
    } else {
        format!("{} folders and links", compared.others)
    };
    output.result(&format!(
        "Compared   {} and {others} arrived byte for byte,\n           with modes, times and \
         links\nBLAKE3     {}",
        units::count(compared.files, "file"),
        measured.blake3
    ));
    output.event(&Event::Demo {
        bytes: measured.bytes,
        seconds: measured.seconds,
        blake3: &measured.blake3,
        files_compared: compared.files,
        others_compared: compared.others,
        left_out: measured.left_out.len() as u64,
        predicted_seconds: explained.predicted,
        bound_by: explained.bound_by(),
    });
}

/// Runs the two processes until both have ended well.
async fn deliver(
    folder: &Path,
    inbox: &Path,
    input: &Path,
    output: &Output,
) -> Result<Measured, CommandError> {
    let receive = ["receive", "--once", "--listen", "127.0.0.1:0", "--name", "paris", "--into"];
    let mut receiver = Process::start(folder, "paris", &receive, &[inbox.to_owned()])?;
    let ticket = loop {
        match receiver.next().await? {
            Some(Said::Ticket { ticket }) => break ticket,
            Some(_) => {}
            None => return Err(receiver.ended_early()),
        }
    };
    let mut sender = Process::start(
        folder,
        "lyon",
        &["send", "--name", "lyon", "--"],
        &[input.to_owned(), ticket.into()],
    )?;
    let bar = output.bars.add(ProgressBar::new(1).with_style(style()).with_message("lyon → paris"));
    let (mut delivered, mut sent, mut left_out) = (None, Vec::new(), Vec::new());
    while let Some(said) = sender.next().await? {
        match said {
            Said::Progress { bytes, total } => {
                bar.set_length(total.unwrap_or(bytes));
                bar.set_position(bytes);
            }
            Said::Delivered { files, bytes, seconds, blake3 } => {
                delivered = Some((files, bytes, seconds, blake3))
            }
            Said::Report { stages } => sent = stages,
            Said::Error { message, .. } => left_out.push(message),
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
    Ok(Measured {
        files,
        bytes,
        seconds,
        blake3,
        sender: sent,
        receiver: received,
        left_out,
        workers,
    })
}

fn style() -> ProgressStyle {
    let template = "{msg:14} {bar:30} {binary_bytes:>10} of {binary_total_bytes:10} \
                    {decimal_bytes_per_sec:>11}";
    ProgressStyle::with_template(template)
        .expect("the template is a constant")
        .progress_chars("━╸─")
}

/// One of the two processes.
struct Process {
    name: &'static str,
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(
        folder: &Path,
        name: &'static str,
        arguments: &[&str],
        paths: &[PathBuf],
    ) -> Result<Self, CommandError> {
        let failed = |error| {
            CommandError::io(
                format!("the process of {name} could not be started: {error}"),
                "free some memory",
            )
        };
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        // It is nobody's node.
        command.env_remove("ESTAFETTE_CONFIG");
        command.args(["--json", "--report", "--key"]).arg(folder.join(name).with_extension("key"));
        command
            .args(arguments)
            .args(paths)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let stdout =
            child.stdout.take().ok_or_else(|| failed(std::io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { name, _child: child, lines: BufReader::new(stdout).lines() })
    }

    /// Returns what it says next; an error it reports is the demo's.
    async fn next(&mut self) -> Result<Option<Said>, CommandError> {
        let line = self.lines.next_line().await.map_err(|error| {
            CommandError::io(format!("{} can't be heard: {error}", self.name), "")
        })?;
        let Some(line) = line else { return Ok(None) };
        match serde_json::from_str(&line) {
            Ok(Said::Error { kind, message, hint, transfer: None }) => Err(CommandError::new(
                ErrorKind::named(&kind),
                format!("{}: {message}", self.name),
                hint,
            )),
            Ok(said) => Ok(Some(said)),
            Err(error) => {
                Err(CommandError::io(format!("{} said {line:?}: {error}", self.name), ""))
            }
        }
    }

    fn ended_early(&self) -> CommandError {
        CommandError::io(
            format!("the process of {} ended without a word", self.name),
            "run it by hand: estafette receive, estafette send",
        )
    }
}
