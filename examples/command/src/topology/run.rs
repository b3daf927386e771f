//! `estafette run`: one node of a topology in this process, or all of this machine in processes of
//! their own.

use std::io::BufRead;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use estafette::node::OutboxError;
use estafette_page::View;
use estafette_topology::{
    Document, NodeChange, Pending, Reload, ReloadError, RouteNews, RunError, RunningNode,
};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::accepted;
use super::once::{ASK_AGAIN, PENDING, RELOAD, given_up, held_back, left_out, stopped};
use super::reload::{at_fault, told as told_file};
use super::tried::{page_of, unusable};
use super::view::Seen;
use super::watch::{LOOK, Watch};
use crate::arguments::{Global, RunOptions};
use crate::control::{Asked, Outcome, Reply, Server, Topological, reloads};
use crate::error::{CommandError, ErrorKind};
use crate::event::{Event, StillToDo};
use crate::hang_up::HangUp;
use crate::monitor::Monitor;
use crate::output::Output;
use crate::signals::Signals;
use crate::{addresses, page, service, units};

pub(crate) async fn run(
    global: &Global,
    options: &RunOptions,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let file = &options.topology.file;
    let watch = Watch::new(file, options.with_parent);
    let document = match (&options.applied, &options.accepted) {
        (Some(text), _) => accepted::read(text, file)?,
        (None, text) => match super::open_as(text.as_deref(), file, global, output) {
            Ok(document) => document,
            Err(faulty) => return faulty.end(),
        },
    };
    match &options.node {
        Some(name) => one(global, options, (&document, watch), name, output).await,
        None => super::children::run(global, options, (&document, watch), output).await,
    }
}

fn tell_of_node(name: &str, node: &estafette::Node, output: &Output) {
    let addrs = addresses::dialled(node.addresses());
    output.event(&Event::Ready { peer: node.peer().to_string(), addrs: &addrs });
    let listens = match &addrs[..] {
        [] => String::new(),
        addrs => format!(" listens at {}", addrs.join(", ")),
    };
    let (shown, short) = (units::printable(name), node.peer().short());
    output.remark(&format!("{shown} ({short}){listens}"));
}

async fn one(
    global: &Global,
    options: &RunOptions,
    (document, watch): (&Document, Watch),
    name: &str,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let (mut signals, hang_up) = Signals::of_reloading()?;
    let topology = document.topology();
    let page = page_of(topology, name);
    page::look_at_token(page.as_ref())?;
    let mut running = topology.start(name, global.program.registry.clone()).await?;
    let node = running.node().clone();
    let mut monitor = Monitor::new(&node, output);
    // So that `estafette outbox` and the like ask this process.
    let (reloads, asked) = reloads();
    let of = Topological { taps: Some(running.taps()), reloads: Some(reloads) };
    let server = Server::start_with(&topology.spool_of(name), Some(&node), of)?;
    tell_of_node(name, &node, output);
    tell_of_routes(&mut running, output);
    tell_of_doors(&running, &topology.key_of(name), output);
    let tokens = page::tokens(topology.key_of(name))?;
    let seen: Arc<dyn View> = Arc::new(Seen::of(name, running.taps()));
    let behind = page::Behind { view: Some(seen), ..page::Behind::door(tokens) };
    let page = page::serve(&node, page.as_ref(), &running.connected(), behind, output).await?;
    let (parent, told) = mpsc::channel(1);
    if options.with_parent {
        listen_to_parent(parent)?;
    } else if options.once {
        drop(parent);
    }
    super::plan::note(document, name);
    if options.with_parent {
        // It is up, as the file says.
        output.event(&Event::Reloaded { change: String::new(), failed: false, kind: None });
    }
    let mut until = Until {
        global,
        name,
        file: &options.topology.file,
        accepted: options.accepted.as_deref(),
        running: &mut running,
        watch,
        with_parent: options.with_parent,
        told,
        hang_up,
        asked,
        alone: options.once && !options.with_parent,
        is_done: false,
        dead: 0,
        held: 0,
        unread: Arc::clone(&monitor.unread),
    };
    let over = until.over(output);
    let served =
        service::serve_topology(&node, &mut monitor, &mut signals, global, output, over).await;
    let end = until.end(output);
    drop(page);
    server.finish().await;
    running.shutdown().await;
    match (served, end) {
        (Ok(_), Some(error)) => Err(error),
        (served, _) => served,
    }
}

