//! Deliveries to one peer, as decisions.
//!
//! # Driving it
//! [`Sending::handle`] takes what happens; then [`Sending::poll_action`] until it has nothing more
//! to do. An action may make something else happen at once: what is to be done of that comes behind
//! what is left.
//!
//! Waiting (for room) → Offered → Wiring → Running → delivered or failed. A broken link puts
//! nothing back: the offer is made again, the receiver says what it has, the lanes send the rest.
//! Content that changed, or of which the receiver has lost its part, is begun anew: a new attempt
//! under a new key and a new stream.
//!
//! One that this side cancels, or that expires, when the receiver may have all of it has not ended
//! yet: the receiver is told, and has the last word, for a while.
//!
//! Invariant: every delivery ends once, and what the receiver may still wait for is answered: an
//! acceptance of what is not under way hears how it ended, or that it is not known.

mod cancelling;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::{Failure, FailureKind, TransferId};

/// The most attempts at content that changes while it is sent: the first time it is sent anew.
const ATTEMPTS: u32 = 2;
/// Attempts that one try of a stored delivery may make, whatever it begins anew for; the next try
/// counts on from there.
pub(crate) const ATTEMPTS_PER_TRY: u32 = 16;
/// Transfers that failed, of which it is remembered how.
const ENDED: usize = 256;

/// The deliveries to one peer that are under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sending {
    linked: bool,
    /// The number of the next stream: every second one is this side's.
    next_stream: u64,
    known: BTreeMap<u64, Dispatch>,
    /// The ends of those that failed lately: an acceptance that crosses that word is answered with
    /// it.
    ended: VecDeque<(u64, Failure)>,
    actions: VecDeque<Action>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Dispatch {
    transfer: TransferId,
    attempt: u32,
    first_attempt: u32,
    phase: Phase,
    /// Set if the content can be sent again by parts, so that the receiver may hold some.
    resumable: bool,
    /// The time at which it stops being worth delivering.
    deadline: Instant,
    /// The last word of this side, to be said again on the next link.
    said_pause: Option<bool>,
    /// It is cancelled, and ends so, unless the receiver has it.
    cancelled: Option<Failure>,
}

/// The phase of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// For a link.
    Waiting,
    /// For room.
    Seeking,
    /// For its source, which goes back to its start.
    Rewinding,
    Offered,
    /// It is accepted; for its stages.
    Wiring,
    Running,
    /// It is cancelled; for the receiver's word.
    Cancelling,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    LinkUp,
    LinkDown,
    /// Something is to be sent, by this stream.
    Start {
        stream: u64,
        transfer: TransferId,
        attempt: u32,
        deadline: Instant,
        resumable: bool,
    },
    /// There is room.
    Room(u64),
    /// The receiver takes it, or goes on with it.
    Accepted {
        stream: u64,
        held: Held,
    },
    /// The link that is coming up is to a receiver that may not open what this attempt is sealed
    /// with.
    Outdated(u64, String),
    /// The receiver has no room yet, and runs so many of this side's.
    Waits(u64, u32),
    /// The receiver does not take it, or gives it up.
    Denied(u64, Failure),
    /// The stages are wired, or can't be.
    Wired(u64, Result<(), Failure>),
    /// The source can't be read: it has changed, which another attempt may get over, or is at
    /// fault.
    SourceFailed {
        stream: u64,
        failure: Failure,
        changed: bool,
    },
    /// The source is back at its start, and can be sent by parts or not; or it can't be read again.
    Rewound(u64, Result<bool, Failure>),
    /// The receiver says that it has it.
    Delivered(u64, Vouched),
    /// This side gives it up.
    GiveUp(u64, Failure),
    /// This side gives it up, and the receiver may have all of it: it is asked, and waited for until
    /// then.
    Cancel {
        stream: u64,
        failure: Failure,
        until: Instant,
    },
    /// This side, or the receiver, pauses it or lets it go on.
    Pause {
        stream: u64,
        paused: bool,
        ours: bool,
    },
    /// Time has passed.
    Time(Instant),
}

