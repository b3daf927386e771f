//! A node that runs until it is stopped: what `estafette receive` and `estafette node` have in
//! common.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use estafette::delivery::FailureKind;
use estafette::node::{Direction, NodeConfig, RelayQuota};
use estafette::{Node, PeerId, Ticket};
use estafette_actors::sink::{self, FileSink};

use crate::arguments::{Global, InboxTable, OnConflict, OutwardLinks, Paging, Relaying, Taking};
use crate::control::{Server, take_spool};
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::exec::Exec;
use crate::left_out::DELIVERED;
use crate::monitor::Monitor;
use crate::output::Output;
use crate::per_peer::{self, PerPeer};
use crate::settings::INBOX;
use crate::signals::Signals;
use crate::{addresses, connection, exec, into, known_folders, page, settings, to_stdout, units};

const LOOK_AT_SPOOL: Duration = Duration::from_secs(1);

pub(crate) struct Service<'a> {
    /// The folder that deliveries go to, if they are taken.
    pub(crate) into: Option<&'a Path>,
    /// Set if one delivery goes to stdout.
    pub(crate) to_stdout: bool,
    pub(crate) listen: Vec<String>,
    pub(crate) name: Option<&'a str>,
    pub(crate) taking: &'a Taking,
    pub(crate) patience: Option<Duration>,
    /// The quotas of what is kept for others.
    pub(crate) relaying: Option<&'a Relaying>,
    /// With whom a link is kept up.
    pub(crate) connect: &'a [String],
    /// The inboxes of its configuration, beside the one for `into`.
    pub(crate) inboxes: &'a [InboxTable],
    /// The page at which it can be looked at.
    pub(crate) page: Option<&'a Paging>,
    /// The security of the doors that clients come in by.
    #[cfg(feature = "doors")]
    pub(crate) secured: Option<&'a crate::arguments::Secured>,
    #[cfg(feature = "grpc")]
    pub(crate) grpc: Option<&'a crate::arguments::Grpc>,
    /// The webhooks, for what is posted to somebody else.
    #[cfg(feature = "webhooks")]
    pub(crate) posting: Option<&'a crate::arguments::Posting>,
    /// Set if it ends with the first delivery it takes.
    pub(crate) once: bool,
    /// The command that is run for each delivery, and the longest that it may take.
    pub(crate) exec: Option<(&'a str, Duration)>,
}

impl Service<'_> {
    /// Says who the node is, and where its inboxes are.
    fn introduce(
        &self,
        node: &Node,
        name: &str,
        global: &Global,
        output: &Output,
    ) -> Result<(), CommandError> {
        let into = self.into.or_else(|| self.to_stdout.then_some(Path::new("stdout")));
        let into = into.map(|into| (INBOX, format!("deliveries go to {}", settings::shown(into))));
        let others = self.inboxes.iter().map(|inbox| (&*inbox.name, inbox.goes_to()));
        let mut inboxes = into.into_iter().chain(others);
        match inboxes.next() {
            Some((inbox, goes_to)) => {
                let ticket = ticket(node, inbox, self.taking)?;
                announce(node, &ticket, name, &goes_to, self.taking, output);
            }
            None => {
                output.event(&Event::Ready {
                    peer: node.peer().to_string(),
                    addrs: &addresses::dialled(node.addresses()),
                });
                output.remark(&format!(
                    "{} ({}) delivers what is in the outbox",
                    units::printable(name),
                    node.peer().short()
                ));
            }
        }
        for (inbox, goes_to) in inboxes {
            let ticket = ticket(node, inbox, self.taking)?;
            announce_inbox(node, &ticket, &goes_to, self.taking, output);
        }
        for into in self.inboxes.iter().filter_map(InboxTable::folder) {
            known_folders::remember(global, &into);
        }
        if let Some(quota) = self.relaying.and_then(Relaying::quota) {
            announce_relay(node, name, quota, output);
        }
        Ok(())
    }
}

/// The limits of its node.
pub(crate) fn config(global: &Global, service: &Service<'_>) -> Result<NodeConfig, CommandError> {
    let mut config = settings::config(global, service.patience)?;
    if let Some((relaying, quota)) =
        service.relaying.and_then(|relaying| Some((relaying, relaying.quota()?)))
    {
        (config.relay, config.outbox_bytes) = (Some(quota), relaying.relay_total);
    }
    Ok(config)
}

