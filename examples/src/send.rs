//! `estafette send`: one delivery, and how it went.

use std::path::PathBuf;
use std::process::ExitCode;

use estafette::SendOptions;
use estafette::node::Direction;
use estafette_actors::source::from_paths;

use crate::arguments::{Global, Send};
use crate::error::{CommandError, ErrorKind};
use crate::monitor::{Ended, Monitor};
use crate::output::Output;
use crate::signals::Signals;
use crate::{destination, settings, units};

pub(crate) async fn run(global: &Global, options: &Send, output: &Output) -> Result<ExitCode, CommandError> {
    let given = destination::read(&destination::piped(&options.to)?)?;
    let given = destination::redirect(given, &options.addr)?;
    check_paths(&options.paths)?;
    let source = from_paths(&options.paths)?;
    let mut signals = Signals::new()?;
    let name = options.name.clone().unwrap_or_else(settings::default_name);
    let node = settings::node(global, options.patience)?.name(name).start().await?;
    let mut monitor = Monitor::new(&node, output);
    let sending = SendOptions {
        chunk_size: options.chunk_size.map(|size| u32::try_from(size).unwrap_or(u32::MAX)),
        compression: Some(options.compress.into()),
        expiry: options.expires,
        transient: true,
        ..SendOptions::default()
    };
    let transfer = node.send_with(destination::find(node.trust(), given, None)?.0, source, sending).await?;
    let mut asked = 0;
    let ended = loop {
        tokio::select! {
            Some(ended) = monitor.next() => if ended.transfer == transfer.id() { break ended },
            outcome = transfer.delivered() => {
                break Ended { transfer: transfer.id(), peer: transfer.peer(), direction: Direction::Outgoing, outcome };
            }
            () = signals.next() => {
                asked += 1;
                match asked {
                    1 => {
                        output.remark(&format!("finishing, for {} at most; once more to stop at once", units::span(global.drain)));
                        let node = node.clone();
                        tokio::spawn(async move { node.shutdown().await });
                    }
                    2 => transfer.cancel(),
                    _ => return Err(CommandError::cancelled("stopped before it was delivered")),
                }
            }
        }
    };
    let report = transfer.status().report;
    let concluded = monitor.conclude(&ended);
    for skipped in &report.skipped {
        output.error(&left_out(&format!("{} was left out: {}", skipped.path, skipped.reason)), Some(ended.transfer.to_string()));
    }
    let unnamed = report.skipped_total.saturating_sub(report.skipped.len() as u64);
    if unnamed > 0 {
        output.error(&left_out(&format!("{} more were left out", unnamed)), Some(ended.transfer.to_string()));
    }
    output.report(global, &node);
    node.shutdown().await;
    match concluded {
        Err(_) if asked > 0 && !matches!(&ended.outcome, Err(failure) if is_final(failure)) => {
            Err(CommandError::cancelled("stopped by a signal before it was delivered"))
        }
        Err(error) => Err(error),
        Ok(()) if report.skipped_total > 0 => Ok(ExitCode::from(ErrorKind::Io.exit_code())),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

/// Whether a transfer would have failed in this way without a signal, too.
fn is_final(failure: &estafette::delivery::Failure) -> bool {
    use estafette::delivery::FailureKind::*;
    !matches!(failure.kind, Shutdown | Cancelled | Unreachable)
}

fn left_out(message: &str) -> CommandError {
    CommandError::io(message, "all else was delivered; make it readable and send it again")
}

/// All that do not exist are named, before anything is dialled.
pub(crate) fn check_paths(paths: &[PathBuf]) -> Result<(), CommandError> {
    let missing = paths.iter().filter_map(|path| Some((path, std::fs::symlink_metadata(path).err()?)));
    let missing: Vec<_> = missing.map(|(path, error)| format!("{}: {error}", settings::shown(path))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(CommandError::io(
        format!("can't send {}", missing.join("; ")),
        "check the path; the destination comes last: estafette send PATH... TICKET",
    ))
}
