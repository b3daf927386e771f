//! Tries: each an ordinary transfer, and what its end means for the delivery.

use std::cell::Cell;
use std::cmp::Reverse;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::{AsyncContext, Context, Handler, Message};

use super::held::Held;
use super::stored::{Ended, is_away};
use super::{Kept, Outbox, OutboxEntry, OutboxState, TICK, write_to};
use crate::delivery::{Content, Failure, FailureKind, TransferId};
use crate::node::RegistryError;
use crate::node::SendOptions;
use crate::node::addresses::{HINTED, distinct};
use crate::node::blocking::{Undone, apart};
use crate::node::clock::Moment;
use crate::node::reading::Seat;
use crate::node::sessions::{DialHints, SendTo, StartTransfer};
use crate::node::shared::NodeShared;
use crate::node::transfer::{TransferState, Unsettled};
use crate::pipeline::{Source, SourceError, SourceReference};
use crate::store::random32;

/// A try is over.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct TryEnded(TransferId, Ended);

impl Outbox {
    pub(super) fn try_what_is_due(&mut self, ctx: &mut Context<Self>) {
        if self.stopping || self.dormant {
            return;
        }
        for id in self.schedule.due(Instant::now()) {
            let at = self.at();
            let Some(held) = self.entries.get_mut(&id) else { continue };
            let is_here = self.schedule.is_up(held.entry().next_hop());
            let actions = held.stored.due(held.source.is_some(), is_here, at);
            self.carry_out(id, actions, ctx);
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

    /// Begins a try. The first one was counted when the delivery was stored.
    pub(super) fn start_try(&mut self, id: TransferId, counted: bool, ctx: &mut Context<Self>) {
        let Some(held) = self.entries.get_mut(&id) else { return };
        let before = held.stored.is_unsure();
        if held.entry().state == OutboxState::Stored {
            // What a relay has given up by its clock is tried again.
            held.state.update(|status| status.relayed = false);
        }
        let state = Arc::new(TransferState::for_try(&held.state));
        held.tried = Some(Arc::clone(&state));
        held.cancelled = Rc::new(Cell::new(held.stored.is_cancelled()));
        let first = held.source.take();
        let seat = held.seat.take().or_else(|| enter(&self.shared, held.entry()));
        let counted = counted.then(|| held.record(id));
        let (entry, cancelled) = (held.entry().clone(), Rc::clone(&held.cancelled));
        let attempt = entry.first_attempt(held.is_loaded);
        let hints = self.hints(&entry);
        let (shared, spool) = (Arc::clone(&self.shared), Arc::clone(&self.spool));
        let (sessions, outbox) = (self.sessions.clone(), ctx.address());
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
            let mut sent = false;
            let outcome = match ready.await {
                // No session has heard of it yet that could cancel it.
                _ if cancelled.get() => {
                    Err(Failure::new(FailureKind::Cancelled, "taken out of the outbox"))
                }
                Ok((source, content)) => {
                    let send = order(
                        (&entry, attempt),
                        shared.clock.now(),
                        source,
                        (content, seat),
                        Unsettled(Arc::clone(&state)),
                        hints,
                    );
                    sessions.send(send);
                    let outcome = state.outcome().await;
                    (proof, enclosed, unsure) =
                        (state.proof(), state.enclosed(), state.may_have_arrived(before));
                    sent = state.may_have_arrived(false);
                    outcome
                }
                Err(failure) => Err(failure),
            };
            outbox.do_send(TryEnded(id, Ended { outcome, enclosed, proof, unsure, sent }));
        });
    }
}

impl Outbox {
    /// The addresses at which a peer that is away may be, and the token to come in with: those of
    /// the newest that is stored for it. It may have moved since a delivery was stored; one that
    /// was stored later knows where it is, and has a ticket that is still good.
    pub(super) fn hints(&self, entry: &OutboxEntry) -> DialHints {
        let own = DialHints { addresses: entry.addresses.clone(), token: entry.token.clone() };
        let peer = entry.next_hop();
        if self.schedule.is_up(peer) {
            return own;
        }
        let others = self.schedule.newest(peer).into_iter();
        let mut others: Vec<_> =
            others.filter_map(|id| self.entries.get(&id)).map(Held::entry).collect();
        others.push(entry);
        others.sort_by_key(|other| Reverse(other.created));
        // A ticket is for one inbox, and that of a package is within it.
        let is_alike = |other: &&&OutboxEntry| {
            other.inbox == entry.inbox && !other.is_package() && !entry.is_package()
        };
        let newest = others.iter().filter(is_alike).find_map(|other| other.token.clone());
        // The newest is no good where somebody else has used it up.
        let is_own = entry.tries % 2 == 1 && own.token.is_some();
        let addresses = others.iter().flat_map(|other| other.addresses.iter().cloned());
        DialHints {
            addresses: distinct(addresses).take(HINTED).collect(),
            token: if is_own { own.token } else { newest.or(own.token) },
        }
    }
}

fn order(
    (entry, attempt): (&OutboxEntry, u32),
    at: Moment,
    source: Box<dyn Source>,
    (content, seat): (Content, Option<Seat>),
    state: Unsettled,
    hints: DialHints,
) -> SendTo {
    let options = SendOptions {
        chunk_size: entry.chunk_size,
        compression: entry.compression(),
        stages: entry.stages.clone(),
        pace: entry.pace.clone(),
        priority: entry.priority,
        ..SendOptions::default()
    };
    let (created, life) = (at.on_the_wall(entry.created), at.until(entry.expires));
    // Whoever carries a package is told whom it is for, so that they can say no before it comes.
    // The inbox is in it.
    let inbox = if entry.is_package() { entry.peer.to_string() } else { entry.inbox.clone() };
    let start =
        StartTransfer { source, content, inbox, options, attempt, created, life, state, seat };
    SendTo { peer: entry.next_hop(), hints, start }
}

/// Its part in a content that others may send at the same time. Coders make chunks that are for one
/// receiver alone.
pub(super) fn enter(shared: &NodeShared, entry: &OutboxEntry) -> Option<Seat> {
    match &entry.content {
        Kept::Reference { kind, data } if entry.stages.is_empty() => {
            let reference = SourceReference { kind: kind.clone(), data: data.clone() };
            Some(shared.readings.enter(&reference))
        }
        _ => None,
    }
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

pub(super) fn jitter() -> f64 {
    f64::from(random32()[0]) / 255.0
}

impl Handler<TryEnded> for Outbox {
    type Result = ();

    fn handle(&mut self, TryEnded(id, mut ended): TryEnded, ctx: &mut Context<Self>) {
        let at = self.at();
        let Some(held) = self.entries.get_mut(&id) else { return };
        held.tried = None;
        if let Err(failure) = &mut ended.outcome
            && failure.kind == FailureKind::Untrusted
            && held.entry().relayed_for.is_some()
            && self.shared.ways.may_grow()
        {
            // The next one may hear of this node later.
            failure.kind = FailureKind::Busy;
        }
        let reached = !matches!(&ended.outcome, Err(failure) if is_away(failure.kind));
        self.schedule.ended(held.entry().next_hop(), reached, Instant::now(), jitter());
        let actions = held.stored.tried(ended, at);
        self.carry_out(id, actions, ctx);
        self.try_what_is_due(ctx);
        self.look_settled();
    }
}
