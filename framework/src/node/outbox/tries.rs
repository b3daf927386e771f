//! Tries: each an ordinary transfer, and what its end means for the delivery.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::{AsyncContext, Context, Handler, Message};

use super::schedule::backoff;
use super::{Kept, Outbox, OutboxEntry, OutboxState, Storing, TICK, write_to};
use crate::delivery::{Content, Failure, FailureKind, Receipt, TransferId};
use crate::node::RegistryError;
use crate::node::blocking::{Undone, apart};
use crate::node::clock::Moment;
use crate::node::events::{Direction, NodeEvent, TransferEvent, TransferNews};
use crate::node::hub::SendTo;
use crate::node::session::signals::{Know, Outcome, SendOptions, Start};
use crate::node::shared::NodeShared;
use crate::node::transfer::{TransferState, Unsettled};
use crate::pipeline::{Source, SourceError, SourceReference, passes};
use crate::store::random32;

/// How long a relay is left alone before it is asked what has become of a package.
pub(super) const ASK_RELAY: std::time::Duration = std::time::Duration::from_secs(60);

/// A try is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct TryEnded {
    id: TransferId,
    pub(super) outcome: Outcome,
    /// The word about what was in a package.
    enclosed: Option<Receipt>,
    proof: [u8; 32],
    /// Whether the receiver may have it that has not said so.
    unsure: bool,
}

impl Outbox {
    pub(super) fn try_what_is_due(&mut self, ctx: &mut Context<Self>) {
        if self.stopping || self.dormant {
            return;
        }
        for id in self.schedule.due(Instant::now()) {
            self.start_try(id, ctx);
        }
        self.look_again(ctx);
    }

    /// Looks again what is due, as long as anything waits. Whoever makes a delivery wait sees to
    /// this.
    pub(super) fn look_again(&mut self, ctx: &mut Context<Self>) {
        if self.schedule.is_empty()
            || self.stopping
            || self.dormant
            || std::mem::replace(&mut self.looking, true)
        {
            return;
        }
        ctx.run_later(TICK, |outbox, ctx| {
            outbox.looking = false;
            outbox.try_what_is_due(ctx);
        });
    }

    fn start_try(&mut self, id: TransferId, ctx: &mut Context<Self>) {
        let Some(held) = self.entries.get_mut(&id) else { return };
        if held.entry.expires < self.shared.clock.now().passed && held.storing.is_none() {
            self.schedule.ended(held.entry.next_hop(), true, Instant::now(), 0.0);
            return self.give_up_expired(id, ctx);
        }
        (held.busy, held.trying) = (true, true);
        let before = held.unsure;
        let state = Arc::new(TransferState::for_try(&held.state));
        held.tried = Some(Arc::clone(&state));
        // The first try was counted when the delivery was stored.
        let first = held.source.take();
        let counted = if first.is_some() {
            None
        } else {
            held.entry.tries = held.entry.tries.saturating_add(1);
            Some(held.record(id))
        };
        let (entry, cancelled) = (held.entry.clone(), Rc::clone(&held.cancelled));
        let (shared, spool, hub, outbox) =
            (Arc::clone(&self.shared), Arc::clone(&self.spool), self.hub.clone(), ctx.address());
        actix::spawn(async move {
            let ready = async {
                if let Some(record) = counted {
                    let written = async { write_to(spool, vec![record?]).await }.await;
                    written.map_err(|error| {
                        Failure::new(
                            FailureKind::Io,
                            format!("the spool could not be written: {error}"),
                        )
                    })?;
                }
                match first {
                    Some(first) => Ok(first),
                    None => reopen(&shared, entry.content.clone()).await,
                }
            };
            let (mut proof, mut enclosed, mut unsure) = ([0; 32], None, before);
            let outcome = match ready.await {
                // No session has heard of it yet that could cancel it.
                _ if cancelled.get() => {
                    Err(Failure::new(FailureKind::Cancelled, "taken out of the outbox"))
                }
                Ok((source, content)) => {
                    let send = order(
                        &entry,
                        shared.clock.now(),
                        source,
                        content,
                        Unsettled(Arc::clone(&state)),
                    );
                    // Dropped with a hub that is gone, it says that it failed.
                    hub.do_send(send);
                    let outcome = state.outcome().await;
                    (proof, enclosed, unsure) =
                        (state.proof(), state.enclosed(), state.may_have_arrived(before));
                    outcome
                }
                Err(failure) => Err(failure),
            };
            outbox.do_send(TryEnded { id, outcome, enclosed, proof, unsure });
        });
    }

