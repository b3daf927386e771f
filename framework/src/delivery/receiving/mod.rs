//! Deliveries that come from one peer, as decisions.
//!
//! # Driving it
//! [`Receiving::handle`] takes what happens, and the memory of what was delivered and given up;
//! then [`Receiving::poll_action`] until it has nothing more to do, then [`Receiving::take_up`],
//! and so on. An action may make something else happen at once: what is to be done of that comes
//! behind what is left. Whatever an action begins (a search for room, a sink, a note) answers with
//! an event, late or never: nothing here waits.
//!
//! Waiting (for room) → Opening (the inbox is asked) → Writing (credit is out) → Remembering →
//! delivered. A broken link leaves everything as it is; the offer comes again, and is answered with
//! what is here.
//!
//! Invariant: as long as a sink may commit, nobody says that it has failed; but for a node that
//! stops, which waits for it for a while only. A sink that runs is told to stop, and answers that
//! it has, or that it has committed; then the delivery is made, is remembered, and is told as such
//! at both ends, whoever gave it up. Of one delivery, one attempt at most is here at a time.

mod events;

use std::collections::{BTreeMap, VecDeque};

pub(crate) use self::events::{Action, Event, Memory, NoSink, Offer, Sink};
use super::{Failure, FailureKind};

/// The deliveries of one peer that are under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Receiving<O> {
    /// Set if notes of what has come are kept: an attempt may have to throw away what an earlier
    /// one left.
    durable: bool,
    /// The number of the link that is up.
    link: Option<u64>,
    known: BTreeMap<u64, Reception<O>>,
    /// Attempts whose earlier ones have just ended.
    later: VecDeque<Offer<O>>,
    actions: VecDeque<Action<O>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reception<O> {
    offer: Offer<O>,
    stage: Stage,
    /// The lanes take its chunks.
    admitted: bool,
    /// It is to end: its sink has the last word.
    ending: Option<Ending>,
    /// A later attempt, which begins when this one has ended.
    next: Option<Offer<O>>,
    paused: bool,
    /// The last word of this side, to be said again on the next link.
    said_pause: Option<bool>,
    /// The link it was last offered on.
    offered_on: Option<u64>,
}

/// The stage of a delivery with its sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Nothing runs for it.
    Waiting,
    /// Its inbox is asked.
    Opening,
    /// Its sink has a task, which is told to stop once, and whether to keep what is here.
    Writing { told: Option<bool> },
    /// Its sink was told to keep what is here, which is not wanted any more.
    Discarding,
    /// Its sink has committed it. Only the note of it is still being made durable.
    Remembering,
}

/// The end of an attempt when its sink has stopped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ending {
    failure: Failure,
    /// A later attempt may go on with what is here.
    keep: bool,
    /// The sender does not know yet.
    tell: bool,
    /// The sender has cancelled it, or its time is over, and waits for the word of the sink.
    asked: bool,
}

impl Ending {
    fn of(failure: Failure, tell: bool) -> Self {
        // What the sender may come back with is kept as far as it is durable.
        let keep = matches!(
            failure.kind,
            FailureKind::Shutdown | FailureKind::Unreachable | FailureKind::Busy
        );
        Self { failure, keep, tell, asked: false }
    }
}