/// The holdings of a receiver, as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    /// All chunks that it ever acknowledged are among it.
    pub(crate) whole: bool,
    /// It is something.
    pub(crate) some: bool,
    /// The trailer is there.
    pub(crate) trailer: bool,
}

/// The fact that a receipt proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Vouched {
    /// Nothing: its MAC is wrong.
    Forged,
    /// That other content was committed than was sent.
    Other,
    /// That the content was committed that was sent, or that the receiver had it before.
    Sent,
    /// That some content was committed: this attempt has not been sent to its end.
    Unsent,
}

/// A thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Wait for room.
    SeekRoom(u64),
    /// Offer it, for the first time or again; then what this side said of a pause.
    Offer(u64, Option<bool>),
    /// Wire its stages, and tell the application that it has begun.
    Wire(u64),
    /// Have its source read.
    Run(u64),
    /// Go on with what the receiver does not have; the trailer is to be sent once more, if it was.
    GoOn {
        stream: u64,
        trailer: bool,
    },
    /// Tell the application that the receiver has no room.
    TellWaiting(u64, u32),
    /// Give no more chunks to the stages, or give them again.
    Pause {
        stream: u64,
        paused: bool,
    },
    /// Begin anew, by another stream and under another key.
    Renew {
        stream: u64,
        by: u64,
        attempt: u32,
        why: String,
    },
    SayFailed(u64, Failure),
    /// Say that it is not known what was accepted.
    SayUnknown(u64),
    /// Say that the receipt was heard.
    SayDone(u64),
    /// It was delivered. It is over.
    Deliver(u64),
    /// It has failed. It is over.
    Fail(u64, Failure),
}

impl Sending {
    /// Whose streams are this one and every second one after it.
    pub(crate) fn new(first_stream: u64) -> Self {
        Self {
            linked: false,
            next_stream: first_stream,
            known: BTreeMap::new(),
            ended: VecDeque::new(),
            actions: VecDeque::new(),
        }
    }

    /// The number for what is sent next.
    pub(crate) fn take_stream(&mut self) -> u64 {
        let stream = self.next_stream;
        self.next_stream += 2;
        stream
    }

    /// The next thing to do.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Returns `true` if chunks are on their way.
    pub(crate) fn is_running(&self, stream: u64) -> bool {
        self.known.get(&stream).is_some_and(|known| known.phase == Phase::Running)
    }

    /// Returns its phase.
    pub(crate) fn phase(&self, stream: u64) -> Option<Phase> {
        self.known.get(&stream).map(|known| known.phase)
    }

    /// Returns `true` if it waits for room.
    pub(crate) fn seeks_room(&self, stream: u64) -> bool {
        self.known.get(&stream).is_some_and(|known| known.phase == Phase::Seeking)
    }

    /// Returns `true` if the receiver has not answered yet.
    pub(crate) fn is_offered(&self, stream: u64) -> bool {
        self.known.get(&stream).is_some_and(|known| known.phase == Phase::Offered)
    }

    /// Returns this side's last word on a pause.
    pub(crate) fn said_pause(&self, stream: u64) -> Option<bool> {
        self.known.get(&stream).and_then(|known| known.said_pause)
    }

    /// Returns those whose time is over that are not cancelled.
    pub(crate) fn expired(&self, now: Instant) -> Vec<u64> {
        let over = |known: &Dispatch| known.deadline < now && known.phase != Phase::Cancelling;
        self.known.iter().filter(|(_, known)| over(known)).map(|(&stream, _)| stream).collect()
    }

    /// Returns the time at which it stops being worth delivering.
    pub(crate) fn deadline(&self, stream: u64) -> Option<Instant> {
        self.known.get(&stream).map(|known| known.deadline)
    }