/// A word of the process that started this one.
enum Told {
    Pending,
    Reload,
}

/// The end of a node of a topology, apart from signals.
pub(crate) struct Until<'r> {
    global: &'r Global,
    name: &'r str,
    file: &'r Path,
    /// The file with the text that whoever started this process has accepted.
    accepted: Option<&'r Path>,
    running: &'r mut RunningNode,
    watch: Watch,
    with_parent: bool,
    /// The words of the process that started this one; the channel ends with it.
    told: mpsc::Receiver<Told>,
    hang_up: HangUp,
    /// Reloads that others ask for.
    asked: mpsc::Receiver<Asked>,
    /// Set if it ends when nothing is left to be done.
    alone: bool,
    /// Set if it has ended for that.
    is_done: bool,
    /// Deliveries that were given up, in the end.
    dead: u64,
    /// Routes that send nothing, as their source has become empty.
    held: u64,
    /// Entries that are not in what was delivered, since they could not be read.
    unread: Arc<AtomicU64>,
}

impl Until<'_> {
    /// Waits until the node is to end, and answers questions meanwhile.
    pub(crate) async fn over(&mut self, output: &Output) {
        let mut look = tokio::time::interval(LOOK);
        let mut ask = tokio::time::interval(ASK_AGAIN);
        // A look at much takes longer.
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ask.tick(), if self.alone => {
                    let pending = self.pending().await;
                    if pending.open == 0 {
                        (self.is_done, self.dead) = (true, pending.dead);
                        return;
                    }
                }
                told = self.told.recv(), if !self.alone => match told {
                    Some(Told::Pending) => {
                        let pending = self.pending().await;
                        self.tell_pending(pending, output);
                    }
                    Some(Told::Reload) => {
                        let document = match self.accepted {
                            Some(text) => accepted::read(text, self.file).map(Some),
                            None => Ok(self.watch.look(self.global, output)),
                        };
                        match document {
                            Ok(document) => drop(self.reload(document, output).await),
                            Err(error) => self.tell(&Outcome::failed(self.name, &error), output),
                        }
                    }
                    None => return,
                },
                () = self.hang_up.reload(), if !self.with_parent => {
                    if let Some(document) = self.watch.look(self.global, output) {
                        self.reload(Some(document), output).await;
                    }
                }
                Some(asked) = self.asked.recv() => self.answer(asked, output).await,
                // Who has started it looks for it.
                _ = look.tick(), if !self.with_parent => {
                    if let Some(document) = self.watch.changed(self.global, output) {
                        self.reload(Some(document), output).await;
                    }
                }
            }
        }
    }

    /// Returns the error of a run that was to end when all is delivered, and has not done it.
    fn end(&self, output: &Output) -> Option<CommandError> {
        if self.with_parent {
            // Which deliveries have ended while it was stopped, too.
            self.tell_pending(Pending { held: self.held, ..Pending::default() }, output);
        }
        let unread = self.unread.load(Ordering::Relaxed);
        if self.alone && !self.is_done {
            Some(stopped())
        } else if self.dead > 0 {
            Some(given_up(self.dead))
        } else if self.is_done && self.held > 0 {
            Some(held_back(self.held))
        } else {
            (self.is_done && unread > 0).then(|| left_out(unread))
        }
    }

    /// The work that is still to be done. A node that stops can't tell, and holds back what it did.
    async fn pending(&mut self) -> Pending {
        let pending = told_of(self.running.pending().await, self.held);
        self.held = pending.held;
        pending
    }

    /// Tells who has started this process what is still to be done.
    fn tell_pending(&self, pending: Pending, output: &Output) {
        let Pending { open, dead, held, activity } = pending;
        let unread = self.unread.load(Ordering::Relaxed);
        output.event(&Event::Pending(StillToDo { open, dead, activity, unread, held }));
    }

    /// Reloads the topology for somebody who asks for it.
    async fn answer(&mut self, asked: Asked, output: &Output) {
        if self.with_parent || asked.file != told_file(self.file) {
            return asked.tell(Ok(vec![Reply::NotOfIt]));
        }
        let Some(document) = self.watch.look(self.global, output) else {
            return asked.tell(Err(at_fault(self.file)));
        };
        let outcome = self.reload(Some(document), output).await;
        let replies = Some(outcome).filter(|outcome| !outcome.change.is_empty());
        asked.tell(Ok(replies.map(Reply::Reloaded).into_iter().collect()));
    }

    /// Reloads the topology, if there is one, and tells what has come of it; who has started this
    /// process hears of nothing, too.
    async fn reload(&mut self, document: Option<Document>, output: &Output) -> Outcome {
        let reloaded = match &document {
            Some(document) => self.running.reload(document.topology()).await,
            None => Ok(Reload::default()),
        };
        let outcome = match (reloaded, &document) {
            (Ok(reload), Some(document)) => {
                super::plan::note(document, self.name);
                if !reload.doors.is_empty() {
                    let key = document.topology().key_of(self.name);
                    tell_of_doors(self.running, &key, output);
                }
                let node = self.name.to_owned();
                Outcome { node, change: NodeChange::Reloads(reload).to_string(), kind: None }
            }
            // Whoever started this process starts it again, or has told it to end already.
            (Err(ReloadError::Restart { .. } | ReloadError::Gone(_)), _) if self.with_parent => {
                let kind = Some(ErrorKind::Refused);
                Outcome { node: self.name.to_owned(), change: String::new(), kind }
            }
            (Err(error), _) => Outcome::failed(self.name, &error.into()),
            (Ok(_), None) => {
                Outcome { node: self.name.to_owned(), change: String::new(), kind: None }
            }
        };
        if !outcome.change.is_empty() || self.with_parent {
            self.tell(&outcome, output);
        }
        outcome
    }

    /// Tells what has come of a reload.
    fn tell(&self, outcome: &Outcome, output: &Output) {
        let Outcome { change, kind, .. } = outcome;
        let failed = kind.is_some();
        let shown = units::printable(change);
        output.event(&Event::Reloaded { change: change.clone(), failed, kind: *kind });
        output.remark(&if failed {
            format!("not reloaded: {shown}")
        } else {
            format!("reloaded: {shown}")
        });
    }
}