pub(crate) async fn run(
    global: &Global,
    service: &Service<'_>,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let mut signals = Signals::new()?;
    if let Some(code) = service.say_faults(global, output) {
        return Ok(code);
    }
    let (per_peer, into) = (service.into.and_then(per_peer::split), service.folder());
    let folder = into.as_ref().map(|into| folder(global, into, service.taking)).transpose()?;
    let per_peer = per_peer.map(|(parent, pattern)| {
        let (taking, global) = (service.taking.clone(), global.clone());
        PerPeer::new(parent, pattern, move |into| checked(&global, into, &taking))
    });
    let name = service.name.map_or_else(settings::default_name, str::to_owned);
    let mut builder = settings::node_with(global, config(global, service)?)?
        .name(&name)
        .spool(take_spool(global).await?);
    builder = service.listen.iter().fold(builder, |builder, listen| builder.listen(listen));
    builder = match (per_peer.clone(), folder) {
        (Some(per_peer), _) => builder.receive(INBOX, per_peer),
        (None, Some(folder)) => builder.receive(INBOX, folder),
        (None, None) if service.to_stdout => builder.receive(INBOX, to_stdout::inbox()?),
        (None, None) => builder,
    };
    for inbox in service.inboxes {
        builder = builder.receive(&inbox.name, inbox.make(&global.program.registry)?);
    }
    let node = builder.start().await?;
    if let Some(per_peer) = &per_peer {
        per_peer.know(node.trust().clone());
    }
    if let Some(into) = into {
        known_folders::remember(global, &into);
    }
    let mut monitor = Monitor::new(&node, output);
    remark_on_itself(&node, output);
    let connect = connection::find(node.trust(), Some(node.peer()), service.connect);
    let connect = connect.map_err(|mut faults| faults.swap_remove(0))?;
    let server = Server::start(&settings::spool_path(global)?, &node)?;
    service.introduce(&node, &name, global, output)?;
    let tokens = page::tokens(settings::key_path(global)?)?;
    let doors = open_doors(&node, service, &connect, tokens, output).await?;
    #[cfg(feature = "webhooks")]
    let webhooks =
        crate::webhook::open(&node, service.posting, settings::key_path(global)?, output).await?;
    connection::keep(&node, connect, output);
    let exec = service.exec.map(|exec| exec::start(&node, exec, output));
    let ended =
        serve(&node, &mut monitor, &mut signals, (global, exec.as_ref()), service.once, output)
            .await;
    drop(doors);
    #[cfg(feature = "webhooks")]
    futures_util::future::join_all(webhooks.into_iter().map(|webhook| webhook.close())).await;
    // While this holds the spool no other node runs it for the same delivery.
    if let Some(exec) = exec {
        exec.finish(global.drain, &mut signals).await;
    }
    server.finish().await;
    ended
}

/// Opens the page and the doors, which are there until what is returned is dropped.
async fn open_doors(
    node: &Node,
    service: &Service<'_>,
    connect: &[PeerId],
    tokens: page::Tokens,
    output: &Output,
) -> Result<[Option<page::Serving>; 2], CommandError> {
    #[cfg(feature = "grpc")]
    let calls = crate::grpc::beside(node, service.grpc, service.page, &tokens, service.secured)?;
    #[cfg(feature = "grpc")]
    let is_beside = calls.is_some();
    #[cfg(feature = "grpc")]
    let grpc = match calls {
        Some(_) => None,
        None => crate::grpc::open(node, service.grpc, &tokens, service.secured, output).await?,
    };
    #[cfg(not(feature = "grpc"))]
    let grpc = None;
    let behind = page::Behind {
        #[cfg(feature = "doors")]
        secured: service.secured,
        #[cfg(feature = "grpc")]
        calls,
        ..page::Behind::door(tokens)
    };
    let page = page::serve(node, service.page, connect, behind, output).await?;
    #[cfg(feature = "grpc")]
    if let Some(serving) = page.as_ref().filter(|_| is_beside) {
        crate::grpc::tell(serving, output);
    }
    Ok([page, grpc])
}

/// A node that trusts itself was given the id of its own key.
fn remark_on_itself(node: &Node, output: &Output) {
    if node.trust().find_known(&node.peer().to_string()).is_ok() {
        let (label, id) = (units::printable(&node.trust().label(&node.peer())), node.peer());
        output.remark(&format!(
            "This node is trusted as a peer of itself, as {label}, which does nothing: estafette \
             trust remove {id}. If another machine was meant, it has a copy of this node's key, \
             and needs one of its own."
        ));
    }
}

