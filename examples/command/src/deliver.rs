//! `estafette deliver`, and the messages that are stored: each is delivered once, whether its
//! receiver is there or not.

use std::process::ExitCode;
use std::time::Duration;

use estafette::Node;
use estafette::remote::{LetterId, LetterInfo, LetterState};
use serde::{Deserialize, Serialize};

use crate::arguments::{Deliver, Global};
use crate::ask;
use crate::call::{Call, Way};
use crate::control::{self, Reply, Request};
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::output::Output;
use crate::signals::Signals;
use crate::table::table;
use crate::units::{moment, printable};

/// A message that is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) id: String,
    /// PEER/NAME.
    pub(crate) to: String,
    /// The name of the type.
    pub(crate) message: String,
    pub(crate) state: State,
    /// In seconds since the Unix epoch; `None` of one that was processed before it was looked at.
    pub(crate) created: Option<u64>,
    pub(crate) expires: Option<u64>,
    /// Why it is dead.
    pub(crate) error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Stored,
    Delivered,
    Processed,
    Dead,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Delivered => "delivered",
            Self::Processed => "processed",
            Self::Dead => "dead",
        }
    }
}

/// The end of a type's name where its messages are JSON.
const JSON: &str = "+json";

impl Letter {
    pub(crate) fn new(node: &Node, info: &LetterInfo) -> Self {
        let peer = node.trust().peer(&info.peer);
        let peer = peer.map_or_else(|| info.peer.to_string(), |peer| peer.name);
        let (state, error) = match &info.state {
            LetterState::Stored => (State::Stored, None),
            LetterState::Delivered => (State::Delivered, None),
            LetterState::Processed => (State::Processed, None),
            LetterState::Dead(why) => (State::Dead, Some(why.to_string())),
            _ => (State::Stored, None),
        };
        Self {
            id: info.id.to_string(),
            to: format!("{peer}/{}", info.name),
            message: info.message.strip_suffix(JSON).unwrap_or(&info.message).to_owned(),
            state,
            created: Some(info.created),
            expires: Some(info.expires),
            error,
        }
    }

    /// One that is not kept any more.
    fn processed(id: LetterId, call: &Call) -> Self {
        Self {
            id: id.to_string(),
            to: call.to.clone(),
            message: call.message.clone(),
            state: State::Processed,
            created: None,
            expires: None,
            error: None,
        }
    }
}

/// Stores a message.
pub(crate) async fn store(node: &Node, call: &Call) -> Result<Letter, CommandError> {
    let delivery = call.remote(node).await?.deliver(&call.json).await?;
    let id = delivery.id();
    let kept =
        node.letters().list().iter().find(|info| info.id == id).map(|info| Letter::new(node, info));
    Ok(kept.unwrap_or_else(|| Letter::processed(id, call)))
}

/// Waits until a message was processed.
pub(crate) async fn processed(node: &Node, id: &str) -> Result<(), CommandError> {
    if let Some(delivery) = node.letters().find(parse(id)?) {
        delivery.processed().await?;
    }
    Ok(())
}

/// Forgets one that is dead.
pub(crate) async fn forget(node: &Node, id: &str) -> Result<(), CommandError> {
    if node.letters().forget(parse(id)?).await? {
        return Ok(());
    }
    let text = format!("there is no dead message {id} here");
    Err(CommandError::usage(text, "`estafette outbox messages` lists them, with their states"))
}

fn parse(id: &str) -> Result<LetterId, CommandError> {
    id.parse().map_err(|error| {
        CommandError::usage(error, "give the whole id, as `estafette outbox messages` prints it")
    })
}

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
    CommandError::new(ErrorKind::Unreachable, format!("{id}: {why}"), hint)
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
