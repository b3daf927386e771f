//! The output of the command: events to stdout; remarks, bars and logs to stderr.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use estafette::Node;
use estafette::wire::is_visible;
use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::arguments::{Global, LogFormat, When};
use crate::call::Call;
use crate::error::CommandError;
use crate::event::Event;
use crate::json_text::{compact, pretty};
use crate::streams::{Stream, stdout_failed};

#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) color: bool,
    /// Stdout is for what is delivered: results go to stderr.
    pub(crate) gives_content: bool,
    pub(crate) bars: MultiProgress,
    /// The first error of writing results to stdout.
    lost: Arc<OnceLock<io::Error>>,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = io::stderr().is_terminal();
        let color = match global.color {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        let visible = terminal && !global.quiet && !global.json;
        let target =
            if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self {
            json: global.json,
            quiet: global.quiet,
            color,
            gives_content: false,
            bars: MultiProgress::with_draw_target(target),
            lost: Arc::default(),
        }
    }

    /// Before it is known what is wanted, apart from this.
    pub(crate) fn before(json: bool) -> Self {
        Self {
            json,
            quiet: false,
            color: false,
            gives_content: false,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            lost: Arc::default(),
        }
    }

    /// The same, with nothing on stdout.
    pub(crate) fn beside_content(&self) -> Self {
        Self { gives_content: true, ..self.clone() }
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
        let filter =
            EnvFilter::try_from_env("ESTAFETTE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
        let log =
            Log { output: self.clone(), is_text: matches!(global.log_format, LogFormat::Text) };
        let builder = tracing_subscriber::fmt()
            // That a line can't be written would be said on stderr, with a panic where that fails.
            .log_internal_errors(false)
            .with_env_filter(filter)
            .with_ansi(self.color)
            .with_writer(log);
        // Where the program has a subscriber already, that one hears all.
        let _ = match global.log_format {
            LogFormat::Text => builder.with_target(false).try_init(),
            LogFormat::Json => builder.json().try_init(),
        };
    }

    /// A result for programs; nothing without `--json`.
    pub(crate) fn event(&self, event: &Event<'_>) {
        if self.json {
            self.lose(print_event(event));
        }
    }

    /// Takes note of a result that could not be written. That its reader has gone, or
    /// reads no more, is none: what is under way goes on.
    fn lose(&self, printed: io::Result<()>) {
        if let Err(error) = printed
            && !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::WouldBlock)
        {
            // The first one says it.
            let _ = self.lost.set(error);
        }
    }

    /// The code with which the command ends. What `shows` something, and does no more, has failed
    /// if that could not be written.
    pub(crate) fn end(&self, outcome: Result<ExitCode, CommandError>, shows: bool) -> ExitCode {
        let code = outcome.unwrap_or_else(|error| self.fail(&error));
        let Some(error) = self.lost.get() else { return code };
        let error = stdout_failed(error);
        // Stdout can't tell of it.
        let _ = Stream::Err.line(&format!("error: {}", shown(&error.message)));
        let is_lost = shows && code == ExitCode::SUCCESS;
        if is_lost { ExitCode::from(error.kind.exit_code()) } else { code }
    }

    /// The counters of all stages, where `--report` asks for them.
    pub(crate) fn report(&self, global: &Global, node: &Node) {
        if global.report {
            self.event(&Event::Report {
                stages: node.metrics().into_iter().map(Into::into).collect(),
            });
        }
    }

    /// A result for people, on stdout; nothing with `--json`.
    pub(crate) fn result(&self, text: &str) {
        if self.gives_content {
            self.to_stderr(&shown(text));
        } else if !self.json {
            self.lose(self.bars.suspend(|| Stream::Out.line(&shown(text))));
        }
    }

    /// The answer of an actor as it is printed: for people on several lines, for programs on one.
    pub(crate) fn answer(&self, call: &Call, json: &str) -> io::Result<String> {
        let mut text = compact(json);
        if self.json {
            let (to, message) = (&*call.to, &*call.message);
            let answer = serde_json::from_str(&text)?;
            text = serde_json::to_string(&Event::Answer { to, message, answer })?;
        } else if io::stdout().is_terminal() {
            text = pretty(json);
        }
        Ok(shown_json(&text).into_owned())
    }

    /// That a message was handled, as it is printed; for programs alone.
    pub(crate) fn told(&self, call: &Call) -> io::Result<Option<String>> {
        let told = Event::Told { to: &call.to, message: &call.message };
        let text = self.json.then(|| serde_json::to_string(&told)).transpose()?;
        Ok(text.map(|text| shown_json(&text).into_owned()))
    }

    /// A remark for people, on stderr.
    pub(crate) fn remark(&self, text: &str) {
        if !self.quiet && !self.json {
            self.to_stderr(&shown(text));
        }
    }

    /// A line on stderr; nobody need read it.
    fn to_stderr(&self, line: &str) {
        let _ = self.bars.suspend(|| Stream::Err.line(line));
    }

    /// A remark that begins with words in a colour of their own.
    pub(crate) fn remark_styled(&self, style: (&str, &str), words: &str, text: &str) {
        if !self.quiet && !self.json {
            self.log_styled(style, words, text);
        }
    }

    /// A line of the log of another process: that one has left out what nobody wants to hear.
    pub(crate) fn log_styled(&self, (begin, end): (&str, &str), words: &str, text: &str) {
        let line = format!("{begin}{}{end} {}", shown(words), shown(text));
        self.to_stderr(&line);
    }

    /// The same of a log as JSON.
    pub(crate) fn log_json(&self, line: &serde_json::Value) {
        self.to_stderr(&shown_json(&line.to_string()));
    }

    /// The event of another process, as it is.
    pub(crate) fn value(&self, event: &serde_json::Value) {
        if self.json {
            self.lose(Stream::Out.line(&shown_json(&event.to_string())));
        }
    }

    /// Tells of an error and goes on.
    pub(crate) fn error(&self, error: &CommandError) {
        let error = &error.of_machine();
        if self.json {
            self.lose(print_event(&Event::from(error)));
            return;
        }
        let (red, plain) = if self.color { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
        let hint =
            if error.hint.is_empty() { String::new() } else { format!("\n  → {}", error.hint) };
        let text = format!("{}{hint}", error.message);
        let text = shown(&text);
        self.to_stderr(&format!("{red}error:{plain} {text}"));
    }

    /// Tells of the error that ends the command.
    pub(crate) fn fail(&self, error: &CommandError) -> ExitCode {
        self.error(error);
        ExitCode::from(error.kind.exit_code())
    }
}

