//! Answers questions about a node's outbox, whether they came by the socket or from this process.

use std::time::Duration;

use estafette::node::{
    EventStream, NodeEvent, OutboxEntry, OutboxError, SendError, TakenOut, TransferEvent,
};
use estafette::pipeline::Source;
use estafette::{Destination, Node, SendOptions, TransferHandle, TransferId, TransferNews};
use tokio::time::timeout;

use super::protocol::{Deposit, Reply, Request};
use crate::arrival::Arrival;
use crate::entry::Entry;
use crate::error::CommandError;
use crate::event::Stored;
use crate::letter::Letter;
use crate::{destination, letter, references, settings};

/// Fewer digits of an id than this are taken for a mistake.
const DIGITS_LEAST: usize = 4;
/// A node that is very busy drops events that nobody has taken: so long after the last one it is
/// looked anyway.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

pub(crate) async fn answer(node: &Node, request: Request) -> Result<Vec<Reply>, CommandError> {
    match request {
        Request::Deposit(deposit) => store(node, deposit).await,
        Request::Send(_) => Err(CommandError::usage(
            "only a process that runs sends for another one",
            "use `estafette send`",
        )),
        Request::Call(_) => Err(CommandError::usage(
            "only a process that runs makes calls for another one",
            "use `estafette ask`",
        )),
        Request::Routes | Request::Tap { .. } | Request::Record { .. } | Request::Replay { .. } => {
            Err(CommandError::usage(
                "only a process that runs can be looked at",
                "start it with `estafette run FILE`",
            ))
        }
        Request::Reload(_) => Err(CommandError::usage(
            "the process that has this key runs no topology",
            "name a topology whose nodes run: `estafette run FILE`",
        )),
        Request::Keeps => Ok(vec![Reply::Keeps(kept(node).await?)]),
        Request::List => {
            let entries = node.outbox().list().await?;
            Ok(entries.iter().map(|(id, entry)| entry_reply(node, *id, entry)).collect())
        }
        Request::Show(id) => show(node, find(node, &id).await?).await,
        Request::Retry(id) => {
            let id = find(node, &id).await?;
            // What has expired is tried as another delivery.
            let id = node.outbox().retry(id).await?;
            show(node, id).await
        }
        Request::Cancel(id) => Ok(vec![cancel(node, find(node, &id).await?).await?]),
        Request::Drop(id) => {
            let id = find(node, &id).await?;
            node.outbox().forget(id).await?;
            Ok(vec![Reply::Dropped(id.short())])
        }
        Request::Await(id) => Ok(vec![settled(node, whole_id(&id)?).await?]),
        Request::Deliver(call) => Ok(vec![Reply::Letter(letter::store(node, &call).await?)]),
        Request::Letters => {
            let letters = node.letters().list();
            Ok(letters.iter().map(|info| Reply::Letter(Letter::new(node, info))).collect())
        }
        Request::Processed(id) => letter::processed(node, &id).await.map(|()| Vec::new()),
        Request::Forget(id) => {
            letter::forget(node, &id).await?;
            Ok(vec![Reply::Dropped(id)])
        }
        Request::Snapshot => Ok(vec![snapshot(node).await?]),
        Request::Examine => {
            Ok(references::examine(node).await?.into_iter().map(Reply::Finding).collect())
        }
        Request::Arrivals => {
            let arrivals = node.arrivals().into_iter();
            let reply = |(peer, id, arrival)| Box::new(Arrival::new(node, peer, id, arrival));
            Ok(arrivals.map(reply).map(Reply::Arrival).collect())
        }
    }
}

/// The number of deliveries that this node keeps for others.
async fn kept(node: &Node) -> Result<u64, CommandError> {
    let entries = node.outbox().list().await?;
    let is_kept = |entry: &OutboxEntry| {
        entry.relayed_for.is_some() && (entry.is_open() || entry.is_unheard())
    };
    Ok(entries.iter().filter(|(_, entry)| is_kept(entry)).count() as u64)
}

async fn cancel(node: &Node, id: TransferId) -> Result<Reply, CommandError> {
    Ok(match node.outbox().withdraw(id).await? {
        TakenOut::Undelivered => Reply::Cancelled(id.short()),
        _ => Reply::MayBeThere(id.short()),
    })
}

/// An id of a delivery with all of its digits.
fn whole_id(id: &str) -> Result<TransferId, CommandError> {
    let unknown = |_| {
        let text = format!("{id:?} is no id of a delivery");
        CommandError::usage(text, "give all of its 48 hexadecimal digits")
    };
    id.parse().map_err(unknown)
}

async fn snapshot(node: &Node) -> Result<Reply, CommandError> {
    let snapshot = serde_json::to_value(node.snapshot().await);
    let snapshot = snapshot.map_err(|error| {
        CommandError::io(format!("what is seen can't be written: {error}"), "report it")
    })?;
    Ok(Reply::Snapshot(Box::new(snapshot)))
}

/// Begins a delivery that was asked for. A transient one is not stored.
pub(super) async fn send(
    node: &Node,
    deposit: Deposit,
    transient: bool,
) -> Result<TransferHandle, Reply> {
    let (to, source, options) = prepare(node, deposit, transient).await?;
    node.send_with(to, source, options).await.map_err(|error| match error {
        SendError::Stopped => Reply::Stopping,
        error => CommandError::from(error).into(),
    })
}

