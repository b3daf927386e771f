//! `estafette graph`: the drawing of a topology.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use estafette_topology::{Graph, Report};

use crate::about;
use crate::arguments::{Global, GraphFormat, GraphOptions};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::{Output, shown_json};
use crate::settings;

/// The limits of those who draw Mermaid, if they are not set otherwise.
const MERMAID_EDGES: usize = 500;
const MERMAID_LENGTH: usize = 50_000;

pub(crate) async fn run(
    global: &Global,
    options: &GraphOptions,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let file = &options.topology.file;
    let (document, report) = super::read(file, global)?;
    let to = options.output.as_deref();
    let format = options.format.or_else(|| to.and_then(GraphFormat::of));
    let named = to.and_then(Path::extension);
    if let (None, Some(named), Some(to)) = (format, named, to) {
        let message = format!(
            "{} would be no {}: a drawing is svg, dot, mermaid or json",
            settings::shown(to),
            named.display()
        );
        return Err(CommandError::usage(message, "name a file that ends so, or say --format"));
    }
    let format = format.unwrap_or(GraphFormat::Svg);
    // What is no TOML has nothing that could be drawn.
    if report.faults().iter().any(|fault| fault.code == "syntax") {
        return Ok(super::tell(&report, output));
    }
    if to.is_some_and(|to| is_same(to, file)) {
        let message = format!("the drawing would replace {}", settings::shown(file));
        return Err(CommandError::usage(message, "name another file with --output"));
    }
    let mut graph = Graph::of(document.topology());
    if options.live {
        super::live::show(&mut graph, document.topology()).await;
    }
    let drawing = draw(&graph, format)?;
    if format == GraphFormat::Mermaid {
        warn(&graph, &drawing, output);
    }
    if let Some(to) = to {
        write(to, &drawing).map_err(|error| {
            let message = format!("{} can't be written: {error}", settings::shown(to));
            CommandError::io(message, "name a file in a folder that may be written to")
        })?;
    }
    let written = to.map(|to| to.display().to_string());
    let itself = to.is_none().then_some(drawing.as_str());
    output.event(&Event::Drawn { format: format.name(), file: written, drawing: itself });
    match to {
        Some(to) => output.remark(&format!("drawn: {}", settings::shown(to))),
        None if !output.json => drop(about::print(drawing.as_bytes())?),
        None => {}
    }
    Ok(end(&report, output))
}

/// Tells what is wrong with what was drawn.
fn end(report: &Report, output: &Output) -> ExitCode {
    match report.is_empty() {
        true => ExitCode::SUCCESS,
        false => super::tell(report, output),
    }
}

fn draw(graph: &Graph, format: GraphFormat) -> Result<String, CommandError> {
    Ok(match format {
        GraphFormat::Svg => graph.to_svg().map_err(|error| {
            CommandError::usage(error, "--format dot, mermaid and json have no such limit")
        })?,
        GraphFormat::Dot => graph.to_dot(),
        GraphFormat::Mermaid => graph.to_mermaid(),
        // Names may have what steers a terminal; the other forms show no such thing.
        GraphFormat::Json => shown_json(&graph.to_json()).into_owned(),
    })
}

/// Says what will not be drawn where it is meant to be.
fn warn(graph: &Graph, drawing: &str, output: &Output) {
    if graph.edges.len() > MERMAID_EDGES || drawing.chars().count() > MERMAID_LENGTH {
        output.remark(&format!(
            "pages that draw Mermaid take {MERMAID_EDGES} edges and {MERMAID_LENGTH} characters, \
             unless they are set up otherwise (maxEdges, maxTextSize); this has {} and {}",
            graph.edges.len(),
            drawing.chars().count()
        ));
    }
}

/// Returns `true` if two paths lead to one file that is there.
fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Writes a file, so that it is there as a whole or as it was.
fn write(to: &Path, drawing: &str) -> io::Result<()> {
    // A link stays, and leads to what is written.
    let to = fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
    let before = fs::metadata(&to);
    // A pipe, a terminal, or `/dev/null` is written to.
    if before.as_ref().is_ok_and(|before| !before.is_file()) {
        return fs::write(&to, drawing);
    }
    let everybody = Permissions::from_mode(0o666);
    let folder = to.parent().filter(|folder| *folder != Path::new(""));
    let mut file = tempfile::Builder::new()
        .permissions(before.map_or(everybody, |before| before.permissions()))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(drawing.as_bytes())?;
    file.persist(to)?;
    Ok(())
}
