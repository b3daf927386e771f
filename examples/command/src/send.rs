//! `estafette send`: one delivery, and how it went.

use std::path::PathBuf;
use std::process::ExitCode;

use estafette::SendOptions;
use estafette::node::Direction;
use estafette::pipeline::SourceReport;
use serde::{Deserialize, Serialize};

use crate::arguments::{Global, Send};
use crate::attached::Attached;
use crate::content::Reading;
use crate::control::ByRunning;
use crate::destination::Given;
use crate::detach::deposit;
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::monitor::{About, Ended, Monitor};
use crate::output::Output;
use crate::signals::Signals;
use crate::turn::Place;
use crate::{attached, content, control, destination, settings, units};

pub(crate) async fn run(
    global: &Global,
    options: &Send,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let given = destination(options)?;
    let mut signals = Signals::new()?;
    if options.reading.skip_existing {
        output.remark("reading what is sent, to ask whether it is there already");
    }
    loop {
        // A second node with this key would take the place of its links, and it of ours.
        let by_running = tokio::select! {
            by_running = control::send_by_running(global, deposit(options, &given)?) => by_running?,
            () = signals.next() => return Err(stopped()),
        };
        let pid = match by_running {
            ByRunning::Sending(sending) => {
                match attached::run(global, sending, &mut signals, output).await? {
                    Attached::Ended(code) => return Ok(code),
                    Attached::Stopping(pid) => pid,
                }
            }
            ByRunning::Stopping(pid) => pid,
            ByRunning::Nobody => {
                match alone_if_nobody_else(global, options, &given, &mut signals, output).await? {
                    Some(code) => return Ok(code),
                    None => continue,
                }
            }
        };
        output.remark(&format!(
            "the node that runs with this key (process {pid}) is about to end: waiting for that"
        ));
        tokio::select! {
            () = control::ended(global) => {}
            () = signals.next() => return Err(stopped()),
        }
    }
}

/// By a node of its own; `None` after it has waited for another `send`: a node may run by then.
async fn alone_if_nobody_else(
    global: &Global,
    options: &Send,
    given: &Given,
    signals: &mut Signals,
    output: &Output,
) -> Result<Option<ExitCode>, CommandError> {
    let Some(place) = Place::new(global, given)? else {
        return alone(global, options, given.clone(), signals, output).await.map(Some);
    };
    let Some(_turn) = place.take()? else {
        output.event(&Event::Queued { peer: place.peer.to_string() });
        let hint = "`estafette node`, running with this key, sends several at once";
        output.remark(&format!(
            "another send to {} is under way with this key: waiting for its end; {hint}",
            place.peer.short()
        ));
        tokio::select! {
            waited = place.wait() => return waited.map(|()| None),
            () = signals.next() => return Err(stopped()),
        }
    };
    alone(global, options, given.clone(), signals, output).await.map(Some)
}

/// Where it goes; that all paths exist is seen to as well.
pub(crate) fn destination(options: &Send) -> Result<Given, CommandError> {
    let stream = content::stream(&options.paths)?;
    if stream == Some(0) && options.to == "-" {
        let hint = "give the ticket as @FILE, or send a file";
        return Err(CommandError::usage("stdin can't be both what is sent and the ticket", hint));
    }
    let given = destination::read(&destination::piped(&options.to)?)?;
    let given = destination::redirect(given, &options.addr)?;
    if stream.is_none() {
        check_paths(&options.paths)?;
    } else if options.reading.skip_existing {
        let hint = "leave --skip-existing out, or write it to a file, and send that";
        return Err(CommandError::usage(
            "a stream can't be read twice, and what is there already is known by reading it once \
             before",
            hint,
        ));
    }
    Ok(given)
}

/// What is sent, and how it is read.
pub(crate) fn given_content(options: &Send) -> Result<(Vec<PathBuf>, Reading), CommandError> {
    let Some(stream) = content::stream(&options.paths)? else {
        return Ok((
            options.paths.clone(),
            Reading { limit: options.limit, ..options.reading.clone() },
        ));
    };
    let name = options.name.clone().unwrap_or_else(|| "stream".into());
    Ok((
        vec![content::handed_over(stream)?],
        Reading { stream: Some(name), limit: options.limit, ..options.reading.clone() },
    ))
}

/// The options of a delivery that is not stored.
fn transient(global: &Global, options: &Send) -> Result<SendOptions, CommandError> {
    Ok(SendOptions {
        chunk_size: options.chunk_size,
        compression: settings::compression(&global.program.registry, options.compress.as_deref())?,
        expiry: options.expires,
        transient: true,
        stages: options.stages.clone(),
        ..SendOptions::default()
    })
}

