//! Events of a delivery of the outbox, and actions that follow from them.

use crate::delivery::{Failure, Receipt, TransferId};
use crate::wire::{PeerId, Word, WordKind};

/// The moment of an event.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct At {
    /// Seconds by the node's own clock.
    pub(in super::super) passed: u64,
    /// The node stops: nothing is tried any more.
    pub(in super::super) stopping: bool,
}

/// The end of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub(in super::super) struct Ended {
    pub(in super::super) outcome: Result<Receipt, Failure>,
    /// The word about what was in a package.
    pub(in super::super) enclosed: Option<Receipt>,
    pub(in super::super) proof: [u8; 32],
    /// Set if the receiver may have it that has not said so.
    pub(in super::super) unsure: bool,
    /// Set if this process has sent all of it.
    pub(in super::super) sent: bool,
}

/// An order of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OrderKind {
    Retry,
    Cancel,
    /// Cancel it only if nobody else may have it.
    Recall,
    Drop,
}

/// The event that an order waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Obeyed {
    Done,
    /// A change is written; and the id it will have, if that is another one.
    Writing(Option<TransferId>),
    /// The try under way ends first.
    Ending,
}

/// A thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Action {
    /// Make its record durable as it is; answered by [`written`](super::Stored::written).
    Put,
    /// Take its record out; answered likewise.
    Remove,
    /// Make this its record, instead of the one under its present id, if there is another id;
    /// answered likewise.
    Replace(Box<super::OutboxEntry>, Option<TransferId>),
    /// Begin a try, when its count is durable, if it is [counted](Self::Try::counted) anew.
    Try {
        counted: bool,
    },
    /// Nothing is tried, although it was its turn.
    NotTried,
    /// End the try under way, or what is done before the record is written.
    StopTry,
    StopStoring,
    /// Let it wait for its turn, or not any more.
    Wait(Wait),
    Withdraw,
    /// It is its turn, whatever was found out about its peer.
    Hurry,
    /// Close the source that was given for the first try: it is not needed.
    Close,
    /// Tell who said so that a word is durable here.
    Noted(PeerId, WordKind),
    /// Warn that somebody says what it can't prove.
    Doubt(PeerId, &'static str),
    /// Tell who packed it.
    Pass(PeerId, Word),
    /// Whoever waits for its end from now on waits for another one than it had.
    Renew,
    /// Tell whoever waits and listens here.
    Tell(Tell),
    /// Answer whoever gave it to be stored.
    Answer(bool),
    /// Remove the file of its content.
    Discard,
    /// Hold it no more.
    Forget,
    /// It lives again; under another id, if there is one.
    Rename(Option<TransferId>),
}

/// The wait of a delivery for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Wait {
    None,
    /// Until it is looked again.
    Tick,
    /// As after so many tries.
    Backoff(u32),
    /// A relay has it, and is left alone for a while.
    AskRelay,
}

/// News for whoever waits for its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Tell {
    Delivered {
        receipt: Receipt,
        processed: bool,
        /// This is the first that is heard of its arrival.
        arrives: bool,
    },
    Dead(Failure),
    /// As it was told before.
    StillDead(Failure),
    Relayed,
    /// It was taken out; `unsure`: its receiver may have it.
    Removed {
        unsure: bool,
    },
    Deferred(Failure),
    /// The node stops; why the last try failed.
    Later(Option<Failure>),
    Unstored,
}
