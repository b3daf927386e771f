//! Deliveries of routes that were refused since the other node is not told of them yet: a topology
//! comes to one node before it comes to the other. They are tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use estafette::delivery::{Failure, FailureKind};
use estafette::node::{Direction, NodeEvent, OutboxEntry, OutboxError, OutboxState, TransferEvent};
use estafette::{Node, TransferId, TransferNews};

use super::memory::{Memory, now};

/// The wait before the next try: doubled each time, up to the second.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Returns `true` if the other node refused it as one that it does not know of.
fn may_be_told_later(failure: &Failure) -> bool {
    let is_missing = failure.message.contains("has no inbox");
    failure.kind == FailureKind::Untrusted || (failure.kind == FailureKind::Refused && is_missing)
}

/// Returns `true` if a dead letter is tried again. What has expired is one for good: under another
/// id it would be another delivery.
pub(super) fn is_revived(entry: &OutboxEntry, failure: &Failure) -> bool {
    may_be_told_later(failure) && entry.expires > now()
}

/// Returns `true` if it is one of a route, and is tried again while it has not expired: then it is
/// told as failed.
pub(super) fn will_be_revived(memory: &Memory, id: TransferId, failure: &Failure) -> bool {
    may_be_told_later(failure) && memory.has_sent(id)
}

/// Runs until the node stops. Those of earlier processes come first.
pub(super) async fn revive(node: Node, memory: Memory) {
    let mut events = node.events();
    let mut waits = BTreeMap::<TransferId, Duration>::new();
    for (id, entry) in node.outbox().list().await.unwrap_or_default() {
        if let OutboxState::Dead { failure, .. } = &entry.state
            && is_revived(&entry, failure)
            && memory.has_sent(id)
        {
            try_again(&node, id, &mut waits);
        }
    }
    while let Some(event) = events.next().await {
        let NodeEvent::Transfer(TransferEvent {
            transfer,
            direction: Direction::Outgoing,
            news,
            ..
        }) = event
        else {
            continue;
        };
        match news {
            // Others are put off that are no dead letters: they are tried again by themselves.
            TransferNews::Deferred { failure } if will_be_revived(&memory, transfer, &failure) => {
                try_again(&node, transfer, &mut waits);
            }
            TransferNews::Failed { .. } | TransferNews::Delivered { .. } => {
                waits.remove(&transfer);
            }
            _ => {}
        }
    }
}

fn try_again(node: &Node, id: TransferId, waits: &mut BTreeMap<TransferId, Duration>) {
    let wait = waits.entry(id).or_insert(AGAIN.0);
    let (node, mut pause) = (node.clone(), *wait);
    *wait = (*wait * 2).min(AGAIN.1);
    tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(pause).await;
            // It may be forgotten, or live already, by somebody's wish.
            let Ok(entry) = node.outbox().entry(id).await else { return };
            let OutboxState::Dead { failure, .. } = &entry.state else { return };
            let tried = if is_revived(&entry, failure) {
                node.outbox().retry(id).await.map(drop)
            } else {
                node.outbox().give_up(id).await
            };
            match tried {
                Ok(()) | Err(OutboxError::Unknown(_) | OutboxError::None) => return,
                Err(error) => {
                    tracing::warn!(%error, transfer = %id, "not tried again yet");
                    pause = (pause * 2).min(AGAIN.1);
                }
            }
        }
    });
}