/// By a node of its own.
async fn alone(
    global: &Global,
    options: &Send,
    given: Given,
    signals: &mut Signals,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let (paths, reading) = given_content(options)?;
    let source = tokio::select! {
        source = reading.prepare(reading.open(&paths)?) => source?,
        () = signals.next() => return Err(stopped()),
    };
    let name = options.name.clone().filter(|_| reading.stream.is_none());
    let name = name.unwrap_or_else(settings::default_name);
    let node = settings::node(global, options.patience)?.name(name).start().await?;
    let mut monitor = Monitor::new(&node, output);
    let to = destination::find(node.trust(), given, None)?.0;
    let transfer = node.send_with(to, source, transient(global, options)?).await?;
    let about =
        About { transfer: transfer.id(), peer: transfer.peer(), direction: Direction::Outgoing };
    let stop = || {
        let node = node.clone();
        tokio::spawn(async move { node.shutdown().await });
    };
    let (mut asked, mut over) = (0, None);
    let ended = loop {
        tokio::select! {
            biased;
            ended = monitor.next() => match (ended, &over) {
                (Some(ended), _) if ended.about.transfer == transfer.id() => break ended,
                (Some(_), _) => {}
                (None, Some(outcome)) => break Ended { about, outcome: Clone::clone(outcome) },
                (None, None) => break Ended { about, outcome: transfer.delivered().await },
            },
            // What happened before may not have been told yet: it is, before the node is down.
            outcome = transfer.delivered(), if over.is_none() => {
                over = Some(outcome);
                stop();
            }
            () = signals.next() => {
                asked += 1;
                match asked {
                    1 => {
                        output.remark(&finishing(global));
                        stop();
                    }
                    2 => transfer.cancel(),
                    _ => return Err(stopped().about(about.transfer, about.peer)),
                }
            }
        }
    };
    // Its news may not have come yet.
    monitor.remark(about, &transfer.status().remarks);
    let concluded = monitor.conclude(&ended);
    let left_out = LeftOut::from(transfer.status().report);
    left_out.tell(about, output);
    output.report(global, &node);
    node.shutdown().await;
    exit_code(&ended, concluded, &left_out, asked > 0)
}

/// What was left behind of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    /// A line for each kind.
    lines: Vec<String>,
    /// How many of the first of these tell of what could not be read.
    #[serde(default)]
    failures: usize,
    /// How many entries could not be read.
    pub(crate) failed: u64,
}

impl From<SourceReport> for LeftOut {
    fn from(report: SourceReport) -> Self {
        Self {
            lines: report.remarks,
            failures: report.failures,
            failed: report.skipped_total - report.skipped_by_choice.min(report.skipped_total),
        }
    }
}

impl LeftOut {
    pub(crate) fn tell(&self, about: About, output: &Output) {
        for (number, line) in self.lines.iter().enumerate() {
            if number < self.failures {
                let error = CommandError::io(
                    line,
                    "all else was delivered; what can't be read is sent again when it can, \
                     --exclude leaves it out without a word",
                );
                output.error(&error.about(about.transfer, about.peer));
            } else {
                output.event(&Event::Remark { transfer: about.transfer.short(), message: line });
                output.remark(&units::printable(line));
            }
        }
    }
}

/// How the command ends; `signalled` says whether it was asked to.
pub(crate) fn exit_code(
    ended: &Ended,
    concluded: Result<(), CommandError>,
    left_out: &LeftOut,
    signalled: bool,
) -> Result<ExitCode, CommandError> {
    match concluded {
        Err(_) if signalled && !matches!(&ended.outcome, Err(failure) if is_final(failure)) => {
            Err(stopped().about(ended.about.transfer, ended.about.peer))
        }
        Err(error) => Err(error),
        Ok(()) if left_out.failed > 0 => Ok(ExitCode::from(ErrorKind::Io.exit_code())),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

pub(crate) fn finishing(global: &Global) -> String {
    format!("finishing, for {} at most; once more to stop at once", units::span(global.drain))
}

pub(crate) fn stopped() -> CommandError {
    CommandError::cancelled("stopped by a signal before it was delivered")
}

/// Whether a transfer would have failed in this way without a signal, too.
fn is_final(failure: &estafette::delivery::Failure) -> bool {
    use estafette::delivery::FailureKind::*;
    !matches!(failure.kind, Shutdown | Cancelled | Unreachable)
}

/// All that do not exist, or can't be sent, are named, before anything is dialled.
fn check_paths(paths: &[PathBuf]) -> Result<(), CommandError> {
    let unfit = |path: &PathBuf| match std::fs::metadata(path) {
        Err(error) if path.is_symlink() => {
            Some(format!("it is a link that leads to nothing: {error}"))
        }
        Err(error) => Some(error.to_string()),
        Ok(there) if !(there.is_file() || there.is_dir()) => {
            Some("it is a pipe, a socket or a device, which has no content to deliver".into())
        }
        Ok(_) => None,
    };
    let missing: Vec<_> = paths
        .iter()
        .filter_map(|path| Some(format!("{}: {}", settings::shown(path), unfit(path)?)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(CommandError::io(
        format!("can't send {}", missing.join("; ")),
        "check the path; the destination comes last: estafette send PATH... TICKET",
    ))
}
