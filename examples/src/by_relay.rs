//! `estafette send --via`: a delivery that a relay keeps for its receiver. It is done when the relay has it.
//!
//! It is stored first, as `--detach` does: the word of the receiver comes later, for whichever process has the spool then. What
//! this command could not bring to the relay it takes out again.

use std::process::ExitCode;
use std::time::Duration;

use estafette::Node;
use tokio::time::interval;

use crate::arguments::{Global, Send};
use crate::control::{Reply, Request, Server, answer, ask_running, free_spool};
use crate::entry::{Entry, State, Why};
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::monitor::Monitor;
use crate::output::Output;
use crate::signals::Signals;
use crate::{detach, send, settings, units};

/// How often it is looked how far the delivery is.
const LOOK: Duration = Duration::from_millis(100);
/// Looks in a row that may fail, while the process that has the spool stops.
const FAILURES: u32 = 50;

/// Who has the spool.
enum Holder {
    Another,
    Ours { node: Node, monitor: Box<Monitor>, _server: Server },
}

pub(crate) async fn run(global: &Global, options: &Send, output: &Output) -> Result<ExitCode, CommandError> {
    let deposit = detach::deposit(options, &send::destination(options)?)?;
    let mut signals = Signals::new()?;
    let mut holder = Holder::find(global, options, output).await?;
    let replies = holder.ask(global, Request::Deposit(deposit)).await?;
    let Some(Reply::Stored(stored)) = replies.into_iter().next() else {
        return Err(CommandError::io("it was not said what was stored", "look at `estafette outbox list`"));
    };
    holder.leave(&stored.id);
    let (mut tick, mut failures) = (interval(LOOK), 0);
    let outcome = loop {
        tokio::select! {
            () = holder.show() => {}
            () = signals.next() => break Err(CommandError::cancelled("stopped by a signal before the relay had it")),
            _ = tick.tick() => match holder.ask(global, Request::Show(stored.id.clone())).await {
                Ok(replies) => {
                    failures = 0;
                    if let Some(outcome) = replies.iter().find_map(outcome_of) {
                        break outcome;
                    }
                }
                // Whoever had the spool may have stopped: then this process goes on.
                Err(error) => {
                    failures += 1;
                    if failures > FAILURES {
                        return Err(error);
                    }
                    holder = Holder::find(global, options, output).await?;
                    holder.leave(&stored.id);
                }
            },
        }
    };
    let told = match outcome {
        Ok(entry) => {
            tell(&entry, options, output);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            holder.take_out(global, &stored.id).await;
            Err(error)
        }
    };
    holder.close().await;
    told
}

/// How it ended, if it has.
fn outcome_of(reply: &Reply) -> Option<Result<Box<Entry>, CommandError>> {
    let Reply::Entry(entry) = reply else { return None };
    match (entry.state, &entry.failure) {
        (State::Relayed | State::Delivered | State::Processed, _) => Some(Ok(entry.clone())),
        (State::Stored | State::Dead, Some(Why { kind, message })) => Some(Err(CommandError::new(*kind, message, hint(*kind)))),
        (State::Stored | State::Dead, None) => None,
    }
}

fn hint(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unreachable => {
            "check that the relay runs, and its address in `estafette trust list`; with --detach it is stored and tried until it expires"
        }
        ErrorKind::Refused => {
            "what the relay or the receiver said is above: a relay runs with --relay, trusts both ends, and has room for this sender"
        }
        ErrorKind::Untrusted => {
            "ask whoever runs the relay for `estafette trust add` with `estafette id` of both ends, and whoever runs the receiver for \
             that of this one, or for a ticket"
        }
        _ => "put right what is named, then send again",
    }
}

fn tell(entry: &Entry, options: &Send, output: &Output) {
    let (transfer, peer, via) = (entry.transfer.clone(), entry.peer.clone(), entry.via.clone().unwrap_or_default());
    output.event(&Event::Relayed { transfer, peer, via });
    let relay = units::printable(options.via.as_deref().unwrap_or_default());
    let size = entry.bytes.map_or_else(String::new, |bytes| format!(", {}", units::bytes(bytes)));
    output.result(&format!("relayed: {relay} keeps {}{size} until {} comes", units::printable(&entry.name), entry.to()));
    output
        .remark(&format!("`estafette node --connect {relay}` hears what becomes of it; `estafette outbox show {}` tells", entry.transfer));
}

impl Holder {
    async fn find(global: &Global, options: &Send, output: &Output) -> Result<Self, CommandError> {
        let Some(spool) = free_spool(global).await? else { return Ok(Self::Another) };
        let name = options.name.clone().unwrap_or_else(settings::default_name);
        let node = settings::node(global, options.patience)?.name(name).spool(spool).start().await?;
        let server = Server::start(&settings::spool_path(global)?, &node)?;
        Ok(Self::Ours { monitor: Box::new(Monitor::new(&node, output)), node, _server: server })
    }

    async fn ask(&self, global: &Global, request: Request) -> Result<Vec<Reply>, CommandError> {
        match self {
            Self::Ours { node, .. } => answer(node, request).await,
            Self::Another => match ask_running(global, &request).await? {
                Some((_, replies)) => Ok(replies),
                None => Err(CommandError::io("the process that had the spool is gone", "send again")),
            },
        }
    }

    /// Leaves nothing of it in the outbox, where it may be ending this very moment: as a dead letter it is dropped.
    async fn take_out(&self, global: &Global, id: &str) {
        for _ in 0..FAILURES {
            for request in [Request::Cancel(id.to_owned()), Request::Drop(id.to_owned())] {
                if self.ask(global, request).await.is_ok() {
                    return;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        tracing::warn!(id, "what could not be sent is still in the outbox");
    }

    /// The command itself tells how this delivery ends.
    fn leave(&mut self, id: &str) {
        if let Self::Ours { monitor, .. } = self {
            monitor.leave(id);
        }
    }

    /// Shows what this process does, for as long as nobody wants something else.
    async fn show(&mut self) {
        match self {
            Self::Ours { monitor, .. } => {
                // Others in the outbox are delivered meanwhile; how they end is in the outbox.
                match monitor.next().await {
                    Some(ended) => monitor.take_off(&ended.about.transfer),
                    None => std::future::pending().await,
                }
            }
            Self::Another => std::future::pending().await,
        }
    }

    async fn close(self) {
        if let Self::Ours { node, .. } = self {
            node.shutdown().await;
        }
    }
}
