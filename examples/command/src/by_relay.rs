//! `estafette send --via`: a delivery that a relay keeps for its receiver. It is done when the
//! relay has it.
//!
//! It is stored first, as `--detach` does: the word of the receiver comes later, for whichever
//! process has the spool then. What this command could not bring to the relay it takes out again.
//! Where a node runs with this key, that one stores and sends it, and this command asks it how that
//! went; when that node is gone, it goes on by itself.

use std::process::ExitCode;
use std::time::Duration;

use estafette::Node;
use tokio::time::{Instant, sleep, sleep_until};

use crate::arguments::{Global, Send};
use crate::attached::NEVER;
use crate::control::{Reply, Request, Server, answer, ask_running, free_spool};
use crate::ending::finishing;
use crate::entry::{Entry, State, Why};
use crate::error::{CommandError, ErrorKind};
use crate::event::{Event, Stored};
use crate::monitor::Monitor;
use crate::output::Output;
use crate::signals::Signals;
use crate::{detach, given, settings, units};

/// Between two questions of which the first had no answer.
const AGAIN: Duration = Duration::from_millis(100);
/// Questions in a row that may have none, while the process that has the spool stops.
const FAILURES: u32 = 50;

/// The process that has the spool: another one, or this one with a node of its own.
struct Holder {
    ours: Option<Ours>,
    monitor: Option<Monitor>,
}

struct Ours {
    node: Node,
    _server: Server,
}

pub(crate) async fn run(
    global: &Global,
    options: &Send,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let deposit = detach::deposit(options, &given::destination(options)?)?;
    let mut signals = Signals::new()?;
    let mut holder = Holder::find(global, options, output).await?;
    let replies = ask(holder.ours.as_ref(), global, Request::Deposit(deposit)).await?;
    let Some(Reply::Stored(stored)) = replies.first() else {
        return Err(CommandError::io(
            "it was not said what was stored",
            "look at `estafette outbox list`",
        ));
    };
    holder.leave(&stored.id);
    let (mut asked, mut deadline, mut failures) = (0, Instant::now() + NEVER, 0);
    let outcome = loop {
        let Holder { ours, monitor } = &mut holder;
        tokio::select! {
            () = show(monitor.as_mut()) => {}
            () = signals.next() => {
                asked += 1;
                if asked > 1 {
                    break Err(stopped());
                }
                output.remark(&finishing(global));
                deadline = Instant::now() + global.drain.min(NEVER);
            }
            () = sleep_until(deadline) => break Err(stopped()),
            replies = ask(ours.as_ref(), global, Request::Await(stored.id.clone())) => match replies {
                Ok(replies) => {
                    if let Some(outcome) = replies.into_iter().find_map(outcome_of) {
                        break outcome;
                    }
                }
                Err(error) if failures == FAILURES => break Err(error),
                // Whoever had the spool may have stopped: then this process goes on.
                Err(_) => {
                    failures += 1;
                    sleep(AGAIN).await;
                    holder = Holder::find(global, options, output).await?;
                    holder.leave(&stored.id);
                }
            },
        }
    };
    let outcome = match outcome {
        // The relay may have had it before it could be taken out.
        Err(error) => holder.take_out(global, &stored.id).await.ok_or(error),
        kept => kept,
    };
    let told = match outcome {
        Ok(entry) => {
            tell(&entry, options, output);
            Ok(detach::tell_left_out(&replies, "is with the relay", output))
        }
        Err(error) => Err(about(error, stored)),
    };
    holder.close().await;
    told
}

/// The outcome of a delivery, if a reply says it.
fn outcome_of(reply: Reply) -> Option<Result<Box<Entry>, CommandError>> {
    let entry = match reply {
        Reply::Entry(entry) => entry,
        Reply::Cancelled(_) | Reply::MayBeThere(_) => {
            return Some(Err(CommandError::cancelled(
                "it was taken out of the outbox before the relay had it",
            )));
        }
        _ => return None,
    };
    match (entry.state, &entry.failure) {
        (State::Relayed | State::Delivered | State::Processed, _) => Some(Ok(entry)),
        (State::Stored | State::Dead, Some(Why { kind, message })) => {
            Some(Err(CommandError::new(*kind, message, hint(*kind))))
        }
        (State::Stored | State::Dead, None) => None,
    }
}