/// The work that is still to be done: where that can't be told, there may be some.
fn told_of(pending: Result<Pending, OutboxError>, held: u64) -> Pending {
    pending.unwrap_or_else(|error| {
        tracing::debug!(%error, "it can't be told what is open");
        Pending { open: 1, held, ..Pending::default() }
    })
}

/// Tells which doors are open, and where; and which webhooks are not, for which something waits: in
/// a reload something may have come until one was closed.
#[cfg_attr(not(feature = "webhooks"), expect(unused_variables, reason = "none has a queue"))]
fn tell_of_doors(running: &RunningNode, key: &Path, output: &Output) {
    #[cfg(feature = "webhooks")]
    crate::webhook::tell_of_unopened(key.to_owned());
    for (name, addr) in running.doors() {
        output.event(&Event::Door { name: &name, addr: &addr });
        output.remark(&format!(
            "Clients come in by the door {} at {addr}, with a token",
            units::printable(&name)
        ));
    }
}

/// Tells what routes do, as long as the node runs.
fn tell_of_routes(running: &mut RunningNode, output: &Output) {
    let (mut events, output) = (running.events(), output.clone());
    tokio::spawn(async move {
        loop {
            let event = match events.recv().await {
                Ok(event) => event,
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => continue,
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            };
            let (route, shown) = (&*event.route, units::printable(&event.route));
            match &event.news {
                RouteNews::Sent { id, name, to } => {
                    let transfer = id.short();
                    output.event(&Event::Routed { route, transfer, name, to });
                    let [name, to] = [name, to].map(|text| units::printable(text));
                    output.remark(&format!("route {shown}: {name} goes to {to}"));
                }
                RouteNews::Removed { entry } => {
                    output.event(&Event::RouteRemoved { route, name: entry });
                    let entry = units::printable(entry);
                    output.remark(&format!("route {shown}: {entry} is delivered, and removed"));
                }
                RouteNews::Moved { entry, from, why } => {
                    output.event(&Event::RouteMoved { route, name: entry, from, message: why });
                    let [entry, from, why] = [entry, from, why].map(|text| units::printable(text));
                    output.remark(&format!("route {shown}: {entry} is taken from {from}: {why}"));
                }
                RouteNews::Failed { why, again } => {
                    let seconds = again.as_secs();
                    output.event(&Event::RouteFailed { route, message: why, seconds });
                    let (why, again) = (units::printable(why), units::span(*again));
                    output.remark(&format!("route {shown}: {why}; tried again in {again}"));
                }
                _ => {}
            }
        }
    });
}