    /// A try has brought the content to where it goes next: to its receiver, or to a relay.
    fn arrived(
        &mut self,
        id: TransferId,
        receipt: Receipt,
        enclosed: Option<Receipt>,
        proof: [u8; 32],
        ctx: &mut Context<Self>,
    ) {
        let Some(held) = self.entries.get(&id) else { return };
        let (entry, at) = (&held.entry, self.shared.clock.now().passed);
        match (entry.is_package(), enclosed) {
            (false, _) => self.conclude(id, OutboxState::Delivered { at, receipt, proof }, ctx),
            // The word is for who packed it: they know whether it is true.
            (true, Some(word)) if entry.relayed_for.is_some() => {
                self.conclude(id, OutboxState::Delivered { at, receipt: word, proof }, ctx);
            }
            (true, Some(word)) => {
                let expected = entry.expected.filter(|expected| expected.recognises(&word));
                let state = match expected {
                    Some(expected) => {
                        OutboxState::Delivered { at, receipt: word, proof: expected.processed_mac }
                    }
                    None => {
                        let text = "the receipt is not authentic: it was not made by the receiver \
                                    of this package";
                        OutboxState::Dead {
                            at,
                            failure: Failure::new(FailureKind::Integrity, text),
                        }
                    }
                };
                self.conclude(id, state, ctx);
            }
            (true, None) => {
                // A relay has it. It is asked again now and then, which costs no content.
                let (hop, created) = (entry.next_hop(), entry.created);
                let first = entry.state == OutboxState::Stored;
                self.schedule.wait(hop, created, id, Instant::now() + ASK_RELAY);
                if first {
                    self.conclude(id, OutboxState::Relayed { at }, ctx);
                }
            }
        }
    }

    fn try_again(&mut self, id: TransferId, failure: Failure) {
        let now = Instant::now();
        let Some(held) = self.entries.get_mut(&id) else { return };
        // Away is a matter of the peer, and its wait; anything else of this delivery.
        let again = if away(failure.kind) {
            std::time::Duration::ZERO
        } else {
            backoff(held.entry.tries, jitter())
        };
        held.entry.last_failure = Some(failure.clone());
        self.schedule.wait(held.entry.next_hop(), held.entry.created, id, now + again);
        let news = TransferNews::Deferred { failure };
        self.shared.emit(NodeEvent::Transfer(TransferEvent {
            transfer: id,
            peer: held.entry.peer,
            direction: Direction::Outgoing,
            news,
        }));
    }
}

fn order(
    entry: &OutboxEntry,
    at: Moment,
    source: Box<dyn Source>,
    content: Content,
    state: Unsettled,
) -> SendTo {
    let know = Know { addresses: entry.addresses.clone(), token: entry.token.clone() };
    let options = SendOptions {
        chunk_size: entry.chunk_size,
        compression: entry.compression(),
        stages: entry.stages.clone(),
        pace: entry.pace.clone(),
        ..SendOptions::default()
    };
    let (attempt, created, life) =
        (entry.first_attempt(), at.on_the_wall(entry.created), at.until(entry.expires));
    // Whoever carries a package is told whom it is for, so that they can say no before it comes.
    // The inbox is in it.
    let inbox = if entry.is_package() { entry.peer.to_string() } else { entry.inbox.clone() };
    let start = Start { source, content, inbox, options, attempt, created, life, state };
    SendTo { peer: entry.next_hop(), know, start }
}

