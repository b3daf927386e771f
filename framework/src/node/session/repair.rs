//! Chunks that did not get through, and transfers that end.
//!
//! A chunk that an actor died with is tried once more when the chain is whole again; a second time
//! its transfer fails, the stage named. Chunks that only lay in the dead actor's mailbox go on
//! without being counted. A sender tries again with the chunk as it was cut; a receiver, which has
//! no more of it, asks its sender ([`Session::ask_again`]), as it does for one that came damaged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};

use super::{IncomingTransfer, OutgoingTransfer, Session};
use crate::delivery::{Failure, FailureKind, Repair, TransferId};
use crate::delivery::{receiving, sending};
use crate::node::events::{Direction, NodeEvent, TransferEvent, TransferNews};
use crate::node::lane::CheckChains;
use crate::pipeline::{Chunk, Custody, Fault, Lost, Parcel, Prefix};
use crate::wire::Control;

/// The most times that one chunk may be lost to a dying stage.
const LOSSES: u8 = 2;
/// The wait for the word of a receiver that may have all of what is cancelled, or expires.
const CANCEL_WAIT: Duration = Duration::from_secs(8);

impl OutgoingTransfer {
    /// Returns `true` if the receiver may have all of it: this attempt was cut to its end, or an
    /// earlier one may have been.
    fn may_be_whole_there(&self) -> bool {
        self.transfer.sent_digest().is_some() || self.transfer.scope.attempt > 0
    }

    /// Notes that the receiver may have all of it, before this attempt is over.
    pub(super) fn note_sent(&self) {
        if self.transfer.sent_digest().is_some() {
            self.state.set_sent();
        }
    }
}

impl Session {
    pub(super) fn chunk_lost(&mut self, lost: Lost, ctx: &mut Context<Self>) {
        let Some(transfer) = self.id_of(lost.stream) else { return };
        if let Some(waiting) = &mut self.mending {
            // The chain is being mended because of another chunk: this one lay behind it.
            return waiting.push(lost);
        }
        let losses = self.losses.entry((lost.stream, lost.index)).or_default();
        *losses += 1;
        let stage = lost.stage.as_deref().unwrap_or("the assembler").to_owned();
        tracing::warn!(
            stage, %transfer, chunk = lost.index, panicked = lost.panicked,
            "a chunk was lost in a stage"
        );
        if *losses < LOSSES {
            return self.mend(vec![lost], ctx);
        }
        let text =
            format!("the stage {stage:?} lost chunk {} twice; see its node's log", lost.index);
        self.fail(
            lost.stream,
            Failure::new(FailureKind::Stage, text).in_stage(stage).at_index(lost.index),
        );
        // Whoever comes next is to find the chain whole.
        self.mend(Vec::new(), ctx);
    }

    /// Sees to it that all actors live, then tries again with `lost`.
    fn mend(&mut self, lost: Vec<Lost>, ctx: &mut Context<Self>) {
        self.mending = Some(lost);
        let checks: Vec<_> = self.lanes.iter().map(|lane| lane.address.send(CheckChains)).collect();
        let checked = async move {
            let mut given_up = None;
            for check in checks {
                given_up = check.await.unwrap_or_default().or(given_up);
            }
            given_up
        };
        ctx.spawn(checked.into_actor(self).map(Self::mended));
    }

    /// Chunkers and assemblers have no second try, and one that dies may leave no chunk behind that
    /// tells.
    pub(super) fn look_for_dead_ends(&self, ctx: &mut Context<Self>) {
        let outgoing = self
            .outgoing
            .iter()
            .filter(|(_, out)| out.chunker_is_gone())
            .map(|(&stream, _)| (stream, "chunker"));
        let incoming = self
            .incoming
            .iter()
            .filter(|(_, known)| known.assembler_is_gone())
            .map(|(&stream, _)| (stream, "assembler"));
        for (stream, stage) in outgoing.chain(incoming) {
            // Not at once: its last word may lie in the mailbox.
            ctx.address().do_send(DeadEnd { stream, stage });
        }
    }

