//! `estafette tap`, `record` and `replay`: what passes a route while it runs, as the node of the
//! route tells by its control socket.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use estafette_topology::{
    Recorded, Replayed, TapContent, TapNews, TapOptions as Tap, TapPiece, TapRate,
};

use crate::arguments::{Global, RecordOptions, ReplayOptions, TapOptions};
use crate::control::{Listening, Reply, Request, ask_at, listen_at};
use crate::error::CommandError;
use crate::event::{self, Event, Passed, Tapping};
use crate::output::Output;
use crate::signals::Signals;
use crate::{settings, topology, units};

pub(crate) async fn tap(
    global: &Global,
    options: &TapOptions,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let spool = match topology::spool_of(&options.topology.file, &options.route, global, output)? {
        Ok(spool) => spool,
        Err(code) => return Ok(code),
    };
    let TapOptions { route, stage, samples, bytes, count, .. } = options;
    let seen = Tap { stage: stage.clone(), samples: *samples, bytes: *bytes };
    let request = Request::Tap { route: route.clone(), options: seen };
    let stage = stage.as_deref().unwrap_or("source");
    let mut left = count.unwrap_or(u64::MAX);
    follow(&spool, &request, (route, stage), output, |reply| {
        match reply {
            Reply::Tap(TapNews::Piece(piece)) => {
                output.event(&Event::TapPiece(Passed { route, stage, news: &piece }));
                output.result(&piece_line(&piece));
                left -= 1;
            }
            Reply::Tap(TapNews::Rate(rate)) => {
                output.event(&Event::TapRate(Passed { route, stage, news: &rate }));
                output.remark(&rate_line(&rate));
            }
            _ => {}
        }
        left > 0
    })
    .await
}

pub(crate) async fn record(
    global: &Global,
    options: &RecordOptions,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let spool = match topology::spool_of(&options.topology.file, &options.route, global, output)? {
        Ok(spool) => spool,
        Err(code) => return Ok(code),
    };
    let RecordOptions { route, receiver, count, .. } = options;
    let folder = absolute(&options.into)?;
    let request = Request::Record { route: route.clone(), receiver: receiver.clone(), folder };
    let mut left = count.unwrap_or(u64::MAX);
    follow(&spool, &request, (route, "source"), output, |reply| {
        if let Reply::Recorded(recorded) = reply {
            tell_recorded(route, &recorded, output);
            left -= 1;
        }
        left > 0
    })
    .await
}

