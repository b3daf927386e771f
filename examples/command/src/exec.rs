//! `node --exec`: a command for each delivery, which is processed when the command succeeds.

use std::collections::HashSet;
use std::process::Stdio;
use std::time::Duration;

use estafette::node::{Arrival, Direction, NodeEvent, Processed, TransferEvent};
use estafette::{Node, PeerId, TransferId, TransferNews};
use tokio::process::Command;
use tokio::time::timeout;

use crate::error::CommandError;
use crate::output::Output;
use crate::service::INBOX;
use crate::units;

/// Events may be missed where many come at once: so long after the last one it is looked anyway.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Runs `command` for each delivery that is not processed, one after the other, those of earlier processes first. One that fails is told, and
/// tried again when the node is started again.
pub(crate) fn start(node: &Node, command: String, output: &Output) {
    let (node, output, mut events) = (node.clone(), output.clone(), node.events());
    tokio::spawn(async move {
        let mut failed = HashSet::new();
        loop {
            let mut waiting: Vec<_> = node.arrivals();
            waiting.retain(|(peer, id, arrival)| {
                arrival.inbox == INBOX && arrival.processed == Processed::No && !failed.contains(&(*peer, *id))
            });
            // The newest comes first.
            if let Some((peer, id, arrival)) = waiting.pop() {
                if let Err(error) = run(&node, &command, peer, id, &arrival).await {
                    output.error(&error, Some(id.short()));
                    failed.insert((peer, id));
                }
                continue;
            }
            let arrived = async {
                while let Some(event) = events.next().await {
                    let NodeEvent::Transfer(TransferEvent { direction: Direction::Incoming, news, .. }) = event else { continue };
                    if matches!(news, TransferNews::Delivered { .. }) {
                        return true;
                    }
                }
                false
            };
            if timeout(LOOK_AGAIN, arrived).await == Ok(false) {
                return;
            }
        }
    });
}

async fn run(node: &Node, command: &str, peer: PeerId, id: TransferId, arrival: &Arrival) -> Result<(), CommandError> {
    let name = node.trust().peer(&peer).map(|known| known.name).unwrap_or_default();
    let mut shell = Command::new("/bin/sh");
    // What others said is in variables, and never a part of the command.
    shell.args(["-c", command]).stdin(Stdio::null()).kill_on_drop(true);
    shell.env("DELIVERY_PLACE", &arrival.receipt.place).env("DELIVERY_NAME", &arrival.name).env("DELIVERY_ID", id.to_string());
    shell.env("DELIVERY_PEER", peer.to_string()).env("DELIVERY_PEER_NAME", name).env("DELIVERY_INBOX", &arrival.inbox);
    let hint = "the delivery is there and not processed: the command is run again when the node is started again";
    let ended = shell.status().await.map_err(|error| CommandError::io(format!("the command of --exec can't be run: {error}"), hint))?;
    if !ended.success() {
        let text = format!("the command of --exec failed for {} ({ended})", units::printable(&arrival.name));
        return Err(CommandError::io(text, hint));
    }
    let noted = node.processed(peer, id).await;
    noted.map(drop).map_err(|error| CommandError::io(format!("it could not be noted that a delivery is processed: {error}"), hint))
}
