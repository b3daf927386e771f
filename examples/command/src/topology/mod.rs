//! Topologies: checked, listed, drawn, tried and run.

mod accepted;
mod child;
mod children;
mod graph;
mod hearing;
mod held;
mod lacking;
mod leaving;
mod lines;
mod list;
mod live;
mod once;
mod only;
mod plan;
mod predicted;
mod process;
mod reload;
mod reloading;
mod run;
mod schema;
mod test;
mod trace;
mod tried;
mod validate;
mod view;
mod watch;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use estafette_topology::{Document, Fault, LoadError, Report};

use crate::arguments::Global;
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::output::Output;

pub(crate) use self::graph::run as graph;
pub(crate) use self::list::run as list;
pub(crate) use self::plan::run as plan;
pub(crate) use self::reload::run as reload;
pub(crate) use self::run::run;
pub(crate) use self::schema::run as schema;
pub(crate) use self::test::run as test;
pub(crate) use self::trace::run as trace;
pub(crate) use self::validate::run as validate;

/// A file that was read, and its faults.
fn read(file: &Path, global: &Global) -> Result<(Document, Report), CommandError> {
    let document = Document::open(file).map_err(|error| match error {
        LoadError::Io { .. } => CommandError::usage(error, "name a file of TOML"),
        error => CommandError::usage(error, ""),
    })?;
    let report = document.check(&global.program.registry);
    Ok((document, report))
}

/// A topology that can be run, or the code with which the command ends: its faults are told.
fn open(file: &Path, global: &Global, output: &Output) -> Result<Document, Faulty> {
    open_as(None, file, global, output)
}

/// The same of one whose text may stand in another file.
fn open_as(
    text: Option<&Path>,
    file: &Path,
    global: &Global,
    output: &Output,
) -> Result<Document, Faulty> {
    let (document, report) = match text {
        None => read(file, global),
        Some(text) => accepted::read(text, file).map(|document| {
            let report = document.check(&global.program.registry);
            (document, report)
        }),
    }
    .map_err(Faulty::Unread)?;
    if report.is_empty() { Ok(document) } else { Err(Faulty::Told(tell(&report, output))) }
}

/// The nodes of this machine of a topology, and the folders of their spools; or the code with which
/// the command ends.
pub(crate) fn spools(
    file: &Path,
    global: &Global,
    output: &Output,
) -> Result<Result<Vec<(String, PathBuf)>, ExitCode>, CommandError> {
    let document = match open(file, global, output) {
        Ok(document) => document,
        Err(Faulty::Unread(error)) => return Err(error),
        Err(Faulty::Told(code)) => return Ok(Err(code)),
    };
    let topology = document.topology();
    let here = topology.nodes.keys().filter(|name| topology.is_here(name));
    Ok(Ok(here.map(|name| (name.clone(), topology.spool_of(name))).collect()))
}

/// The folder of the spool of the node at which a route begins; or the code with which the command
/// ends.
pub(crate) fn spool_of(
    file: &Path,
    route: &str,
    global: &Global,
    output: &Output,
) -> Result<Result<PathBuf, ExitCode>, CommandError> {
    let document = match open(file, global, output) {
        Ok(document) => document,
        Err(Faulty::Unread(error)) => return Err(error),
        Err(Faulty::Told(code)) => return Ok(Err(code)),
    };
    let topology = document.topology();
    let found = topology.routes.get(route).ok_or_else(|| {
        let known = topology.routes.keys().take(20).cloned().collect::<Vec<_>>().join(", ");
        CommandError::usage(
            format!("the topology has no route {route:?}"),
            format!("name one of them: {known}"),
        )
    })?;
    Ok(Ok(topology.spool_of(&found.from)))
}

/// The reason why there is no topology.
enum Faulty {
    Unread(CommandError),
    Told(ExitCode),
}

impl Faulty {
    fn end(self) -> Result<ExitCode, CommandError> {
        match self {
            Self::Unread(error) => Err(error),
            Self::Told(code) => Ok(code),
        }
    }
}

/// Tells all faults: drawn for people, an event each for programs.
fn tell(report: &Report, output: &Output) -> ExitCode {
    if output.json {
        for fault in report.faults() {
            let (line, column) = report.position(fault).unzip();
            let Fault { code, message, at, label, help, span, .. } = fault;
            let (start, end) = span.as_ref().map(|span| (span.start, span.end)).unzip();
            output.event(&Event::Fault {
                code,
                message,
                at,
                label,
                help: help.as_deref(),
                file: report.file(),
                line,
                column,
                start,
                end,
            });
        }
    } else {
        let drawn = report.draw(output.color);
        // Whoever read it may have gone.
        let _ = writeln!(std::io::stderr().lock(), "{drawn}");
    }
    ExitCode::from(ErrorKind::Usage.exit_code())
}