impl<O> Receiving<O> {
    pub(crate) fn new(durable: bool) -> Self {
        Self {
            durable,
            link: None,
            known: BTreeMap::new(),
            later: VecDeque::new(),
            actions: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub(crate) fn poll_action(&mut self) -> Option<Action<O>> {
        self.actions.pop_front()
    }

    /// The offer of an attempt that is under way.
    pub(crate) fn offer(&self, stream: u64) -> Option<&Offer<O>> {
        self.known.get(&stream).map(|known| &known.offer)
    }

    /// Returns `true` if chunks of it may come.
    pub(crate) fn is_admitted(&self, stream: u64) -> bool {
        self.known.get(&stream).is_some_and(|known| known.admitted)
    }

    /// Returns `true` if it goes on only if its sender does.
    pub(crate) fn is_fed(&self, stream: u64) -> bool {
        let fed = |known: &Reception<O>| {
            known.admitted && known.ending.is_none() && known.stage != Stage::Remembering
        };
        self.known.get(&stream).is_some_and(fed)
    }

    /// Returns `true` if its sink has committed.
    pub(crate) fn is_committed(&self, stream: u64) -> bool {
        self.known.get(&stream).is_some_and(|known| known.stage == Stage::Remembering)
    }

    /// Returns `true` if no credit may be given.
    pub(crate) fn is_paused(&self, stream: u64) -> bool {
        self.known.get(&stream).is_some_and(|known| known.paused)
    }

    /// Returns this side's last word on a pause.
    pub(crate) fn said_pause(&self, stream: u64) -> Option<bool> {
        self.known.get(&stream).and_then(|known| known.said_pause)
    }

    /// Something happens.
    pub(crate) fn handle(&mut self, event: Event<O>, memory: &mut dyn Memory) {
        match event {
            Event::LinkUp(link) => self.link = Some(link),
            Event::LinkDown => self.link = None,
            Event::Offered(offer) => self.offered(offer, memory),
            Event::Taken(offer) => self.taken(offer),
            Event::Room(stream) => self.has_room(stream),
            Event::NoRoom(stream) => self.say_waiting(stream),
            Event::Opened(stream, outcome) => self.opened(stream, outcome),
            Event::Admitted(stream, outcome) => self.admitted(stream, outcome),
            Event::Stopped(stream) => self.stopped(stream),
            Event::Failed(stream, failure) => self.failed(stream, failure),
            Event::Committed(stream) => self.committed(stream),
            Event::Remembered(stream, Ok(())) => self.remembered(stream),
            Event::Remembered(stream, Err(failure)) => self.failed(stream, failure),
            Event::GiveUp(stream, failure) => self.stop(stream, failure, true),
            Event::Withdrawn(stream, failure) => {
                self.known
                    .values_mut()
                    .for_each(|known| _ = known.next.take_if(|next| next.stream == stream));
                let asked = matches!(failure.kind, FailureKind::Cancelled | FailureKind::Expired);
                self.give_up(stream, Ending { asked, ..Ending::of(failure, false) });
            }
            Event::Orphaned(failure) => self
                .streams(|_| true)
                .into_iter()
                .for_each(|stream| self.stop(stream, failure.clone(), false)),
            Event::NotOffered(failure) => {
                let link = self.link;
                let gone = self.streams(|known| known.offered_on != link);
                gone.into_iter().for_each(|stream| self.stop(stream, failure.clone(), true));
            }
            Event::Pause { stream, paused, ours } => self.pause(stream, paused, ours),
            Event::Time(now) => {
                let failure = Failure::new(
                    FailureKind::Expired,
                    "the delivery was not done before it expired",
                );
                let over = self.streams(|known| known.offer.deadline < now);
                over.into_iter().for_each(|stream| self.stop(stream, failure.clone(), true));
            }
            Event::Leave => self.leave(),
        }
    }

    /// Takes up an attempt that waited for an earlier one to end, if there is one. Only when
    /// nothing is left to do: it is judged by what that has come to.
    pub(crate) fn take_up(&mut self, memory: &mut dyn Memory) -> bool {
        let Some(offer) = self.later.pop_front() else { return false };
        self.offered(offer, memory);
        true
    }

    /// Ends what its sinks have not answered for. They may commit yet: nothing is said that would
    /// be for good.
    fn leave(&mut self) {
        for stream in self.streams(|known| known.ending.is_some()) {
            if let Some(ending) =
                self.known.get_mut(&stream).and_then(|known| known.ending.as_mut())
            {
                ending.failure = Failure::new(
                    FailureKind::Shutdown,
                    "the receiver stopped before its sink had answered",
                );
            }
            self.end(stream);
        }
    }

    fn streams(&self, which: impl Fn(&Reception<O>) -> bool) -> Vec<u64> {
        self.known.iter().filter(|(_, known)| which(known)).map(|(&stream, _)| stream).collect()
    }

    fn act(&mut self, action: Action<O>) {
        self.actions.push_back(action);
    }

    fn offered(&mut self, offer: Offer<O>, memory: &mut dyn Memory) {
        let stream = offer.stream;
        if memory.is_delivered(offer.transfer) {
            return self.act(Action::Repeat(offer));
        }
        let link = self.link;
        if let Some(known) = self.known.get_mut(&stream) {
            if (known.offer.transfer, known.offer.commit) != (offer.transfer, offer.commit) {
                let failure =
                    Failure::new(FailureKind::Protocol, "the stream is in use by another transfer");
                return self.act(Action::SayRejected { stream, failure, looked: false });
            }
            (known.offered_on, known.offer.deadline) = (link, offer.deadline);
            // One that ends is answered when it has ended.
            if known.admitted && known.ending.is_none() {
                let said = known.said_pause;
                self.act(Action::Accept(stream, said));
            }
            return self.say_waiting(stream);
        }
        if let Some(failure) = memory.given_up(offer.transfer, offer.attempt) {
            // It was looked for before it was given up.
            return self.act(Action::SayRejected { stream, failure, looked: self.durable });
        }
        let older = self.known.iter().find(|(_, known)| known.offer.transfer == offer.transfer);
        if let Some((&older, known)) = older {
            if known.offer.attempt >= offer.attempt {
                let failure = Failure::new(
                    FailureKind::Protocol,
                    "a newer attempt of this transfer is under way",
                );
                return self.act(Action::SayRejected { stream, failure, looked: false });
            }
            let failure = Failure::new(FailureKind::Changed, "the sender begins anew");
            self.give_up(older, Ending { keep: true, ..Ending::of(failure, false) });
            if let Some(known) = self.known.get_mut(&older) {
                // It may commit, or be being remembered: an attempt that began now would find
                // neither note nor memory, and deliver it again.
                known.next = Some(offer);
                return self.act(Action::SayWaiting(stream, self.running_beside(stream)));
            }
        }
        self.act(Action::Check(offer));
    }

    fn taken(&mut self, offer: Offer<O>) {
        let stream = offer.stream;
        let reception = Reception {
            offer,
            stage: Stage::Waiting,
            admitted: false,
            ending: None,
            next: None,
            paused: false,
            said_pause: None,
            offered_on: self.link,
        };
        self.known.insert(stream, reception);
        self.act(Action::SeekRoom(stream));
    }

    fn has_room(&mut self, stream: u64) {
        if let Some(known) =
            self.known.get_mut(&stream).filter(|known| known.stage == Stage::Waiting)
        {
            known.stage = Stage::Opening;
            self.act(Action::Open(stream));
        }
    }

    fn say_waiting(&mut self, stream: u64) {
        let waits = |known: &Reception<O>| known.stage == Stage::Waiting && known.ending.is_none();
        if self.known.get(&stream).is_some_and(waits) {
            self.act(Action::SayWaiting(stream, self.running_beside(stream)));
        }
    }

    /// Returns how many other deliveries of the sender run. One that ends is told of no more; it
    /// may be an earlier attempt of the very delivery that waits.
    fn running_beside(&self, stream: u64) -> u32 {
        let others = self.known.iter().filter(|&(&other, known)| {
            other != stream && known.stage != Stage::Waiting && known.ending.is_none()
        });
        u32::try_from(others.count()).unwrap_or(u32::MAX)
    }

    fn opened(&mut self, stream: u64, outcome: Result<Sink, NoSink>) {
        let Some(known) = self.known.get_mut(&stream) else { return };
        let ends = known.ending.is_some();
        match outcome {
            Ok(Sink::Runs) => {
                known.stage = Stage::Writing { told: None };
                if ends { self.tell_sink(stream) } else { self.act(Action::Admit(stream)) }
            }
            Ok(Sink::Committed) => self.committed(stream),
            Ok(Sink::Remembered) => {
                if let Some(known) = self.known.remove(&stream) {
                    self.act(Action::Drop(stream));
                    self.later.push_back(known.offer);
                    self.later.extend(known.next);
                }
            }
            Ok(Sink::Nothing) => self.stopped(stream),
            Err(NoSink { failure, .. }) if ends => {
                // What is said leaves open whether it is here: what lay here is not thrown away.
                if let Some(ending) =
                    known.ending.as_mut().filter(|ending| self.durable && !ending.keep)
                {
                    (ending.failure, ending.keep) =
                        (Failure::new(FailureKind::Io, failure.message), true);
                }
                self.stopped(stream);
            }
            Err(NoSink { failure, looked }) => {
                self.act(Action::SayRejected { stream, failure: failure.clone(), looked });
                self.take_out(stream, failure);
            }
        }
    }

    fn admitted(&mut self, stream: u64, outcome: Result<(), Failure>) {
        match (self.known.get_mut(&stream).filter(|known| known.ending.is_none()), outcome) {
            (None, _) => self.act(Action::Close(stream)),
            (Some(_), Err(failure)) => self.stop(stream, failure, true),
            (Some(known), Ok(())) => {
                known.admitted = true;
                let said = known.said_pause;
                self.act(Action::Begin(stream));
                self.act(Action::Accept(stream, said));
            }
        }
    }

    /// Whoever gave it up meanwhile: it is delivered.
    fn committed(&mut self, stream: u64) {
        if let Some(known) = self.known.get_mut(&stream) {
            (known.stage, known.ending) = (Stage::Remembering, None);
            self.act(Action::Remember(stream));
        }
    }

    fn remembered(&mut self, stream: u64) {
        if let Some(known) = self.known.remove(&stream) {
            self.later.extend(known.next);
            self.act(Action::Deliver(known.offer));
        }
    }

    fn pause(&mut self, stream: u64, paused: bool, ours: bool) {
        let Some(known) = self.known.get_mut(&stream) else { return };
        // The peer's word is newer than this side's.
        known.said_pause = ours.then_some(paused);
        if std::mem::replace(&mut known.paused, paused) != paused {
            let grant = known.admitted && !paused;
            self.act(Action::Pause { stream, paused, grant });
        }
    }

    /// Ends an attempt, unless it turns out to be committed; the sender is told, if it has not said
    /// so itself.
    fn stop(&mut self, stream: u64, failure: Failure, tell: bool) {
        self.give_up(stream, Ending::of(failure, tell));
    }

    fn give_up(&mut self, stream: u64, ending: Ending) {
        let durable = self.durable;
        let Some(known) = self.known.get_mut(&stream) else { return };
        if let Some(earlier) = &mut known.ending {
            (earlier.tell, earlier.asked) =
                (earlier.tell | ending.tell, earlier.asked | ending.asked);
            // A cancel is to last, whatever ended it before.
            let cancels = ending.tell && ending.failure.kind == FailureKind::Cancelled;
            if cancels || earlier.keep && !ending.keep {
                (earlier.failure, earlier.keep) = (ending.failure, false);
            }
            return;
        }
        match known.stage {
            // It is delivered, and that is said when it is durable.
            Stage::Remembering => return,
            Stage::Waiting if ending.keep || !durable => {
                known.ending = Some(ending);
                return self.end(stream);
            }
            // An earlier process, or attempt, may have committed it, or have left something to be
            // thrown away: the inbox knows, and for that it needs no room.
            Stage::Waiting => {
                (known.ending, known.stage) = (Some(ending), Stage::Opening);
                self.act(Action::Close(stream));
                return self.act(Action::Open(stream));
            }
            Stage::Opening | Stage::Writing { .. } | Stage::Discarding => {
                known.ending = Some(ending)
            }
        }
        self.act(Action::Close(stream));
        self.tell_sink(stream);
    }

    /// Tells the sink of an attempt that is to end, if it runs.
    fn tell_sink(&mut self, stream: u64) {
        let Some(known) = self.known.get_mut(&stream) else { return };
        if let (Some(Ending { failure, keep, .. }), Stage::Writing { told: None }) =
            (&known.ending, known.stage)
        {
            let (keep, reason) = (*keep, failure.message.clone());
            known.stage = Stage::Writing { told: Some(keep) };
            self.act(Action::Stop { stream, keep, reason });
        }
    }

    /// The sink has stopped, or there was none.
    fn stopped(&mut self, stream: u64) {
        if self.known.get(&stream).is_some_and(|known| known.ending.is_none()) {
            let text = "the assembler stopped before the delivery was done; see its node's log";
            return self
                .failed(stream, Failure::new(FailureKind::Stage, text).in_stage("assembler"));
        }
        if let Some(known) = self.known.get_mut(&stream)
            && known.stage == (Stage::Writing { told: Some(true) })
            && known.ending.as_ref().is_some_and(|ending| !ending.keep)
        {
            known.stage = Stage::Discarding;
            return self.act(Action::Discard(stream));
        }
        self.end(stream);
    }

    /// The sink is not there any more: by its own fault, if it was not told to stop.
    fn failed(&mut self, stream: u64, failure: Failure) {
        // That one has said its last word. What it kept is being thrown away, and that answers.
        if self.known.get(&stream).is_some_and(|known| known.stage == Stage::Discarding) {
            return;
        }
        if let Some(known) = self.known.get_mut(&stream) {
            known.ending.get_or_insert(Ending { keep: false, ..Ending::of(failure, true) });
        }
        self.end(stream);
    }

    fn end(&mut self, stream: u64) {
        let Some(Ending { failure, keep, tell, asked }) =
            self.known.get_mut(&stream).and_then(|known| known.ending.take())
        else {
            return;
        };
        if keep {
            self.act(Action::KeepPart(stream));
        }
        if tell {
            self.say_failed(stream, failure.clone());
        } else if asked {
            self.act(Action::SayFailed(stream, failure.clone()));
        }
        self.take_out(stream, failure);
    }

    fn say_failed(&mut self, stream: u64, failure: Failure) {
        if matches!(failure.kind, FailureKind::Cancelled | FailureKind::Expired) {
            // A cancel is to last until it is heard; the other is for an offer that crosses it.
            let said = failure.kind != FailureKind::Cancelled || self.link.is_some();
            self.act(Action::NoteCancelled { stream, failure: failure.clone(), said });
        }
        self.act(Action::SayFailed(stream, failure));
    }

    fn take_out(&mut self, stream: u64, failure: Failure) {
        if let Some(known) = self.known.remove(&stream) {
            self.later.extend(known.next);
            self.act(Action::Fail(known.offer, failure));
        }
    }
}

#[cfg(test)]
mod tests;