    /// Something happens.
    pub(crate) fn handle(&mut self, event: Event) {
        match event {
            Event::LinkUp => self.link_up(),
            Event::LinkDown => self.link_down(),
            Event::Start { stream, transfer, attempt, deadline, resumable } => {
                let dispatch = Dispatch {
                    transfer,
                    attempt,
                    first_attempt: attempt,
                    phase: Phase::Waiting,
                    resumable,
                    deadline,
                    said_pause: None,
                    cancelled: None,
                };
                self.known.insert(stream, dispatch);
                self.seek_room();
            }
            Event::Room(stream) => self.go_to(stream, Phase::Seeking, Phase::Offered),
            Event::Accepted { stream, held } => self.accepted(stream, held),
            Event::Waits(stream, running) => {
                if self.known.get(&stream).is_some_and(|known| known.phase == Phase::Offered) {
                    self.act(Action::TellWaiting(stream, running));
                }
            }
            Event::Outdated(stream, why) => {
                let begun = [Phase::Offered, Phase::Wiring, Phase::Running];
                if self.known.get(&stream).is_some_and(|known| begun.contains(&known.phase)) {
                    self.renew(stream, why);
                }
            }
            Event::Denied(stream, failure) => self.end(stream, Err(failure)),
            Event::Wired(stream, Ok(())) => self.wired(stream),
            Event::SourceFailed { stream, failure, changed } => {
                self.source_failed(stream, failure, changed)
            }
            Event::Rewound(stream, Ok(resumable)) => {
                if let Some(known) = self.known.get_mut(&stream) {
                    known.resumable = resumable;
                    self.go_to(stream, Phase::Rewinding, Phase::Offered);
                }
            }
            Event::Delivered(stream, vouched) => self.delivered(stream, vouched),
            Event::Wired(stream, Err(failure))
            | Event::Rewound(stream, Err(failure))
            | Event::GiveUp(stream, failure) => {
                self.fail(stream, failure);
            }
            Event::Cancel { stream, failure, until } => self.cancel(stream, failure, until),
            Event::Pause { stream, paused, ours } => {
                if let Some(known) = self.known.get_mut(&stream) {
                    // The peer's word is newer than this side's.
                    known.said_pause = ours.then_some(paused);
                    self.act(Action::Pause { stream, paused });
                }
            }
            Event::Time(now) => self.expire(now),
        }
    }

    /// Whatever was offered, or waits, is offered on the link that there is now.
    fn link_up(&mut self) {
        self.linked = true;
        self.seek_room();
        let streams: Vec<_> = self.known.keys().copied().collect();
        streams.into_iter().for_each(|stream| self.offer(stream));
    }