/// The number of columns of the terminal that people look at.
pub(crate) fn columns() -> u16 {
    let size = rustix::termios::tcgetwinsize(io::stderr()).map(|size| size.ws_col);
    // What does not say is what most are at least.
    size.ok().filter(|columns| *columns > 0).unwrap_or(80)
}

/// Prints on stdout, on a thread where that may take as long as its reader likes. An error: nobody
/// reads it. Whoever waits no more leaves the thread to its end: stdout is not to be used then.
pub(crate) async fn print_apart(text: String) -> io::Result<()> {
    let print = move || {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{text}").and_then(|()| stdout.flush())
    };
    estafette::node::blocking(print).await?
}

/// One line on stdout.
pub(crate) fn print_event(event: &Event<'_>) -> io::Result<()> {
    Stream::Out.line(&shown_json(&serde_json::to_string(event)?))
}

/// One line, for a person who may not be there to read it. (`eprintln` panics where stderr can't be
/// written.)
pub(crate) fn prompt(text: &str) {
    let _ = Stream::Err.line(text);
}

/// Lines for a person, with nothing in them that a person can't see but the ends of lines. Whoever
/// makes them escapes words of others itself, so that these begin no lines either; what is
/// forgotten there can't steer the terminal all the same.
fn shown(lines: &str) -> Cow<'_, str> {
    let is_shown = |character: char| character == '\n' || is_visible(character);
    if lines.chars().all(is_shown) {
        return lines.into();
    }
    lines
        .chars()
        .fold(String::new(), |mut text, character| {
            match is_shown(character) {
                true => text.push(character),
                false => text.extend(character.escape_default()),
            }
            text
        })
        .into()
}

