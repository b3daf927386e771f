//! `node --exec`: a command for each delivery, which is processed when the command succeeds.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use estafette::node::{Arrival, Direction, EventStream, NodeEvent, Processed, TransferEvent};
use estafette::{Node, PeerId, TransferId, TransferNews};
use futures_util::FutureExt;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::CommandError;
use crate::output::Output;
use crate::settings::INBOX;
use crate::signals::Signals;
use crate::units;

/// Events may be missed where many come at once: so long after the last one it is looked anyway.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The longest place of which surely nothing was cut off, in bytes.
const EXACT_MOST: usize = estafette::wire::SHOWN_LIMIT;

const AGAIN: &str = "the delivery is there and not processed: the command is run again when the \
                     node is started again";

/// The runner of commands for deliveries: none goes on when this process has ended.
#[derive(Debug)]
pub(crate) struct Exec {
    /// Until when the one that runs is waited for, as soon as none is begun any more.
    end: watch::Sender<Option<Instant>>,
    /// Closed when none runs any more, nor will.
    over: watch::Receiver<()>,
    task: JoinHandle<()>,
}

struct Runner {
    node: Node,
    command: String,
    limit: Duration,
    output: Output,
    end: watch::Receiver<Option<Instant>>,
    events: EventStream,
    /// The order of those that came in one second.
    came: HashMap<(PeerId, TransferId), u64>,
    noted: u64,
    failed: HashSet<(PeerId, TransferId)>,
    _runs: watch::Sender<()>,
}

/// Runs `command` for each delivery that is not processed, one after the other, those of earlier
/// processes first. One that fails, or takes longer than `limit`, is told, and tried again when the
/// node is started again.
pub(crate) fn start(node: &Node, (command, limit): (&str, Duration), output: &Output) -> Exec {
    let ((end, ends), (runs, over)) = (watch::channel(None), watch::channel(()));
    let (came, failed) = Default::default();
    let (node, command, output, events) =
        (node.clone(), command.to_owned(), output.clone(), node.events());
    let runner = Runner {
        node,
        command,
        limit,
        output,
        end: ends,
        events,
        came,
        noted: 0,
        failed,
        _runs: runs,
    };
    Exec { end, over, task: tokio::spawn(runner.run()) }
}

impl Exec {
    /// Begins no other one, and kills the one that runs when `patience` is over.
    pub(crate) fn end_within(&self, patience: Duration) {
        let at = Instant::now() + patience;
        self.end.send_modify(|end| *end = Some(end.map_or(at, |end| end.min(at))));
    }

    /// Waits until none runs any more, nor will, by its own end or as [`Exec::end_within`] says.
    pub(crate) fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut over = self.over.clone();
        async move { while over.changed().await.is_ok() {} }
    }

    /// Waits for the one that runs, as [`Exec::end_within`] says; a further signal kills it at
    /// once.
    pub(crate) async fn finish(mut self, patience: Duration, signals: &mut Signals) {
        self.end_within(patience);
        loop {
            tokio::select! {
                _ = &mut self.task => return,
                () = signals.next() => self.end_within(Duration::ZERO),
            }
        }
    }
}

impl Runner {
    async fn run(mut self) {
        while self.end.borrow().is_none() {
            while let Some(event) = self.events.next().now_or_never() {
                let Some(event) = event else { return };
                self.note(&event);
            }
            if let Some((peer, id, arrival)) = self.next() {
                self.came.remove(&(peer, id));
                if let Err(error) = self.process(peer, id, &arrival).await {
                    self.output.error(&error.about(id, peer));
                    self.failed.insert((peer, id));
                }
                continue;
            }
            tokio::select! {
                _ = self.end.changed() => return,
                event = timeout(LOOK_AGAIN, self.events.next()) => match event {
                    Ok(Some(event)) => self.note(&event),
                    Ok(None) => return,
                    Err(_) => {}
                },
            }
        }
    }

    fn note(&mut self, event: &NodeEvent) {
        let NodeEvent::Transfer(TransferEvent {
            direction: Direction::Incoming,
            news,
            peer,
            transfer,
            ..
        }) = event
        else {
            return;
        };
        if matches!(news, TransferNews::Delivered { .. }) {
            self.came.entry((*peer, *transfer)).or_insert(self.noted);
            self.noted += 1;
        }
    }

