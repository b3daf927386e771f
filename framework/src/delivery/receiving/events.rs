//! The events and actions of the state machine of incoming deliveries.

use std::time::Instant;

use crate::delivery::{Failure, TransferId};

/// An attempt that is offered, as far as decisions depend on it; `O` is the rest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Offer<O> {
    pub(crate) stream: u64,
    pub(crate) transfer: TransferId,
    pub(crate) attempt: u32,
    /// The commitment to its key.
    pub(crate) commit: [u8; 32],
    /// The time at which it stops being worth delivering.
    pub(crate) deadline: Instant,
    pub(crate) rest: O,
}

/// The memory of a peer, which outlives the sessions with it.
pub(crate) trait Memory {
    /// Returns `true` if this delivery of the peer is remembered.
    fn is_delivered(&mut self, transfer: TransferId) -> bool;
    /// Returns the reason that an attempt is not taken: the delivery was cancelled here.
    fn given_up(&mut self, transfer: TransferId, attempt: u32) -> Option<Failure>;
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event<O> {
    /// A link is up, and has this number.
    LinkUp(u64),
    LinkDown,
    /// The peer offers an attempt, for the first time or again.
    Offered(Offer<O>),
    /// An attempt was [checked](Action::Check), and nothing speaks against it.
    Taken(Offer<O>),
    /// There is room.
    Room(u64),
    /// There is none yet.
    NoRoom(u64),
    /// The inbox has answered.
    Opened(u64, Result<Sink, NoSink>),
    /// All lanes take the chunks, or one can't.
    Admitted(u64, Result<(), Failure>),
    /// The sink has stopped as it was told to, and will not commit; or what it kept is thrown away.
    Stopped(u64),
    /// The sink has failed, and is not there any more.
    Failed(u64, Failure),
    /// The sink has committed.
    Committed(u64),
    /// It is remembered, or can't be.
    Remembered(u64, Result<(), Failure>),
    /// This side gives it up.
    GiveUp(u64, Failure),
    /// Its sender gives it up.
    Withdrawn(u64, Failure),
    /// The process that began them has ended.
    Orphaned(Failure),
    /// It was not offered again on a link that has been up for long.
    NotOffered(Failure),
    /// This side, or its sender, pauses it or lets it go on.
    Pause {
        stream: u64,
        paused: bool,
        ours: bool,
    },
    /// Time has passed.
    Time(Instant),
    /// The session ends, and waits for no sink any more.
    Leave,
}

/// An answer of an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sink {
    /// It takes chunks.
    Runs,
    /// It was committed by an earlier process, or attempt.
    Committed,
    /// It was being remembered while it was asked.
    Remembered,
    /// It was given up meanwhile, and there was nothing to throw away.
    Nothing,
}

/// The reason why there is no sink.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NoSink {
    pub(crate) failure: Failure,
    /// Its node has found before that it does not have the delivery, by what outlives its process.
    pub(crate) looked: bool,
}

/// A failure on the way to where that is looked up.
impl From<Failure> for NoSink {
    fn from(failure: Failure) -> Self {
        Self { failure, looked: false }
    }
}

/// A thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action<O> {
    /// Say once more that it was delivered.
    Repeat(Offer<O>),
    /// Look whether it may come; then it is [taken](Event::Taken), or refused.
    Check(Offer<O>),
    /// Wait for room.
    SeekRoom(u64),
    /// Ask the inbox. Without room, if there is none: then it is only to end.
    Open(u64),
    /// Have the lanes take its chunks.
    Admit(u64),
    /// Tell its sink to stop, once.
    Stop {
        stream: u64,
        keep: bool,
        reason: String,
    },
    /// Throw away what its sink has kept; answered like the sink.
    Discard(u64),
    /// Let the lanes take no chunk of it any more.
    Close(u64),
    /// Make it durable that it was delivered.
    Remember(u64),
    /// Remember what is here of it, for a later attempt.
    KeepPart(u64),
    /// Remember that it was cancelled; whether there was a link to say so.
    NoteCancelled {
        stream: u64,
        failure: Failure,
        said: bool,
    },
    /// Tell the application that it has begun.
    Begin(u64),
    /// Say what is here and how far its sender may go; then what this side said of a pause.
    Accept(u64, Option<bool>),
    /// Say that there is no room yet, and how many of the peer's own run.
    SayWaiting(u64, u32),
    /// Say that it is not taken; `looked`: and that no earlier attempt has brought it.
    SayRejected {
        stream: u64,
        failure: Failure,
        looked: bool,
    },
    SayFailed(u64, Failure),
    /// Give no more credit, or give it again; and say so if it may be used.
    Pause {
        stream: u64,
        paused: bool,
        grant: bool,
    },
    /// Say that it was delivered. It is over.
    Deliver(Offer<O>),
    /// It has failed. It is over.
    Fail(Offer<O>, Failure),
    /// It was delivered by an earlier attempt. It is over, and offered anew.
    Drop(u64),
}
