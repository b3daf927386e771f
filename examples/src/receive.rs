//! `estafette receive`: a folder that takes deliveries.

use std::process::ExitCode;
use std::time::Duration;

use estafette::{Node, Ticket};
use estafette_actors::sink::{self, FileSink};

use crate::arguments::{Global, OnConflict, Receive};
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::monitor::Monitor;
use crate::output::Output;
use crate::signals::Signals;
use crate::{addresses, settings, units};

/// The inbox of the command: there is one.
const INBOX: &str = "files";

const LOOK_AT_TRUST: Duration = Duration::from_secs(1);

pub(crate) async fn run(global: &Global, options: &Receive, output: &Output) -> Result<ExitCode, CommandError> {
    let mut signals = Signals::new()?;
    let folder = folder(options)?;
    let name = options.name.clone().unwrap_or_else(settings::default_name);
    let node = settings::node(global, options.patience)?.name(&name).listen(&options.listen).start().await?;
    node.receive(INBOX, folder).map_err(|error| CommandError::io(error, "the log (-v) says more"))?;
    let mut monitor = Monitor::new(&node, output);
    let ticket = ticket(&node, options)?;
    announce(&node, &ticket, &name, options, output);
    watch_trust(&node);
    serve(&node, &mut monitor, &mut signals, global, options, output).await
}

async fn serve(
    node: &Node,
    monitor: &mut Monitor,
    signals: &mut Signals,
    global: &Global,
    options: &Receive,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let mut asked = 0;
    let mut cut_off = false;
    loop {
        tokio::select! {
            ended = monitor.next() => {
                let Some(ended) = ended else { break };
                let concluded = monitor.conclude(&ended);
                if options.once {
                    output.report(global, node);
                    node.shutdown().await;
                    return concluded.map(|()| ExitCode::SUCCESS);
                }
                if let Err(error) = concluded {
                    cut_off |= asked > 0;
                    output.error(&error, Some(ended.transfer.to_string()));
                }
            }
            () = signals.next() => {
                asked += 1;
                if asked == 1 {
                    if monitor.running() > 0 {
                        let limit = units::span(global.drain);
                        output.remark(&format!("finishing {}, for {limit} at most; once more to stop at once", units::count(monitor.running() as u64, "delivery")));
                    }
                    let node = node.clone();
                    // The monitor ends with the node.
                    tokio::spawn(async move { node.shutdown().await });
                } else {
                    monitor.transfers().for_each(|transfer| node.cancel(transfer));
                    cut_off |= monitor.running() > 0;
                    if asked > 2 { break }
                }
            }
        }
    }
    if cut_off || options.once {
        let what = if cut_off { "deliveries were cut off" } else { "nothing was delivered" };
        return Err(CommandError::new(ErrorKind::Cancelled, format!("stopped by a signal: {what}"), "start it again to receive the rest"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Closes the links of peers that `estafette trust remove` takes out meanwhile. New links look for themselves.
fn watch_trust(node: &Node) {
    let trust = node.trust().clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(LOOK_AT_TRUST);
        loop {
            tick.tick().await;
            let trust = trust.clone();
            let refreshed = tokio::task::spawn_blocking(move || trust.refresh()).await;
            if let Ok(Err(error)) = refreshed {
                tracing::warn!(%error, "changes of the trust could not be read");
            }
        }
    });
}

fn folder(options: &Receive) -> Result<sink::Folder, CommandError> {
    let policy = match options.on_conflict {
        OnConflict::Refuse => sink::OnConflict::Refuse,
        OnConflict::Rename => sink::OnConflict::Rename,
        OnConflict::Replace => sink::OnConflict::Replace,
    };
    let folder = FileSink::into_dir(&options.into).on_conflict(policy).max_bytes(options.max_bytes.unwrap_or(u64::MAX));
    folder.prepare()?;
    Ok(folder)
}

fn ticket(node: &Node, options: &Receive) -> Result<Ticket, CommandError> {
    let addresses = if options.advertise.is_empty() { addresses::reachable(node.addresses()) } else { options.advertise.clone() };
    Ok(node.trust().issue(node.peer(), addresses, INBOX, options.redeemers, options.valid)?)
}

fn announce(node: &Node, ticket: &Ticket, name: &str, options: &Receive, output: &Output) {
    let (text, addresses) = (ticket.to_string(), ticket.addresses());
    output.event(&Event::Ticket {
        ticket: &text,
        peer: node.peer().to_string(),
        addr: addresses.first().map_or("", String::as_str),
        addrs: addresses,
        inbox: ticket.inbox(),
    });
    let (into, valid) = (settings::shown(&options.into), units::span(options.valid));
    output.remark(&format!(
        "{} ({}) listens at {}; deliveries go to {into}",
        units::printable(name),
        node.peer().short(),
        addresses.join(", ")
    ));
    output.remark(&format!(
        "The ticket, for {}, valid for {valid}; on the other machine: estafette send PATH... TICKET\n",
        units::count(options.redeemers.into(), "sender")
    ));
    output.result(&text);
    output.remark("");
}
