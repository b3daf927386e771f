//! Tries: each an ordinary transfer, and what its end means for the delivery.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::{AsyncContext, Context, Handler, Message};

use super::entry::passes;
use super::schedule::backoff;
use super::{Kept, Outbox, OutboxEntry, OutboxState, write_to};
use crate::delivery::{Content, Failure, FailureKind, TransferId};
use crate::node::events::{Direction, NodeEvent, TransferEvent, TransferNews};
use crate::node::handle::{TransferState, Unsettled};
use crate::node::hub::SendTo;
use crate::node::session::signals::{Know, Outcome, SendOptions, Start};
use crate::node::shared::NodeShared;
use crate::node::trust::{now, random32};
use crate::pipeline::{Source, SourceError, SourceReference};

/// A try is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct TryEnded {
    id: TransferId,
    outcome: Outcome,
    proof: [u8; 32],
}

impl Outbox {
    pub(super) fn try_what_is_due(&mut self, ctx: &mut Context<Self>) {
        if self.stopping || self.dormant {
            return;
        }
        for id in self.schedule.due(Instant::now()) {
            self.start_try(id, ctx);
        }
    }

    fn start_try(&mut self, id: TransferId, ctx: &mut Context<Self>) {
        let Some(held) = self.entries.get_mut(&id) else { return };
        if held.entry.expires < now() {
            self.schedule.ended(held.entry.peer, true, Instant::now(), 0.0);
            return self.give_up_expired(id, ctx);
        }
        held.busy = true;
        // The first try was counted when the delivery was stored.
        let first = held.source.take();
        let counted = if first.is_some() {
            None
        } else {
            held.entry.tries = held.entry.tries.saturating_add(1);
            Some(held.record(id))
        };
        let (entry, outer, cancelled) = (held.entry.clone(), Arc::clone(&held.state), Rc::clone(&held.cancelled));
        let (shared, spool, hub, outbox) = (Arc::clone(&self.shared), Arc::clone(&self.spool), self.hub.clone(), ctx.address());
        actix::spawn(async move {
            let ready = async {
                if let Some(record) = counted {
                    let written = async { write_to(spool, vec![record?]).await }.await;
                    written.map_err(|error| Failure::new(FailureKind::Io, format!("the spool could not be written: {error}")))?;
                }
                match first {
                    Some(first) => Ok(first),
                    None => reopen(&shared, entry.content.clone()).await,
                }
            };
            let mut proof = [0; 32];
            let outcome = match ready.await {
                // No session has heard of it yet that could cancel it.
                _ if cancelled.get() => Err(Failure::new(FailureKind::Cancelled, "taken out of the outbox")),
                Ok((source, content)) => {
                    let state = Arc::new(TransferState::for_try(&outer));
                    let send = order(&entry, source, content, Unsettled(Arc::clone(&state)));
                    // Dropped with a hub that is gone, it says that it failed.
                    hub.do_send(send);
                    let outcome = state.outcome().await;
                    proof = state.proof();
                    outcome
                }
                Err(failure) => Err(failure),
            };
            outbox.do_send(TryEnded { id, outcome, proof });
        });
    }

    fn try_again(&mut self, id: TransferId, failure: Failure) {
        let now = Instant::now();
        let Some(held) = self.entries.get_mut(&id) else { return };
        // Away is a matter of the peer, and its wait; anything else of this delivery.
        let again = if away(failure.kind) { std::time::Duration::ZERO } else { backoff(held.entry.tries, jitter()) };
        held.entry.last_failure = Some(failure.clone());
        self.schedule.wait(held.entry.peer, held.entry.created, id, now + again);
        let news = TransferNews::Deferred { failure };
        self.shared.emit(NodeEvent::Transfer(TransferEvent { transfer: id, peer: held.entry.peer, direction: Direction::Outgoing, news }));
    }
}

fn order(entry: &OutboxEntry, source: Box<dyn Source>, content: Content, state: Unsettled) -> SendTo {
    let know = Know { addresses: entry.addresses.clone(), token: entry.token.as_ref().map(|token| *token.expose()) };
    let options = SendOptions {
        chunk_size: entry.chunk_size,
        compression: entry.compression(),
        stages: entry.stages.clone(),
        ..SendOptions::default()
    };
    let (attempt, created, expires) = (entry.first_attempt(), entry.created, entry.expires);
    let start = Start { source, content, inbox: entry.inbox.clone(), options, attempt, created, expires, state };
    SendTo { peer: entry.peer, know, start }
}

/// Finds the content again, on a thread where that may block.
async fn reopen(shared: &Arc<NodeShared>, kept: Kept) -> Result<(Box<dyn Source>, Content), Failure> {
    let shared = Arc::clone(shared);
    let open = move || {
        let source = match kept {
            Kept::Reference { kind, data } => shared.registry.reopen(&SourceReference { kind, data })?,
            Kept::Package { file } => {
                let why = "packages can't be opened by this build".into();
                return Err(SourceError::Unsuitable { what: file, why });
            }
        };
        let content = source.content();
        Ok::<_, SourceError>((source, content))
    };
    let opened = tokio::task::spawn_blocking(open).await;
    let opened = opened.map_err(|_| Failure::new(FailureKind::Stage, "the source panicked when it was opened again; see the log"))?;
    opened.map_err(|error| {
        let kind = match &error {
            // What is unreadable now may be readable later; what is not there is another matter.
            SourceError::Read { error, .. } if error.kind() != std::io::ErrorKind::NotFound => FailureKind::Io,
            _ => FailureKind::Changed,
        };
        Failure::new(kind, error.to_string())
    })
}

/// Whether a failure means that the peer was not there.
fn away(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Unreachable | FailureKind::Shutdown)
}

fn jitter() -> f64 {
    f64::from(random32()[0]) / 255.0
}

impl Handler<TryEnded> for Outbox {
    type Result = ();

    fn handle(&mut self, TryEnded { id, outcome, proof }: TryEnded, ctx: &mut Context<Self>) {
        let Some(held) = self.entries.get_mut(&id) else { return };
        held.busy = false;
        let (cancelled, peer) = (held.cancelled.get(), held.entry.peer);
        let reached = !matches!(&outcome, Err(failure) if away(failure.kind));
        self.schedule.ended(peer, reached, Instant::now(), jitter());
        match outcome {
            Ok(receipt) => self.conclude(id, OutboxState::Delivered { at: now(), receipt, proof }, ctx),
            Err(_) if cancelled => drop(self.remove(id, ctx)),
            Err(failure) if self.stopping => {
                let text = format!("the node stopped; the delivery is stored, and goes on when the node is started again ({failure})");
                if let Some(held) = self.entries.get(&id) {
                    held.state.end(Err(Failure::new(FailureKind::Shutdown, text)));
                }
            }
            Err(failure) if passes(failure.kind) => self.try_again(id, failure),
            Err(failure) => self.conclude(id, OutboxState::Dead { at: now(), failure }, ctx),
        }
        self.try_what_is_due(ctx);
    }
}
