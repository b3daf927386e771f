//! `estafette deliver`: a message that is stored, and delivered once, whether its receiver is there
//! or not.

use std::process::ExitCode;
use std::time::Duration;

use estafette::RemoteErrorKind;

use crate::arguments::{Deliver, Global};
use crate::ask;
use crate::call::{Call, Way};
use crate::control::{self, Reply, Request};
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::letter::{Letter, State};
use crate::output::Output;
use crate::signals::Signals;
use crate::table::table;
use crate::units::{moment, printable};

pub(crate) async fn run(
    global: &Global,
    options: &Deliver,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    ask::addressee(&options.to)?;
    let json = ask::message(&options.content)?;
    let mut signals = Signals::new()?;
    if options.wait && control::ask_running(global, &Request::Letters).await?.is_none() {
        return Err(CommandError::usage(
            "--wait needs a node that runs with this key and delivers, and there is none: nothing \
             was stored",
            "start `estafette node`; or leave --wait out, and the message is stored for when it \
             runs",
        ));
    }
    let call = Call {
        way: Way::Tell,
        to: options.to.clone(),
        message: options.message.name.clone(),
        version: options.message.version,
        json,
        within: None,
    };
    let answer = control::ask(global, Request::Deliver(call)).await?;
    for reply in answer.replies {
        let Reply::Letter(mut letter) = reply else { continue };
        output.event(&Event::Letter(&letter));
        output.result(&letter.id);
        if letter.state == State::Processed {
            continue;
        }
        if !options.wait {
            output.remark(if answer.running {
                "stored; the node that runs delivers it"
            } else {
                "stored; `estafette node` delivers it"
            });
            continue;
        }
        let waited = control::ask(global, Request::Processed(letter.id.clone()));
        let limit = options.within.unwrap_or(Duration::MAX);
        tokio::select! {
            waited = tokio::time::timeout(limit, waited) => match waited {
                Ok(processed) => processed.map(drop)?,
                Err(_) => return Err(not_yet(&letter.id, "its actor has not handled it in time")),
            },
            () = signals.next() => {
                return Err(not_yet(&letter.id, "stopped by a signal before it was handled"));
            }
        }
        letter.state = State::Processed;
        output.event(&Event::Letter(&letter));
        output.remark("processed: its actor has handled it");
    }
    Ok(ExitCode::SUCCESS)
}

fn not_yet(id: &str, why: &str) -> CommandError {
    let hint = "it stays stored, and is delivered: `estafette outbox messages` says how it is";
    let error = CommandError::new(ErrorKind::Unreachable, format!("{id}: {why}"), hint);
    CommandError { remote: Some(RemoteErrorKind::Deadline), ..error }
}

/// As `estafette outbox messages` prints them.
pub(crate) fn list(letters: &[Letter], now: u64) -> String {
    let row = |letter: &Letter| {
        let when = |at: Option<u64>| at.map(|at| moment(at, now)).unwrap_or_default();
        let cells = [
            letter.id.clone(),
            printable(&letter.message),
            printable(&letter.to),
            letter.state.word().to_owned(),
            when(letter.created),
            if letter.state == State::Dead { String::new() } else { when(letter.expires) },
        ];
        (cells, letter.error.as_ref().map(|error| printable(error)))
    };
    let rows: Vec<_> = letters.iter().map(row).collect();
    table(["id", "message", "to", "state", "stored", "expires"], &[], &rows)
}