async fn serve(
    node: &Node,
    monitor: &mut Monitor,
    signals: &mut Signals,
    (global, exec): (&Global, Option<&Exec>),
    once: bool,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let mut asked = 0;
    let mut cut_off = false;
    let mut look = tokio::time::interval(LOOK_AT_SPOOL);
    loop {
        tokio::select! {
            ended = monitor.next() => {
                let Some(ended) = ended else { break };
                // By this node; what its other end has left broken off is not.
                let by_stopping = matches!(&ended.outcome, Err(failure) if failure.kind == FailureKind::Shutdown);
                let left_out = monitor.left_out(&ended.about.transfer);
                let concluded = monitor.conclude(&ended);
                // Somebody else's that is refused does not end the one that is under way.
                let goes_on = concluded.is_err() && monitor.incoming() > 0;
                if once && ended.about.direction == Direction::Incoming && !goes_on {
                    output.report(global, node);
                    node.shutdown_within(global.drain).await;
                    return concluded.map(|()| ExitCode::SUCCESS);
                }
                match concluded {
                    Ok(()) => {
                        monitor.unread.fetch_add(left_out.failed, Ordering::Relaxed);
                        left_out.tell((ended.about.transfer, ended.about.peer), DELIVERED, output);
                    }
                    Err(error) => {
                        cut_off |= asked > 0 && by_stopping;
                        output.error(&error);
                    }
                }
            }
            _ = look.tick() => {
                if let Some(why) = node.spool_failure() {
                    output.report(global, node);
                    node.stop().await;
                    let hint = "look after the disk, then start it again: `estafette doctor` looks at the spool, and what was stored is kept";
                    return Err(CommandError::io(format!("stopped, since the spool has failed: {why}"), hint));
                }
            }
            () = signals.next() => {
                asked += 1;
                if let Some(exec) = exec {
                    exec.end_within(if asked > 1 { Duration::ZERO } else { global.drain });
                }
                cut_off |= asked > 1 && monitor.running() > 0;
                if asked > 2 {
                    break;
                }
                stop(node, exec, asked == 1, monitor.running(), global, output);
            }
        }
    }
    output.report(global, node);
    if cut_off || once {
        let what = if cut_off { "deliveries were cut off" } else { "nothing was delivered" };
        return Err(CommandError::new(
            ErrorKind::Cancelled,
            format!("stopped by a signal: {what}"),
            "start it again to go on",
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// A node of a topology, until it is stopped, or over in the way of topologies.
pub(crate) async fn serve_topology(
    node: &Node,
    monitor: &mut Monitor,
    signals: &mut Signals,
    global: &Global,
    output: &Output,
    over: impl Future<Output = ()>,
) -> Result<ExitCode, CommandError> {
    let serving = serve(node, monitor, signals, (global, None), false, output);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        served = &mut serving => return served,
        () = over => {}
    }
    stop(node, None, false, 0, global, output);
    serving.await
}

/// Begins to stop the node; the monitor ends with it. What a command has done is noted in the
/// spool, of which the node lets go when it has stopped: so the command ends first.
fn stop(
    node: &Node,
    exec: Option<&Exec>,
    gently: bool,
    running: usize,
    global: &Global,
    output: &Output,
) {
    if gently && running > 0 {
        let (running, limit) =
            (units::count(running as u64, "delivery"), units::span(global.drain));
        output.remark(&format!(
            "finishing {running}, for {limit} at most; once more to stop at once"
        ));
    }
    let (node, over, limit) = (node.clone(), exec.map(Exec::over), global.drain);
    tokio::spawn(async move {
        if let Some(over) = over {
            over.await;
        }
        // A node of a topology has a configuration of its own.
        node.shutdown_within(if gently { limit } else { Duration::ZERO }).await;
    });
}

fn folder(global: &Global, into: &Path, taking: &Taking) -> Result<sink::Folder, CommandError> {
    let folder = checked(global, into, taking)?;
    folder.prepare()?;
    Ok(folder)
}

pub(crate) fn checked(
    global: &Global,
    into: &Path,
    taking: &Taking,
) -> Result<sink::Folder, CommandError> {
    known_folders::check(global, into)?;
    if !taking.into_home {
        into::check(global, into)?;
    }
    Ok(folder_at(into, taking))
}

fn folder_at(into: &Path, taking: &Taking) -> sink::Folder {
    let policy = match taking.on_conflict {
        OnConflict::Refuse => sink::OnConflict::Refuse,
        OnConflict::Rename => sink::OnConflict::Rename,
        OnConflict::Replace => sink::OnConflict::Replace,
        OnConflict::Merge => sink::OnConflict::Merge,
    };
    let folder = FileSink::into_dir(into)
        .on_conflict(policy)
        .dotfiles(taking.dotfiles)
        .max_bytes(taking.max_bytes.unwrap_or(u64::MAX));
    let folder = folder.outward_links(taking.links == OutwardLinks::Keep).access_lists(taking.acls);
    taking.keep_free.into_iter().fold(folder, sink::Folder::keep_free)
}

fn ticket(node: &Node, inbox: &str, taking: &Taking) -> Result<Ticket, CommandError> {
    let addresses = if taking.advertise.is_empty() {
        addresses::reachable(node.addresses())
    } else {
        taking.advertise.clone()
    };
    if addresses.len() > Ticket::ADDRESSES {
        let most = Ticket::ADDRESSES;
        let text = format!("a ticket has {most} addresses at most, not {}", addresses.len());
        return Err(CommandError::usage(text, "say fewer with --advertise"));
    }
    Ok(node.standing_ticket(addresses, inbox, taking.redeemers, taking.valid)?)
}

/// The addresses at which others dial the node.
fn dialled(node: &Node, taking: &Taking) -> Vec<String> {
    match &taking.advertise[..] {
        [] => addresses::dialled(node.addresses()),
        said => said.to_vec(),
    }
}

fn announce_relay(node: &Node, name: &str, quota: RelayQuota, output: &Output) {
    let addresses: String = addresses::reachable(node.addresses())
        .iter()
        .map(|address| format!(" --addr {address}"))
        .collect();
    let (packages, bytes) =
        (units::count(quota.packages as u64, "delivery"), units::bytes(quota.bytes));
    output.remark(&format!(
        "It is a relay: of each sender it keeps {packages} and {bytes} at most, for receivers who \
         are trusted here."
    ));
    output.remark(&format!(
        "Senders and receivers say: estafette trust add {} --name {}{addresses} --relay-only",
        node.peer(),
        units::printable(name)
    ));
}

/// Says where a further inbox is. What a ticket is was said with the first.
fn announce_inbox(node: &Node, ticket: &Ticket, goes_to: &str, taking: &Taking, output: &Output) {
    let (text, addresses) = (ticket.to_string(), dialled(node, taking));
    output.event(&Event::of_ticket(ticket, (&text, &addresses)));
    let inbox = units::printable(ticket.inbox());
    output.remark(&format!("The ticket for the inbox {inbox}; {goes_to}:"));
    output.result(&text);
}

fn announce(
    node: &Node,
    ticket: &Ticket,
    name: &str,
    goes_to: &str,
    taking: &Taking,
    output: &Output,
) {
    let (text, addresses) = (ticket.to_string(), dialled(node, taking));
    output.event(&Event::of_ticket(ticket, (&text, &addresses)));
    let valid = units::span(taking.valid);
    let shown = addresses.join(", ");
    let (named, all) = (ticket.addresses().len(), addresses.len());
    let named =
        if named < all { format!(" (the ticket names the first {named})") } else { String::new() };
    output.remark(&format!(
        "{} ({}) listens at {shown}{named}; {goes_to}",
        units::printable(name),
        node.peer().short(),
    ));
    output.remark(&format!(
        "The ticket lets {} in, within {valid}: to deliver to the inbox {}, again and again, \
         until `estafette trust remove`.\nStarting this again gives out the same one while nobody \
         has used it; `estafette ticket list` and `ticket revoke` look after it.\nOn the other \
         machine: estafette send PATH... -    and paste it there, so that nobody sees it in a \
         list of processes\n",
        units::count(taking.redeemers.into(), "sender"),
        units::printable(ticket.inbox())
    ));
    output.result(&text);
    if addresses::lead_nowhere(&addresses) {
        output.remark(
            "Only this machine can dial that: it listens, or has addresses, nowhere else; \
             --listen and --advertise say others.",
        );
    }
    output.remark("");
}