/// Reads the questions of the process that started this one, on a thread of its own: the channel
/// ends when that process does.
fn listen_to_parent(parent: mpsc::Sender<Told>) -> Result<(), CommandError> {
    let listen = move || {
        for line in std::io::stdin().lock().lines() {
            let told = match line.as_deref() {
                Ok(PENDING) => Told::Pending,
                Ok(RELOAD) => Told::Reload,
                _ => return,
            };
            if parent.blocking_send(told).is_err() {
                return;
            }
        }
    };
    let started = std::thread::Builder::new().name("parent".into()).spawn(listen);
    started.map(drop).map_err(|error| {
        CommandError::io(format!("no thread could be started: {error}"), "free some memory")
    })
}

impl From<RunError> for CommandError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Start(error) => Self {
                hint: "change that of this node in the topology".into(),
                ..Self::from(error)
            },
            RunError::Trust(error) => error.into(),
            RunError::Key { .. } => Self::io(
                error,
                "change `key` of this node in the topology, or `state` above the tables",
            ),
            RunError::Door { .. } => {
                Self::io(error, "choose another address in the topology, or mend what is named")
            }
            RunError::Unknown { .. } => Self::usage(error, "name one of them with --node"),
            RunError::OtherKey { .. } | RunError::Inbox { .. } => {
                Self::usage(error, "change it in the topology")
            }
            RunError::Outbox { .. } => Self::io(error, "see whether its spool can be read"),
            RunError::Io { .. } => {
                Self::io(error, "another process may run this node; else let this user write there")
            }
            error => Self::io(error, "free some memory and threads"),
        }
    }
}

impl From<ReloadError> for CommandError {
    fn from(error: ReloadError) -> Self {
        let message = error.to_string();
        let why = match error {
            ReloadError::Make(error) => unusable(error),
            ReloadError::Outbox(error) => error.into(),
            ReloadError::Trust(error) => error.into(),
            ReloadError::Directory(_) => Self::usage("", "choose another name in the topology"),
            _ => Self::new(ErrorKind::Refused, "", "load it again later"),
        };
        Self { message, ..why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_told_is_not_done() {
        let pending = told_of(Err(OutboxError::None), 7);
        assert_eq!((pending.open, pending.held), (1, 7));
        assert_eq!(told_of(Ok(Pending::default()), 7), Pending::default());
    }
}