/// Makes ready what is sent: the receiver, the content, and the options.
async fn prepare(
    node: &Node,
    deposit: Deposit,
    transient: bool,
) -> Result<(Destination, impl Source + use<>, SendOptions), CommandError> {
    let paths = deposit.paths()?;
    let trust = node.trust().clone();
    // Another process may have just added the peer. All of this reads the disk.
    let prepared = estafette::node::blocking(move || {
        trust.refresh()?;
        let to =
            destination::find(&trust, destination::read(&deposit.to)?, deposit.via.as_deref())?;
        let source = deposit.reading.open(&paths)?;
        Ok::<_, CommandError>((to, source, deposit))
    });
    let ((to, via), source, deposit) =
        prepared.await.map_err(|error| CommandError::io(error, "the log (-v) says more"))??;
    let source = deposit.reading.prepare(source).await?;
    let options = SendOptions {
        chunk_size: deposit.chunk_size,
        compression: settings::compression(node.registry(), deposit.compress())?,
        expiry: deposit.expires.map(Duration::from_secs),
        transient,
        copy: deposit.copy,
        via,
        stages: deposit.stages,
        ..SendOptions::default()
    };
    Ok((to, source, options))
}

async fn store(node: &Node, deposit: Deposit) -> Result<Vec<Reply>, CommandError> {
    let (to, source, options) = prepare(node, deposit, false).await?;
    let transfer = match node.send_with(to, source, options).await {
        Err(SendError::Stopped | SendError::Outbox(OutboxError::None)) => {
            return Ok(vec![Reply::Stopping]);
        }
        sent => sent?,
    };
    let id = transfer.id();
    if !transfer.status().stored {
        transfer.cancel();
        return Err(CommandError::io(
            "these paths can't be stored",
            "send the folder that holds them, or without --detach",
        ));
    }
    let entry = node.outbox().entry(id).await?;
    let stored = Stored::new(id, entry);
    // What is copied was read to its end; anything else is read when it is sent.
    let left_out = stored.copied.then(|| Reply::LeftOut(transfer.status().report.into()));
    Ok([Reply::Stored(stored)].into_iter().chain(left_out).collect())
}

async fn show(node: &Node, id: TransferId) -> Result<Vec<Reply>, CommandError> {
    Ok(vec![entry_reply(node, id, &node.outbox().entry(id).await?)])
}

/// Returns a delivery's entry once somebody else has it, or a try has failed.
async fn settled(node: &Node, id: TransferId) -> Result<Reply, CommandError> {
    let mut events = node.events();
    loop {
        let entry = match node.outbox().entry(id).await {
            Ok(entry) => Entry::new(node, id, &entry),
            Err(OutboxError::Unknown(_)) => return Ok(Reply::Cancelled(id.short())),
            Err(error) => return Err(error.into()),
        };
        if entry.is_settled() {
            return Ok(Reply::Entry(Box::new(entry)));
        }
        match timeout(LOOK_AGAIN, turn(&mut events, id)).await {
            // That may be when it was missed.
            Ok(Some(())) | Err(_) => {}
            Ok(None) => return Err(OutboxError::None.into()),
        }
    }
}

/// Waits until a delivery may have settled; `None` when the node has stopped.
async fn turn(events: &mut EventStream, id: TransferId) -> Option<()> {
    use TransferNews::{Deferred, Delivered, Failed, Relayed};
    loop {
        if let NodeEvent::Transfer(TransferEvent { transfer, news, .. }) = events.next().await?
            && transfer == id
            && matches!(news, Deferred { .. } | Delivered { .. } | Failed { .. } | Relayed { .. })
        {
            return Some(());
        }
    }
}

fn entry_reply(node: &Node, id: TransferId, entry: &OutboxEntry) -> Reply {
    Reply::Entry(Box::new(Entry::new(node, id, entry)))
}

/// The one delivery whose id begins so.
async fn find(node: &Node, given: &str) -> Result<TransferId, CommandError> {
    let entries = node.outbox().list().await?;
    choose(entries.iter().map(|(id, _)| *id), given)
}

fn choose(ids: impl Iterator<Item = TransferId>, given: &str) -> Result<TransferId, CommandError> {
    let hint = "`estafette outbox list` prints the ids";
    let beginning = given.trim().to_ascii_lowercase();
    if !beginning.bytes().all(|byte| byte.is_ascii_hexdigit())
        || !(DIGITS_LEAST..=48).contains(&beginning.len())
    {
        return Err(CommandError::usage(
            format!("{given:?} is no id of a delivery: {DIGITS_LEAST} to 48 hexadecimal digits"),
            hint,
        ));
    }
    let mut found = ids.filter(|id| id.to_string().starts_with(&beginning));
    match (found.next(), found.count()) {
        (Some(id), 0) => Ok(id),
        (Some(_), others) => {
            let text = format!("{} deliveries have an id that begins with {beginning}", others + 1);
            Err(CommandError::usage(
                text,
                "give more of its digits: `estafette --json outbox list` prints all of them",
            ))
        }
        (None, _) => Err(CommandError::usage(
            format!("there is no delivery {beginning} in the outbox"),
            hint,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_by_its_beginning_if_no_other_begins_so() {
        let mut bytes = [0xab; 24];
        let first = TransferId::from_bytes(bytes);
        bytes[10] = 0;
        let second = TransferId::from_bytes(bytes);
        let choose =
            |given: &str| choose([first, second].into_iter(), given).map_err(|error| error.message);
        assert_eq!(choose(&first.to_string()[..21]), Ok(first));
        assert_eq!(choose(&second.to_string().to_uppercase()), Ok(second));
        assert!(choose(&first.short()).unwrap_err().starts_with("2 deliveries"));
        assert!(choose("abcd").unwrap_err().contains("no delivery"));
        for wrong in ["", "abc", "xyzw", &"a".repeat(49)] {
            assert!(choose(wrong).unwrap_err().contains("no id"), "{wrong}");
        }
    }
}