/// The same JSON, in which a person who looks at it sees all that there is: JSON itself escapes
/// control characters of ASCII alone.
pub(crate) fn shown_json(line: &str) -> Cow<'_, str> {
    let is_shown = |character: char| character == '\n' || is_visible(character);
    if line.chars().all(is_shown) {
        return line.into();
    }
    let mut text = String::new();
    for character in line.chars() {
        if is_shown(character) {
            text.push(character);
        } else {
            // It stands in a string: nothing else of JSON is like that.
            character
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text.into()
}

/// The output that logs go to.
#[derive(Clone)]
struct Log {
    output: Output,
    /// Or JSON.
    is_text: bool,
}

impl Log {
    /// A text of the log, in which only the logger's own colours are no characters.
    fn shown(&self, text: &str) -> String {
        let mut lines = String::new();
        let mut parts = text.split('\u{1b}');
        lines.extend(parts.next().map(shown));
        for part in parts {
            let end = part
                .strip_prefix('[')
                .and_then(|part| part.find(|c: char| !c.is_ascii_digit() && c != ';'));
            let is_colour =
                self.output.color && end.is_some_and(|end| part[1 + end..].starts_with('m'));
            lines.push_str(if is_colour { "\u{1b}" } else { "\\u{1b}" });
            lines.push_str(&shown(part));
        }
        lines
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Log {
    /// Never fails: a line that nobody can have is lost, and nothing else.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // An event comes as a whole.
        let shown = std::str::from_utf8(bytes).map(|text| match self.is_text {
            true => Cow::from(self.shown(text)),
            false => shown_json(text),
        });
        let line = shown.as_ref().map_or(bytes, |text| text.as_bytes());
        let _ = self.output.bars.suspend(|| Stream::Err.write(line));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_nothing_that_steers_a_terminal() {
        assert_eq!(shown("a line\n  → é"), "a line\n  → é");
        assert_eq!(shown("a\u{1b}[2J\r\tb\u{202e}c\n"), "a\\u{1b}[2J\\r\\tb\\u{202e}c\n");
    }

    #[test]
    fn json_says_the_same_and_shows_all_of_it() {
        let said = "a\u{1b}[2J\u{9b}2J\n\u{202e}é\u{e0001}\u{7f}\\\"";
        let line = format!("{}\n", serde_json::to_string(said).unwrap());
        let shown = shown_json(&line);
        assert_eq!(shown, "\"a\\u001b[2J\\u009b2J\\n\\u202eé\\udb40\\udc01\\u007f\\\\\\\"\"\n");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), said);
    }

    #[test]
    fn a_log_has_its_own_colours_only() {
        let output = Output {
            json: false,
            quiet: false,
            color: true,
            gives_content: false,
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            lost: Arc::default(),
        };
        let colored = Log { output: output.clone(), is_text: true };
        let plain = Log { output: Output { color: false, ..output }, is_text: true };
        let text = "\u{1b}[2mnow\u{1b}[0m \u{1b}[1;33mwhy\u{1b}[0m \
                    \u{1b}[2J\u{1b}]0;x\u{7}\u{9b}\u{200b}\n";
        assert_eq!(
            colored.shown(text),
            "\u{1b}[2mnow\u{1b}[0m \u{1b}[1;33mwhy\u{1b}[0m \
             \\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{9b}\\u{200b}\n"
        );
        assert!(!plain.shown(text).contains('\u{1b}'));
    }
}