    /// All chains are whole again. Where a stage dies too often, the transfer is given up whose
    /// chunk it had first: the others only lay behind it.
    fn mended(given_up: Option<Arc<str>>, session: &mut Self, ctx: &mut Context<Self>) {
        // What died with the first one was said before the check was answered, and may not have
        // been looked at yet.
        session.hear_signals(ctx);
        let lost = session.mending.take().unwrap_or_default();
        // One that only came to an actor that was dead already has not panicked.
        let at_fault =
            |stage| lost.iter().find(|lost| lost.panicked && lost.stage.as_ref() == Some(stage));
        if let Some((stream, stage)) =
            given_up.as_ref().and_then(|stage| Some((at_fault(stage)?.stream, stage)))
        {
            let text =
                format!("the stage {stage:?} dies again and again, so its route is given up");
            session.fail(stream, Failure::new(FailureKind::Stage, text).in_stage(stage));
        }
        lost.into_iter().for_each(|lost| session.try_again(lost));
    }

    /// The second try of a chunk: through the stages at its sender, by asking for it at its
    /// receiver.
    fn try_again(&mut self, lost: Lost) {
        let Lost { stream, index, trailer, ready, again, stage, .. } = lost;
        if let Some(out) =
            self.outgoing.get(&stream).filter(|out| out.transfer.scope.attempt == lost.attempt)
        {
            let Some((content, outlet)) = again.zip(out.outlet.as_ref()) else {
                let stage = stage.as_deref().unwrap_or("a lane");
                let text = format!(
                    "the stage {stage:?} lost chunk {index} after it was sealed, and a chunk is \
                     sealed only once"
                );
                return self.fail(
                    stream,
                    Failure::new(FailureKind::Stage, text).in_stage(stage).at_index(index),
                );
            };
            let length = Prefix::decode(&content).map_or(0, |prefix| u64::from(prefix.raw_len));
            let custody = if trailer {
                Custody::trailer(&out.transfer, index)
            } else if ready {
                Custody::ready(&out.transfer, index, length, None)
            } else {
                Custody::outgoing(&out.transfer, index, length, None)
            };
            custody.keep(content.clone());
            outlet.send(Chunk::from_parts(custody, content), None);
        } else if self.incoming.contains_key(&stream) {
            let stage = stage.as_deref().unwrap_or("unknown");
            let text = format!("the receiver's stage {stage:?} lost chunk {index}; see its log");
            let failure = Failure::new(FailureKind::Stage, text).in_stage(stage).at_index(index);
            let repair = self
                .incoming
                .get(&stream)
                .map(|known| known.transfer.incoming().lost(index, trailer));
            self.ask_again(stream, index, repair, failure);
        }
    }

    pub(super) fn chunk_failed(&mut self, fault: Fault, ctx: &mut Context<Self>) {
        let Fault { stream, index, trailer, stage, lane, kind, message, .. } = fault;
        let Some(transfer) = self.id_of(stream) else { return };
        let stage = stage.map_or_else(|| "unknown".to_owned(), |stage| stage.to_string());
        tracing::warn!(stage, %transfer, chunk = index, message, "a chunk failed in a stage");
        let failure = Failure::new(kind, message).in_stage(stage).at_index(index);
        if kind == FailureKind::Integrity && self.incoming.contains_key(&stream) {
            if let Some(lane) = lane {
                self.close_lane(lane, ctx);
            }
            let repair = self
                .incoming
                .get(&stream)
                .map(|known| known.transfer.incoming().release(index, trailer));
            return self.ask_again(stream, index, repair, failure);
        }
        self.fail(stream, failure);
    }

    /// Asks the sender for a chunk once more, or gives its transfer up, as [`Repair`] says.
    fn ask_again(&mut self, stream: u64, index: u64, repair: Option<Repair>, failure: Failure) {
        match repair {
            None => {}
            Some(Repair::AskAgain) => {
                self.say(Control::Lost { stream, index, failure: Some(failure) })
            }
            Some(Repair::GiveUp) => self.fail(stream, failure),
        }
    }