pub(crate) async fn replay(
    global: &Global,
    options: &ReplayOptions,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let spool = match topology::spool_of(&options.topology.file, &options.route, global, output)? {
        Ok(spool) => spool,
        Err(code) => return Ok(code),
    };
    let route = &options.route;
    for (stored, package) in options.packages.iter().enumerate() {
        let request = Request::Replay { route: route.clone(), file: absolute(package)? };
        let answer =
            ask_at(&spool, &request).await.and_then(|answer| answer.ok_or_else(|| nobody(route)));
        let (_, replies) = answer.map_err(|error| behind(error, stored))?;
        for reply in replies {
            let Reply::Replayed(Replayed { transfer, name, to }) = reply else { continue };
            let (told, place) = (name.as_deref(), &*to);
            let told = event::Replayed { route, transfer: &transfer, name: told, to: place };
            output.event(&Event::Replayed(told));
            let (name, to) = (called(name.as_deref(), &transfer), units::printable(&to));
            output.result(&format!("{name} goes to {to} once more"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The error of a package behind others that were stored: who repeats all would send these twice.
fn behind(error: CommandError, stored: usize) -> CommandError {
    if stored == 0 {
        return error;
    }
    let stored = match stored {
        1 => "the one before it is stored: leave it out when you repeat this".to_owned(),
        _ => format!("the {stored} before it are stored: leave them out when you repeat this"),
    };
    CommandError { hint: format!("{stored}; {}", error.hint), ..error }
}

/// Tells what a node tells, until `tell` has enough or a signal comes.
async fn follow(
    spool: &Path,
    request: &Request,
    (route, stage): (&str, &str),
    output: &Output,
    mut tell: impl FnMut(Reply) -> bool,
) -> Result<ExitCode, CommandError> {
    let mut signals = Signals::new()?;
    let mut listening: Listening = listen_at(spool, request).await?.ok_or_else(|| nobody(route))?;
    loop {
        let reply = tokio::select! {
            biased;
            () = signals.next() => return Ok(ExitCode::SUCCESS),
            reply = listening.next() => reply?,
        };
        match reply {
            None => return Ok(ExitCode::SUCCESS),
            Some(Reply::Tapping) => {
                output.event(&Event::Tapping(Tapping { route, stage }));
                let route = units::printable(route);
                output.remark(&format!("looks at the route {route} at {stage}; Ctrl-C ends it"));
            }
            Some(reply) => {
                if !tell(reply) {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
    }
}

fn tell_recorded(route: &str, recorded: &Recorded, output: &Output) {
    let Recorded { transfer, name, to, outcome, dropped } = recorded;
    let (name, dropped) = (name.as_deref(), *dropped);
    let (file, bytes) = outcome.as_ref().ok().map(|(file, bytes)| (file, *bytes)).unzip();
    let message = outcome.as_ref().err().map(String::as_str);
    let shown = file.map(|file| file.display().to_string());
    let file = shown.as_deref();
    let told = event::Recorded { route, transfer, name, to, file, bytes, message, dropped };
    output.event(&Event::Recorded(told));
    let name = called(name, transfer);
    if dropped > 0 {
        let dropped = units::count(dropped, "further one");
        output.remark(&format!("{dropped} not recorded: too many at this moment"));
    }
    match (file, bytes, message) {
        (Some(file), Some(bytes), _) => {
            let (file, bytes) = (units::printable(file), units::bytes(bytes));
            output.result(&format!("{name}: {bytes} in {file}"));
        }
        (.., why) => {
            output.remark(&format!("{name}: {}", units::printable(why.unwrap_or_default())));
        }
    }
}

/// A delivery as it is told to a person: by its name, or the front of its id.
fn called(name: Option<&str>, transfer: &str) -> String {
    let id = transfer.get(..8).unwrap_or(transfer);
    name.map_or_else(|| id.to_owned(), units::printable)
}

fn piece_line(piece: &TapPiece) -> String {
    let name = called(piece.name.as_deref(), &piece.transfer);
    let total = piece.total.map(|total| format!(" of {}", units::bytes(total)));
    let (index, bytes) = (piece.index, units::bytes(piece.bytes));
    let line = format!("{name}: piece {index}, {bytes}{}", total.unwrap_or_default());
    match &piece.content {
        None => line,
        Some(TapContent::Text(text)) => format!("{line}: {}", units::printable(text)),
        Some(TapContent::Hex(digits)) => format!("{line}: {digits}"),
    }
}

fn rate_line(rate: &TapRate) -> String {
    let seconds = rate.milliseconds as f64 / 1000.0;
    let speed = units::rate(rate.bytes as f64 / seconds.max(0.001));
    let pieces = units::count(rate.pieces, "piece");
    let dropped = match rate.dropped {
        0 => String::new(),
        dropped => format!(", {dropped} dropped"),
    };
    format!("{speed}: {pieces} in {}, {} shown{dropped}", units::seconds(seconds), rate.shown)
}

/// A path for another process.
fn absolute(path: &Path) -> Result<String, CommandError> {
    let absolute: PathBuf = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = absolute.into_os_string().into_string();
    text.map_err(|_| {
        let shown = settings::shown(path);
        CommandError::usage(format!("the path {shown} is no UTF-8"), "name another one")
    })
}

fn nobody(route: &str) -> CommandError {
    CommandError::usage(
        format!("the node at which the route {route:?} begins does not run here"),
        "start it with `estafette run FILE`, or look on the machine where it runs",
    )
}
