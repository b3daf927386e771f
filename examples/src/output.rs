//! Where words go: events to stdout, remarks, bars and logs to stderr.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use estafette::Node;
use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::arguments::{Global, LogFormat, When};
use crate::error::CommandError;
use crate::event::Event;

#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) color: bool,
    pub(crate) bars: MultiProgress,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = io::stderr().is_terminal();
        let color = match global.color {
            When::Always => true,
            When::Never => false,
            When::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let visible = terminal && !global.quiet && !global.json;
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { json: global.json, quiet: global.quiet, color, bars: MultiProgress::with_draw_target(target) }
    }

    /// Logs go to stderr, above the progress bars.
    pub(crate) fn start_logging(&self, global: &Global) {
        let level = match (global.quiet, global.verbose) {
            (true, _) => "error",
            (_, 0) => "warn",
            (_, 1) => "info",
            (_, 2) => "debug",
            _ => "trace",
        };
        let filter = EnvFilter::try_from_env("ESTAFETTE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(self.color).with_writer(self.clone());
        match global.log_format {
            LogFormat::Text => builder.with_target(false).init(),
            LogFormat::Json => builder.json().init(),
        }
    }

    /// A result for programs; nothing without `--json`.
    pub(crate) fn event(&self, event: &Event<'_>) {
        if self.json {
            print_event(event);
        }
    }

    /// The counters of all stages, where `--report` asks for them.
    pub(crate) fn report(&self, global: &Global, node: &Node) {
        if global.report {
            self.event(&Event::Report { stages: node.metrics().into_iter().map(Into::into).collect() });
        }
    }

    /// A result for people, on stdout; nothing with `--json`.
    pub(crate) fn result(&self, text: &str) {
        if !self.json {
            self.bars.suspend(|| print_line(io::stdout().lock(), text));
        }
    }

    /// A remark for people, on stderr.
    pub(crate) fn remark(&self, text: &str) {
        if !self.quiet && !self.json {
            self.bars.suspend(|| print_line(io::stderr().lock(), text));
        }
    }

    /// Tells of an error and goes on.
    pub(crate) fn error(&self, error: &CommandError, transfer: Option<String>) {
        if self.json {
            let CommandError { kind, message, hint } = error;
            return print_event(&Event::Error { kind: *kind, message, hint, transfer });
        }
        let (red, plain) = if self.color { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        let hint = if error.hint.is_empty() { String::new() } else { format!("\n  → {}", error.hint) };
        self.bars.suspend(|| print_line(io::stderr().lock(), &format!("{red}error:{plain} {}{hint}", error.message)));
    }

    /// Tells of the error that ends the command.
    pub(crate) fn fail(&self, error: &CommandError) -> ExitCode {
        self.error(error, None);
        ExitCode::from(error.kind.exit_code())
    }
}

/// One line on stdout.
pub(crate) fn print_event(event: &Event<'_>) {
    match serde_json::to_string(event) {
        Ok(line) => print_line(io::stdout().lock(), &line),
        Err(error) => tracing::error!(%error, "an event could not be written"),
    }
}

fn print_line(mut to: impl Write, text: &str) {
    // Whoever read it has gone: what is under way goes on.
    let _ = writeln!(to, "{text}").and_then(|()| to.flush());
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bars.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
