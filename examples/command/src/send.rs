//! `estafette send`: one delivery, and how it went.

use std::process::ExitCode;

use estafette::SendOptions;
use estafette::node::Direction;

use crate::arguments::{Global, Send};
use crate::attached::Attached;
use crate::control::ByRunning;
use crate::destination::Given;
use crate::detach::deposit;
use crate::ending::{exit_code, finishing, stopped, unsure};
use crate::error::CommandError;
use crate::event::Event;
use crate::given::{destination, given_content};
use crate::left_out::{DELIVERED, LeftOut};
use crate::monitor::{About, Ended, Monitor};
use crate::output::Output;
use crate::signals::Signals;
use crate::turn::Place;
use crate::{attached, control, destination, settings};

pub(crate) async fn run(
    global: &Global,
    options: &Send,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let given = destination(options)?;
    let mut signals = Signals::new()?;
    if options.reading.skip_existing {
        output.remark("reading what is sent, to ask whether it is there already");
    }
    loop {
        // A second node with this key would take the place of its links, and it of ours.
        let by_running = tokio::select! {
            by_running = control::send_by_running(global, deposit(options, &given)?) => by_running?,
            () = signals.next() => return Err(stopped()),
        };
        let pid = match by_running {
            ByRunning::Sending(sending) => {
                match attached::run(global, sending, &mut signals, output).await? {
                    Attached::Ended(code) => return Ok(code),
                    Attached::Stopping(pid) => pid,
                }
            }
            ByRunning::Stopping(pid) => pid,
            ByRunning::Nobody => {
                match alone_if_nobody_else(global, options, &given, &mut signals, output).await? {
                    Some(code) => return Ok(code),
                    None => continue,
                }
            }
        };
        output.remark(&format!(
            "the node that runs with this key (process {pid}) is about to end: waiting for that"
        ));
        tokio::select! {
            () = control::ended(global) => {}
            () = signals.next() => return Err(stopped()),
        }
    }
}

/// By a node of its own; `None` after it has waited for another `send`: a node may run by then.
async fn alone_if_nobody_else(
    global: &Global,
    options: &Send,
    given: &Given,
    signals: &mut Signals,
    output: &Output,
) -> Result<Option<ExitCode>, CommandError> {
    let Some(place) = Place::new(global, given)? else {
        return alone(global, options, given.clone(), signals, output).await.map(Some);
    };
    let Some(_turn) = place.take()? else {
        output.event(&Event::Queued { peer: place.peer.to_string() });
        let hint = "`estafette node`, running with this key, sends several at once";
        output.remark(&format!(
            "another send to {} is under way with this key: waiting for its end; {hint}",
            place.peer.short()
        ));
        tokio::select! {
            waited = place.wait() => return waited.map(|()| None),
            () = signals.next() => return Err(stopped()),
        }
    };
    alone(global, options, given.clone(), signals, output).await.map(Some)
}

/// The options of a delivery that is not stored.
fn transient(global: &Global, options: &Send) -> Result<SendOptions, CommandError> {
    Ok(SendOptions {
        chunk_size: options.chunk_size,
        compression: settings::compression(&global.program.registry, options.compress.as_deref())?,
        expiry: options.expires,
        transient: true,
        stages: options.stages.clone(),
        ..SendOptions::default()
    })
}

/// By a node of its own.
async fn alone(
    global: &Global,
    options: &Send,
    given: Given,
    signals: &mut Signals,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let (paths, reading) = given_content(options)?;
    let source = tokio::select! {
        source = reading.prepare(reading.open(&paths)?) => source?,
        () = signals.next() => return Err(stopped()),
    };
    let name = options.name.clone().filter(|_| !reading.is_stream());
    let name = name.unwrap_or_else(settings::default_name);
    let node = settings::node(global, options.patience)?.name(name).start().await?;
    let mut monitor = Monitor::new(&node, output);
    let to = destination::find(node.trust(), given, None)?.0;
    let transfer = node.send_with(to, source, transient(global, options)?).await?;
    let about =
        About { transfer: transfer.id(), peer: transfer.peer(), direction: Direction::Outgoing };
    let stop = || {
        let node = node.clone();
        tokio::spawn(async move { node.shutdown().await });
    };
    let (mut asked, mut over) = (0, None);
    let ended = loop {
        tokio::select! {
            biased;
            ended = monitor.next() => match (ended, &over) {
                (Some(ended), _) if ended.about.transfer == transfer.id() => break ended,
                (Some(_), _) => {}
                (None, Some(outcome)) => break Ended { about, outcome: Clone::clone(outcome) },
                (None, None) => break Ended { about, outcome: transfer.delivered().await },
            },
            // What happened before may not have been told yet: it is, before the node is down.
            outcome = transfer.delivered(), if over.is_none() => {
                over = Some(outcome);
                stop();
            }
            () = signals.next() => {
                asked += 1;
                match asked {
                    1 => {
                        output.remark(&finishing(global));
                        stop();
                    }
                    2 => transfer.cancel(),
                    _ => return Err(unsure().about(about.transfer, about.peer)),
                }
            }
        }
    };
    // Its news may not have come yet.
    monitor.remark(about, &transfer.status().remarks);
    let concluded = monitor.conclude(&ended);
    let left_out = LeftOut::from(transfer.status().report);
    left_out.tell((about.transfer, about.peer), DELIVERED, output);
    output.report(global, &node);
    node.shutdown().await;
    exit_code(&ended, concluded, &left_out, asked > 0)
}