/// Finds the content again, on a thread where that may block.
async fn reopen(
    shared: &Arc<NodeShared>,
    kept: Kept,
) -> Result<(Box<dyn Source>, Content), Failure> {
    let shared = Arc::clone(shared);
    let open = move || {
        let source = match kept {
            Kept::Reference { kind, data } => {
                shared.registry.reopen(&SourceReference { kind, data })?
            }
            Kept::Package { ref file, .. } | Kept::Copy { ref file, .. } => {
                let unsuitable = |why: String| SourceError::Unsuitable { what: file.clone(), why };
                let folder = shared.spool.as_ref().and_then(|spool| spool.folder());
                let path = folder
                    .ok_or_else(|| unsuitable("the spool has no folder for it".into()))?
                    .join(file);
                let missing = |error: RegistryError| unsuitable(error.to_string());
                match kept {
                    Kept::Copy { .. } => shared
                        .registry
                        .copies_in_use()
                        .map_err(missing)?
                        .open(&path, &shared.identity)?,
                    _ => shared.registry.packages_in_use().map_err(missing)?.open(&path)?,
                }
            }
        };
        let content = source.content();
        Ok::<_, SourceError>((source, content))
    };
    let opened = apart(open).await.map_err(|undone| match undone {
        Undone::NoThread(_) => {
            Failure::new(FailureKind::Busy, format!("what is to be sent can't be opened: {undone}"))
        }
        Undone::Panicked => Failure::new(
            FailureKind::Stage,
            "the source panicked when it was opened again; see the log",
        ),
    })?;
    opened.map_err(Failure::from)
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

    fn handle(&mut self, ended: TryEnded, ctx: &mut Context<Self>) {
        let Some(held) = self.entries.get_mut(&ended.id) else { return };
        (held.trying, held.tried, held.unsure) = (false, None, ended.unsure);
        let peer = held.entry.next_hop();
        let reached = !matches!(&ended.outcome, Err(failure) if away(failure.kind));
        self.schedule.ended(peer, reached, Instant::now(), jitter());
        match held.storing.as_mut() {
            None => self.judge(ended, ctx),
            Some(Storing { failed: None, ended: early, .. }) => *early = Some(ended),
            Some(Storing { failed, .. }) => {
                if let Some((error, answer)) = failed.take() {
                    self.answer_unstored(ended.id, Some(ended), error, answer, ctx);
                }
            }
        }
        self.try_what_is_due(ctx);
        self.look_settled();
    }
}

impl Outbox {
    /// What the end of a try means for a delivery that is stored.
    pub(super) fn judge(
        &mut self,
        TryEnded { id, outcome, enclosed, proof, .. }: TryEnded,
        ctx: &mut Context<Self>,
    ) {
        let Some(held) = self.entries.get_mut(&id) else { return };
        held.busy = false;
        let cancelled = held.cancelled.get();
        match outcome {
            Ok(receipt) => self.arrived(id, receipt, enclosed, proof, ctx),
            Err(_) if cancelled => drop(self.remove(id, ctx)),
            Err(failure) if self.stopping => {
                let text = format!(
                    "the node stopped; the delivery is stored, and goes on when the node is \
                     started again ({failure})"
                );
                if let Some(held) = self.entries.get(&id) {
                    held.state.end(Err(Failure::new(FailureKind::Shutdown, text)));
                }
            }
            Err(failure) if passes(failure.kind) => self.try_again(id, failure),
            Err(failure) => self.conclude(
                id,
                OutboxState::Dead { at: self.shared.clock.now().passed, failure },
                ctx,
            ),
        }
        if self.entries.get(&id).is_some_and(|held| !held.busy) {
            self.set_free(id, ctx);
        }
    }
}