    /// The one that came first.
    fn next(&mut self) -> Option<(PeerId, TransferId, Arrival)> {
        let mut waiting = self.node.arrivals();
        waiting.retain(|(peer, id, arrival)| {
            arrival.inbox == INBOX
                && arrival.processed == Processed::No
                && !self.failed.contains(&(*peer, *id))
        });
        waiting
            .into_iter()
            .min_by_key(|(peer, id, arrival)| (arrival.at, self.came.get(&(*peer, *id)).copied()))
    }

    async fn process(
        &mut self,
        peer: PeerId,
        id: TransferId,
        arrival: &Arrival,
    ) -> Result<(), CommandError> {
        let name = units::printable(&arrival.name);
        let mut child = self.shell(peer, id, arrival, &place(arrival)?)?;
        let ended = tokio::select! {
            ended = child.wait() => Some(ended),
            () = tokio::time::sleep(self.limit) => None,
            () = over(&mut self.end) => None,
        };
        let Some(ended) = ended else {
            let why = if self.end.borrow().is_some() {
                "since the node stops".into()
            } else {
                format!("after {}", units::span(self.limit))
            };
            kill(&mut child).await;
            return Err(CommandError::io(
                format!("the command of --exec was ended for {name}, {why}"),
                AGAIN,
            ));
        };
        let ended: ExitStatus = ended.map_err(|error| {
            CommandError::io(format!("the command of --exec is lost: {error}"), AGAIN)
        })?;
        if !ended.success() {
            return Err(CommandError::io(
                format!("the command of --exec failed for {name} ({ended})"),
                AGAIN,
            ));
        }
        let noted = self.node.processed(peer, id).await;
        noted.map(drop).map_err(|error| {
            CommandError::io(
                format!("it could not be noted that a delivery is processed: {error}"),
                AGAIN,
            )
        })
    }

    fn shell(
        &self,
        peer: PeerId,
        id: TransferId,
        arrival: &Arrival,
        place: &Path,
    ) -> Result<Child, CommandError> {
        let failed =
            |error| CommandError::io(format!("the command of --exec can't be run: {error}"), AGAIN);
        let name = self.node.trust().peer(&peer).map(|known| known.name).unwrap_or_default();
        let mut shell = Command::new("/bin/sh");
        // What others said is in variables, and never a part of the command; nor is what it prints
        // taken for what this node says.
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().map_err(failed)?;
        shell
            .args(["-c", &self.command])
            .stdin(Stdio::null())
            .stdout(stderr)
            .kill_on_drop(true)
            .process_group(0);
        shell
            .env("DELIVERY_PLACE", place)
            .env("DELIVERY_NAME", &arrival.name)
            .env("DELIVERY_ID", id.to_string());
        shell
            .env("DELIVERY_PEER", peer.to_string())
            .env("DELIVERY_PEER_NAME", name)
            .env("DELIVERY_INBOX", &arrival.inbox);
        shell.env(
            "DELIVERY_BLAKE3",
            blake3::Hash::from_bytes(arrival.receipt.digest).to_hex().as_str(),
        );
        shell.spawn().map_err(failed)
    }
}

/// The place of the arrival, byte for byte.
fn place(arrival: &Arrival) -> Result<PathBuf, CommandError> {
    let place = &arrival.receipt.place;
    match &arrival.path {
        Some(path) => Ok(path.clone()),
        // An earlier build has noted the printable text alone, and that of two files may be the
        // same: the command would look at another one than that which came.
        None if place.contains(['\\', char::REPLACEMENT_CHARACTER]) || place.len() > EXACT_MOST => {
            let text = format!(
                "the command of --exec is not run for {}: an earlier release took it, and did not \
                 note exactly where it is",
                units::printable(place)
            );
            Err(CommandError::io(text, "look at it yourself"))
        }
        None => Ok(place.into()),
    }
}

/// Returns when it is not waited for any longer.
async fn over(end: &mut watch::Receiver<Option<Instant>>) {
    loop {
        let at = *end.borrow_and_update();
        tokio::select! {
            () = sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => return,
            changed = end.changed() => if changed.is_err() { return },
        }
    }
}

/// Ends a command, and all that it has begun.
async fn kill(child: &mut Child) {
    // None once its end is known: the number may be another's by then.
    if let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // An error means that it has ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait().await;
}