    /// Ends what is not worth delivering any more.
    fn expire(&mut self, now: Instant) {
        let over = self.known.iter().filter(|(_, known)| known.deadline < now);
        let over: Vec<_> = over.map(|(&stream, _)| stream).collect();
        over.into_iter().for_each(|stream| self.fail(stream, expired()));
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// Not without a link: nobody who is away takes the room of others.
    fn seek_room(&mut self) {
        for (&stream, known) in
            self.known.iter_mut().filter(|(_, known)| self.linked && known.phase == Phase::Waiting)
        {
            known.phase = Phase::Seeking;
            self.actions.push_back(Action::SeekRoom(stream));
        }
    }

    fn offer(&mut self, stream: u64) {
        let Some(known) = self.known.get(&stream) else { return };
        if self.linked && matches!(known.phase, Phase::Offered | Phase::Wiring | Phase::Running) {
            let said = known.said_pause;
            self.act(Action::Offer(stream, said));
        }
    }

    /// Moves it from one phase to another: what it waited for has come.
    fn go_to(&mut self, stream: u64, from: Phase, to: Phase) {
        if let Some(known) = self.known.get_mut(&stream).filter(|known| known.phase == from) {
            known.phase = to;
            self.offer(stream);
        }
    }

    fn accepted(&mut self, stream: u64, held: Held) {
        let Some(known) = self.known.get_mut(&stream) else {
            // It crossed the word that it has ended, or is of an attempt before the last.
            let failure = self
                .ended
                .iter()
                .find(|(ended, _)| *ended == stream)
                .map(|(_, failure)| failure.clone());
            return self.act(
                failure.map_or(Action::SayUnknown(stream), |failure| {
                    Action::SayFailed(stream, failure)
                }),
            );
        };
        if !held.whole && known.phase != Phase::Cancelling {
            return self.renew(
                stream,
                "the receiver has lost the part that it had; nothing changed here".into(),
            );
        }
        match known.phase {
            Phase::Offered if held.some && !known.resumable => {
                let text = "the receiver says it holds chunks of content that can't be sent twice";
                self.fail(stream, Failure::new(FailureKind::Protocol, text));
            }
            Phase::Offered => {
                known.phase = Phase::Wiring;
                self.act(Action::Wire(stream));
            }
            Phase::Running => self.act(Action::GoOn { stream, trailer: !held.trailer }),
            Phase::Waiting
            | Phase::Seeking
            | Phase::Rewinding
            | Phase::Wiring
            | Phase::Cancelling => {}
        }
    }

    fn wired(&mut self, stream: u64) {
        if let Some(known) =
            self.known.get_mut(&stream).filter(|known| known.phase == Phase::Wiring)
        {
            known.phase = Phase::Running;
            self.act(Action::Run(stream));
        }
    }

    fn source_failed(&mut self, stream: u64, failure: Failure, changed: bool) {
        let Some(known) = self.known.get(&stream).filter(|known| known.phase != Phase::Cancelling)
        else {
            return;
        };
        if !changed || known.attempt + 1 >= known.first_attempt + ATTEMPTS {
            return self.fail(stream, failure);
        }
        let why = failure.message.clone();
        self.act(Action::SayFailed(stream, Failure::new(FailureKind::Changed, why.clone())));
        self.renew(stream, why);
    }

    fn delivered(&mut self, stream: u64, vouched: Vouched) {
        let Some(known) = self.known.get(&stream) else { return self.act(Action::SayDone(stream)) };
        let wrong = match vouched {
            Vouched::Forged => {
                "the receipt is not authentic: it was not made by the receiver of this transfer"
            }
            Vouched::Other => "the receiver committed other content than was sent",
            // An earlier attempt, of this process or of one that died, may have brought it.
            Vouched::Unsent if known.attempt == 0 => {
                "the receiver says that it has the content, before all of it was sent"
            }
            Vouched::Sent | Vouched::Unsent => {
                self.act(Action::SayDone(stream));
                return self.end(stream, Ok(()));
            }
        };
        self.fail(stream, Failure::new(FailureKind::Integrity, wrong));
    }

    /// Begins anew under a new key, from the start of the content.
    fn renew(&mut self, stream: u64, why: String) {
        let Some(mut known) = self.known.remove(&stream) else { return };
        let attempt = known.attempt + 1;
        let tried = attempt - known.first_attempt;
        if tried >= ATTEMPTS_PER_TRY {
            self.known.insert(stream, known);
            return self.fail(
                stream,
                Failure::new(
                    FailureKind::Unreachable,
                    format!("given up after {tried} attempts: {why}"),
                ),
            );
        }
        let by = self.take_stream();
        (known.attempt, known.phase) = (attempt, Phase::Rewinding);
        self.known.insert(by, known);
        self.act(Action::Renew { stream, by, attempt, why });
    }

    /// Fails it at both ends.
    fn fail(&mut self, stream: u64, failure: Failure) {
        let Some(known) = self.known.get(&stream) else { return };
        if known.cancelled.is_none() {
            self.act(Action::SayFailed(stream, failure.clone()));
        }
        self.end(stream, Err(failure));
    }

    fn end(&mut self, stream: u64, outcome: Result<(), Failure>) {
        let Some(known) = self.known.remove(&stream) else { return };
        let Err(failure) = outcome else { return self.act(Action::Deliver(stream)) };
        let failure = known.cancelled.unwrap_or(failure);
        self.ended.push_back((stream, failure.clone()));
        if self.ended.len() > ENDED {
            self.ended.pop_front();
        }
        self.act(Action::Fail(stream, failure));
    }
}

/// Returns the failure of what is not worth delivering any more.
pub(crate) fn expired() -> Failure {
    Failure::new(FailureKind::Expired, "the delivery was not done before it expired")
}