/// The same error, of what was stored.
fn about(error: CommandError, stored: &Stored) -> CommandError {
    match (stored.id.parse(), stored.peer.parse()) {
        (Ok(transfer), Ok(peer)) => error.about(transfer, peer),
        // Another release has written them.
        _ => error,
    }
}

fn stopped() -> CommandError {
    CommandError::cancelled("stopped by a signal before the relay had it")
}

fn hint(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unreachable => {
            "check that the relay runs, and its address in `estafette trust list`; with --detach \
             it is stored and tried until it expires"
        }
        ErrorKind::Refused => {
            "what the relay or the receiver said is above: a relay runs with --relay, trusts both \
             ends, and has room for this sender"
        }
        ErrorKind::Untrusted => {
            "ask whoever runs the relay for `estafette trust add` with `estafette id` of both \
             ends, and whoever runs the receiver for that of this one, or for a ticket"
        }
        _ => "put right what is named, then send again",
    }
}

fn tell(entry: &Entry, options: &Send, output: &Output) {
    let (transfer, peer, via) =
        (entry.transfer.clone(), entry.peer.clone(), entry.via.clone().unwrap_or_default());
    output.event(&Event::Relayed { transfer, peer, via });
    let relay = units::printable(options.via.as_deref().unwrap_or_default());
    let size = entry.bytes.map_or_else(String::new, |bytes| format!(", {}", units::bytes(bytes)));
    output.result(&format!(
        "relayed: {relay} keeps {}{size} until {} comes",
        units::printable(&entry.name),
        entry.to()
    ));
    output.remark(&format!(
        "`estafette node --connect {relay}` hears what becomes of it; `estafette outbox show {}` \
         tells",
        entry.transfer
    ));
}

async fn ask(
    ours: Option<&Ours>,
    global: &Global,
    request: Request,
) -> Result<Vec<Reply>, CommandError> {
    match ours {
        Some(Ours { node, .. }) => answer(node, request).await,
        None => match ask_running(global, &request).await? {
            Some((_, replies)) => Ok(replies),
            None => Err(CommandError::io("the process that had the spool is gone", "send again")),
        },
    }
}

/// Shows what this process does, for as long as nobody wants something else.
async fn show(monitor: Option<&mut Monitor>) {
    let Some(monitor) = monitor else { return std::future::pending().await };
    // Others in the outbox are delivered meanwhile; how they end is in the outbox.
    match monitor.next().await {
        Some(ended) => monitor.take_off(&ended.about.transfer),
        None => std::future::pending().await,
    }
}

impl Holder {
    async fn find(global: &Global, options: &Send, output: &Output) -> Result<Self, CommandError> {
        let Some(spool) = free_spool(global).await? else {
            return Ok(Self { ours: None, monitor: None });
        };
        let name = options.name.clone().unwrap_or_else(settings::default_name);
        let node =
            settings::node(global, options.patience)?.name(name).spool(spool).start().await?;
        let server = Server::start(&settings::spool_path(global)?, &node)?;
        Ok(Self {
            monitor: Some(Monitor::new(&node, output)),
            ours: Some(Ours { node, _server: server }),
        })
    }

    /// Leaves nothing of it in the outbox, where it may be ending this very moment: as a dead
    /// letter it is dropped. What somebody else has by then stays, and is returned.
    async fn take_out(&self, global: &Global, id: &str) -> Option<Box<Entry>> {
        for _ in 0..FAILURES {
            for request in [Request::Cancel(id.to_owned()), Request::Drop(id.to_owned())] {
                if ask(self.ours.as_ref(), global, request).await.is_ok() {
                    return None;
                }
            }
            let shown = ask(self.ours.as_ref(), global, Request::Show(id.to_owned())).await;
            let kept = shown.ok().and_then(|replies| replies.into_iter().find_map(outcome_of));
            if let Some(Ok(entry)) = kept {
                return Some(entry);
            }
            sleep(AGAIN).await;
        }
        tracing::warn!(id, "what could not be sent is still in the outbox");
        None
    }

    /// The command itself tells how this delivery ends.
    fn leave(&mut self, id: &str) {
        if let Some(monitor) = &mut self.monitor {
            monitor.leave(id);
        }
    }

    async fn close(self) {
        if let Some(ours) = self.ours {
            ours.node.shutdown().await;
        }
    }
}
