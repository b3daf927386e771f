//! `estafette run`: one node of a topology in this process, or all of this machine in processes of
//! their own.

use std::io::BufRead;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use estafette::node::OutboxError;
use estafette_page::View;
use estafette_topology::{
    NodeChange, Pending, ReloadError, RouteNews, RunError, RunningNode, Topology,
};
use tokio::sync::mpsc;

use super::once::{ASK_AGAIN, PENDING, given_up};
use super::view::Seen;
use super::watch::{LOOK, Watch};
use crate::arguments::{Global, Paging, RunOptions};
use crate::control::Server;
use crate::error::CommandError;
use crate::event::Event;
use crate::monitor::Monitor;
use crate::output::Output;
use crate::signals::Signals;
use crate::{addresses, page, service, units};

pub(crate) async fn run(
    global: &Global,
    options: &RunOptions,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let watch = Watch::new(&options.topology.file, options.with_parent);
    let document = match super::open(&options.topology.file, global, output) {
        Ok(document) => document,
        Err(faulty) => return faulty.end(),
    };
    match &options.node {
        Some(name) => one(global, options, (document.topology(), watch), name, output).await,
        None => super::children::run(global, options, (document.topology(), watch), output).await,
    }
}

async fn one(
    global: &Global,
    options: &RunOptions,
    (topology, watch): (&Topology, Watch),
    name: &str,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let mut signals = Signals::new()?;
    let mut running = topology.start(name, global.program.registry.clone()).await?;
    let node = running.node().clone();
    let mut monitor = Monitor::new(&node, output);
    // So that `estafette outbox` and the like ask this process.
    let server = Server::start_with(&topology.spool_of(name), &node, Some(running.taps()))?;
    let addrs = addresses::reachable(node.addresses());
    output.event(&Event::Ready { peer: node.peer().to_string(), addrs: &addrs });
    let listens = match &addrs[..] {
        [] => String::new(),
        addrs => format!(" listens at {}", addrs.join(", ")),
    };
    let (shown, short) = (units::printable(name), node.peer().short());
    output.remark(&format!("{shown} ({short}){listens}"));
    tell_of_routes(&mut running, output);
    tell_of_doors(&running, output);
    let page = page(topology, name);
    let tokens = page::tokens(topology.key_of(name))?;
    let seen: Arc<dyn View> = Arc::new(Seen::of(name, running.taps()));
    let behind = page::Behind { view: Some(seen), ..page::Behind::door(tokens) };
    let page = page::serve(&node, page.as_ref(), &running.connected(), behind, output).await?;
    let (parent, has_gone) = mpsc::channel(1);
    if options.with_parent {
        listen_to_parent(parent)?;
    } else if options.once {
        drop(parent);
    }
    super::plan::note(topology, name, &options.topology.file);
    let mut until = Until {
        global,
        name,
        file: &options.topology.file,
        running: &mut running,
        watch,
        with_parent: options.with_parent,
        asked: has_gone,
        alone: options.once && !options.with_parent,
        dead: 0,
    };
    let served = service::serve_topology(
        &node,
        &mut monitor,
        &mut signals,
        global,
        output,
        until.over(output),
    );
    let (served, dead) = (served.await, until.dead);
    drop(page);
    server.finish().await;
    running.shutdown().await;
    if dead > 0 { served.and(Err(given_up(dead))) } else { served }
}

/// The page that the topology says a node has.
fn page(topology: &Topology, name: &str) -> Option<Paging> {
    let http = topology.nodes.get(name)?.http.as_ref()?;
    let token = http.token_file.as_ref().map(|file| topology.at(file));
    let (http, http_host) = (Some(http.listen.clone()), http.hosts.clone());
    Some(Paging { http, http_token_file: token, http_host })
}

/// The end of a node of a topology, apart from signals.
pub(crate) struct Until<'r> {
    global: &'r Global,
    name: &'r str,
    file: &'r Path,
    running: &'r mut RunningNode,
    watch: Watch,
    with_parent: bool,
    /// The questions of the process that started this one; the channel ends with it.
    asked: mpsc::Receiver<()>,
    /// Set if it ends when nothing is left to be done.
    alone: bool,
    /// Deliveries that were given up, in the end.
    dead: u64,
}

impl Until<'_> {
    /// Waits until the node is to end, and answers questions meanwhile.
    pub(crate) async fn over(&mut self, output: &Output) {
        let mut look = tokio::time::interval(LOOK);
        let mut ask = tokio::time::interval(ASK_AGAIN);
        loop {
            tokio::select! {
                _ = ask.tick(), if self.alone => {
                    let pending = told(self.running.pending().await);
                    if pending.open == 0 {
                        self.dead = pending.dead;
                        return;
                    }
                }
                asked = self.asked.recv(), if !self.alone => match asked {
                    Some(()) => {
                        let Pending { open, dead, activity } = told(self.running.pending().await);
                        output.event(&Event::Pending { open, dead, activity });
                    }
                    None => return,
                },
                _ = look.tick() => self.look(output).await,
            }
        }
    }

    /// Reloads the topology, if it has changed.
    async fn look(&mut self, output: &Output) {
        let Some(document) = self.watch.changed(self.global, output) else { return };
        let (change, failed) = match self.running.reload(document.topology()).await {
            Ok(reload) if reload.is_empty() => return,
            Ok(reload) => {
                if !reload.doors.is_empty() {
                    tell_of_doors(self.running, output);
                }
                super::plan::note(document.topology(), self.name, self.file);
                (NodeChange::Reloads(reload).to_string(), false)
            }
            // Whoever started this process starts it again, or stops it.
            Err(ReloadError::Restart { .. } | ReloadError::Gone(_)) if self.with_parent => {
                return;
            }
            Err(error) => (error.to_string(), true),
        };
        let shown = units::printable(&change);
        output.event(&Event::Reloaded { change, failed });
        output.remark(&if failed {
            format!("not reloaded: {shown}")
        } else {
            format!("reloaded: {shown}")
        });
    }
}

/// The work that is still to be done: where that can't be told, there may be some.
fn told(pending: Result<Pending, OutboxError>) -> Pending {
    pending.unwrap_or_else(|error| {
        tracing::debug!(%error, "it can't be told what is open");
        Pending { open: 1, ..Pending::default() }
    })
}

/// Tells which doors are open, and where.
fn tell_of_doors(running: &RunningNode, output: &Output) {
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
fn listen_to_parent(parent: mpsc::Sender<()>) -> Result<(), CommandError> {
    let listen = move || {
        for line in std::io::stdin().lock().lines() {
            let asks = line.is_ok_and(|line| line == PENDING);
            if !asks || parent.blocking_send(()).is_err() {
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
            RunError::Io { .. } => {
                Self::io(error, "another process may run this node; else let this user write there")
            }
            error => Self::io(error, "free some memory and threads"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_told_is_not_done() {
        assert_eq!(told(Err(OutboxError::None)).open, 1);
        assert_eq!(told(Ok(Pending::default())).open, 0);
    }
}
