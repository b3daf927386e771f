//! `estafette top`: what nodes of this machine do, on one page that is drawn again and again.
//!
//! A look costs each node one snapshot; between looks nothing is done.

mod page;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use self::page::{Seen, Size};
use crate::arguments::{Global, TopOptions};
use crate::control::{Reply, Request, ask_at};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::signals::Signals;
use crate::{settings, topology};

/// A page on a terminal of its own, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

pub(crate) async fn run(
    global: &Global,
    options: &TopOptions,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let nodes = match &options.topology {
        Some(file) => match topology::spools(file, global, output)? {
            Ok(spools) => spools,
            Err(code) => return Ok(code),
        },
        None => vec![("the node".to_owned(), settings::spool_path(global)?)],
    };
    let mut signals = Signals::new()?;
    let is_drawn = !output.json && !options.once && std::io::stdout().is_terminal();
    let _screen = is_drawn.then(Screen::enter);
    let mut look = interval(options.every);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Vec<Seen> = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = signals.next() => return Ok(ExitCode::SUCCESS),
            _ = look.tick() => {}
        }
        // A node that hangs keeps nobody from leaving.
        let looked = tokio::select! {
            biased;
            () = signals.next() => return Ok(ExitCode::SUCCESS),
            looked = look_at(&nodes, output) => looked,
        };
        if options.topology.is_none() && looked.iter().all(|seen| !seen.runs()) {
            return Err(CommandError::usage(
                "no node runs with this key",
                "start `estafette node`, or name another --key, or a topology",
            ));
        }
        let is_first = before.is_empty();
        // Rates are differences of two looks.
        let is_too_early = options.once && is_first;
        if !(output.json || is_too_early) {
            let size = if is_drawn { Size::of_terminal() } else { Size::default() };
            show(&page::lines(&before, &looked, size), is_drawn)?;
        }
        if options.once && (output.json || !is_first) {
            return Ok(ExitCode::SUCCESS);
        }
        before = looked;
    }
}

async fn look_at(nodes: &[(String, PathBuf)], output: &Output) -> Vec<Seen> {
    let asked = nodes.iter().map(|(_, spool)| ask_at(spool, &Request::Snapshot));
    let mut looked = Vec::new();
    for ((name, _), answer) in nodes.iter().zip(join_all(asked).await) {
        let snapshot = match answer {
            Err(error) => {
                output.event(&Event::Snapshot { name, snapshot: &Value::Null });
                looked.push(Seen::silent(name, error.message));
                continue;
            }
            Ok(None) => None,
            Ok(Some((_, replies))) => replies.into_iter().find_map(|reply| match reply {
                Reply::Snapshot(snapshot) => Some(*snapshot),
                _ => None,
            }),
        };
        let snapshot = snapshot.unwrap_or(Value::Null);
        output.event(&Event::Snapshot { name, snapshot: &snapshot });
        looked.push(Seen::new(name, snapshot));
    }
    looked
}

fn show(lines: &[String], is_drawn: bool) -> Result<(), CommandError> {
    let text = if is_drawn {
        // Over the page before, so that nothing flickers.
        let lines: String = lines.iter().map(|line| format!("{line}\x1b[K\r\n")).collect();
        format!("\x1b[H{}\x1b[J", lines.trim_end_matches("\r\n"))
    } else {
        lines.join("\n") + "\n\n"
    };
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| {
        CommandError::io(format!("the page can't be shown: {error}"), "look at stdout")
    })
}

/// The terminal as it was comes back when this is dropped.
struct Screen;

impl Screen {
    fn enter() -> Self {
        write_to_terminal(ENTER);
        Self
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write_to_terminal(LEAVE);
    }
}

/// A terminal that is gone shows nothing.
fn write_to_terminal(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