    /// The transfer of a stream, unless it is over.
    fn id_of(&self, stream: u64) -> Option<TransferId> {
        let outgoing = self.outgoing.get(&stream).map(OutgoingTransfer::id);
        outgoing.or_else(|| self.incoming.get(&stream).map(IncomingTransfer::id))
    }

    /// Fails a transfer at both ends. One that comes in may be committed by then: its sink has the
    /// last word.
    pub(super) fn fail(&mut self, stream: u64, failure: Failure) {
        if self.outgoing.contains_key(&stream) {
            self.send(sending::Event::GiveUp(stream, failure));
        } else {
            self.receive(receiving::Event::GiveUp(stream, failure));
        }
    }

    pub(super) fn cancel(&mut self, stream: u64) {
        let by = |who| Failure::new(FailureKind::Cancelled, format!("cancelled by the {who}"));
        match self.outgoing.get(&stream) {
            // Its receiver may be committing it, and knows.
            Some(out) if out.may_be_whole_there() => {
                let (failure, until) = (by("sender"), Instant::now() + CANCEL_WAIT);
                self.send(sending::Event::Cancel { stream, failure, until });
            }
            Some(_) => self.fail(stream, by("sender")),
            None => self.fail(stream, by("receiver")),
        }
    }

    /// Ends what is not worth delivering any more: of what its receiver may be committing it has the
    /// last word.
    pub(super) fn expire_outgoing(&mut self, now: Instant) {
        let whole = |stream: &u64| {
            self.outgoing.get(stream).is_some_and(OutgoingTransfer::may_be_whole_there)
        };
        let over: Vec<_> = self.sending.expired(now).into_iter().filter(whole).collect();
        for stream in over {
            let (failure, until) = (sending::expired(), now + CANCEL_WAIT);
            self.send(sending::Event::Cancel { stream, failure, until });
        }
        self.send(sending::Event::Time(now));
    }

    /// This side, or the peer, pauses a transfer or lets it go on.
    pub(super) fn pause(&mut self, stream: u64, paused: bool, ours: bool) {
        if self.outgoing.contains_key(&stream) {
            self.send(sending::Event::Pause { stream, paused, ours });
        } else {
            self.receive(receiving::Event::Pause { stream, paused, ours });
        }
    }

    pub(super) fn say_pause(&mut self, stream: u64, said: Option<bool>) {
        match said {
            Some(true) => self.say(Control::Pause { stream }),
            Some(false) => self.say(Control::Unpause { stream }),
            None => {}
        }
    }

    pub(super) fn tell(&self, transfer: TransferId, direction: Direction, news: TransferNews) {
        self.shared.emit(NodeEvent::Transfer(TransferEvent {
            transfer,
            peer: self.peer,
            direction,
            news,
        }));
    }

    pub(super) fn tell_progress(&mut self) {
        self.outgoing_progress();
        self.incoming_progress();
    }

    pub(super) fn interrupt_all(&mut self, why: &str) {
        let outgoing =
            self.outgoing.values().filter(|out| out.outlet.is_some()).map(|out| out.id());
        let interrupted = || TransferNews::Interrupted { reason: why.to_owned() };
        for id in outgoing {
            self.tell(id, Direction::Outgoing, interrupted());
        }
        for (stream, known) in &self.incoming {
            self.tell_incoming(*stream, known.id(), interrupted());
        }
    }
}

/// The chunker or the assembler of a transfer is gone.
#[derive(Message)]
#[rtype(result = "()")]
struct DeadEnd {
    stream: u64,
    stage: &'static str,
}

impl Handler<DeadEnd> for Session {
    type Result = ();

    fn handle(&mut self, DeadEnd { stream, stage }: DeadEnd, _: &mut Context<Self>) {
        let failure =
            Failure::new(FailureKind::Stage, format!("the {stage} died; see its node's log"))
                .in_stage(stage);
        if self.outgoing.contains_key(&stream) {
            self.fail(stream, failure);
        } else if !self.receiving.is_committed(stream) {
            self.receive(receiving::Event::Failed(stream, failure));
        }
    }
}
