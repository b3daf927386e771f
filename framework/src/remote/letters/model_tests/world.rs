//! The world around the numbers of one sender's letters and the logs of their receiver: a link, two
//! processes, a spool on each side, an actor, and what may befall them.

use std::collections::{BTreeMap, VecDeque};

use super::Break;
use crate::remote::error::{RemoteError, RemoteErrorKind};
use crate::remote::letter_id::LogId;
use crate::remote::letters::receiving::logs::{Arrival, Logs, Note, Word};
use crate::remote::letters::record::Taken;
use crate::remote::letters::sending::LEFT_OUT;
use crate::remote::letters::sending::offers::{Next, Offers};

/// The cost of any letter.
const COST: u64 = 64;
/// The time at which letters expire.
const LIFE: u64 = 1;

/// The times that each thing may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) letters: u8,
    pub(super) cuts: u8,
    /// An item of a link is lost, and those behind it come.
    pub(super) holes: u8,
    pub(super) duplicates: u8,
    pub(super) sender_crashes: u8,
    pub(super) receiver_crashes: u8,
    /// The sender's process begins again without its spool.
    pub(super) lost_spools: u8,
    pub(super) failed_writes: u8,
    /// At its arrival, and when it is handed over.
    pub(super) refusals: u8,
    pub(super) expiries: u8,
    pub(super) sender_revokes: u8,
    pub(super) receiver_revokes: u8,
}

/// The end of a letter, as whoever posted it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    NotStored,
    Processed,
    Refused,
    /// Its sender has given it up.
    GivenUp,
    /// With its sender's spool.
    Lost,
}

/// One letter, as nobody but the model sees all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Fate {
    pub(super) stored: bool,
    pub(super) end: Option<End>,
    pub(super) handled: u8,
    /// Times that the receiver's process ended after it had handled it, and had not noted that.
    pub(super) died_with: u8,
}

/// Letters are told apart by when they were posted.
type Letter = u8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sender {
    log: LogId,
    offers: Offers<Letter>,
    writes: VecDeque<SenderWrite>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SenderWrite {
    Posted(u64, Letter),
    Ended(u64, Letter, End),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct SenderSpool {
    log: Option<(LogId, u64)>,
    /// Those that are under way.
    letters: BTreeMap<u64, Letter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Receiver {
    logs: Logs<Letter>,
    writes: VecDeque<(Vec<Note<Letter>>, Then)>,
    handing: Handing,
    /// The last letter that was handled in this life.
    handled: Option<Letter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Then {
    Stored(LogId, u64, Option<RemoteError>),
    Ended(LogId, u64, Option<RemoteError>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Handing {
    Nothing,
    /// With its actor.
    With(LogId, u64, Letter),
    /// The end of one of an earlier life is to be durable first.
    Noting(LogId, u64),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct ReceiverSpool {
    logs: BTreeMap<LogId, Taken>,
    mail: BTreeMap<(LogId, u64), Letter>,
    refused: BTreeMap<(LogId, u64), RemoteError>,
}

/// A letter on its way to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Said {
    log: LogId,
    number: u64,
    before: u64,
    letter: Letter,
}

/// A word on its way to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Told {
    Stored,
    Handled,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) fates: Vec<Fate>,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    sender_spool: SenderSpool,
    receiver_spool: ReceiverSpool,
    link: Option<u64>,
    links: u64,
    logs: u8,
    to_receiver: VecDeque<Said>,
    to_sender: VecDeque<(LogId, u64, Told)>,
    /// Something was lost or doubled on this link: it may be ended for that.
    spoilt: bool,
    expired: bool,
    left: Budget,
    broken: Option<Break>,
    /// A thing that must not be, and was seen.
    pub(super) fault: Option<&'static str>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Post,
    SenderWrites,
    SenderCantWrite,
    ReceiverWrites,
    Link,
    Cut,
    ToReceiver { refused: bool },
    ToSender,
    HoleToReceiver,
    HoleToSender,
    TwiceToReceiver,
    TwiceToSender,
    Handled,
    RefusedByActor,
    SenderCrash,
    SenderStart { spool_lost: bool },
    ReceiverCrash,
    ReceiverStart,
    Expire,
    SenderClock,
    SenderRevokes,
    ReceiverRevokes,
}

fn refusal() -> RemoteError {
    RemoteError::new(RemoteErrorKind::Forbidden, "")
}

impl World {
    pub(super) fn new(left: Budget, broken: Option<Break>) -> Self {
        let mut world = Self {
            fates: Vec::new(),
            sender: None,
            receiver: None,
            sender_spool: SenderSpool::default(),
            receiver_spool: ReceiverSpool::default(),
            link: None,
            links: 0,
            logs: 0,
            to_receiver: VecDeque::new(),
            to_sender: VecDeque::new(),
            spoilt: false,
            expired: false,
            left,
            broken,
            fault: None,
        };
        world.start_sender();
        world.start_receiver();
        world
    }

    /// All that was posted has come to its end at both ends.
    pub(super) fn has_ended(&self) -> bool {
        let is_idle = |sender: &Sender| sender.offers.is_empty() && sender.writes.is_empty();
        let has_none =
            |receiver: &Receiver| receiver.logs.count() == 0 && receiver.writes.is_empty();
        self.left.letters == 0
            && self.fates.iter().all(|fate| fate.end.is_some())
            && self.sender.as_ref().is_some_and(is_idle)
            && self.receiver.as_ref().is_some_and(has_none)
    }

    /// Nothing lies in a spool that nobody will take out.
    pub(super) fn is_clean(&self) -> bool {
        self.sender_spool.letters.is_empty() && self.receiver_spool.mail.is_empty()
    }

    /// Returns `true` if all that was stored and has no end is in its sender's spool.
    pub(super) fn has_all(&self) -> bool {
        let is_there = |(letter, fate): (usize, &Fate)| {
            !fate.stored
                || fate.end.is_some()
                || self.sender_spool.letters.values().any(|&kept| usize::from(kept) == letter)
        };
        self.fates.iter().enumerate().all(is_there)
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        let left = &self.left;
        let mut steps = Vec::new();
        let mut may = |happens: bool, step| {
            if happens {
                steps.push(step);
            }
        };
        let (sender, receiver) = (self.sender.as_ref(), self.receiver.as_ref());
        may(sender.is_some() && left.letters > 0, Step::Post);
        let first = sender.and_then(|sender| sender.writes.front());
        may(first.is_some(), Step::SenderWrites);
        let may_fail = matches!(first, Some(SenderWrite::Posted(..)));
        may(may_fail && left.failed_writes > 0, Step::SenderCantWrite);
        may(receiver.is_some_and(|receiver| !receiver.writes.is_empty()), Step::ReceiverWrites);
        may(sender.is_some() && receiver.is_some() && self.link.is_none(), Step::Link);
        may(self.link.is_some() && (left.cuts > 0 || self.spoilt), Step::Cut);
        may(!self.to_receiver.is_empty(), Step::ToReceiver { refused: false });
        let is_refused = !self.to_receiver.is_empty() && left.refusals > 0;
        may(is_refused, Step::ToReceiver { refused: true });
        may(!self.to_sender.is_empty(), Step::ToSender);
        may(!self.to_receiver.is_empty() && left.holes > 0, Step::HoleToReceiver);
        may(!self.to_sender.is_empty() && left.holes > 0, Step::HoleToSender);
        may(!self.to_receiver.is_empty() && left.duplicates > 0, Step::TwiceToReceiver);
        may(!self.to_sender.is_empty() && left.duplicates > 0, Step::TwiceToSender);
        let is_handed = receiver.is_some_and(|there| matches!(there.handing, Handing::With(..)));
        may(is_handed, Step::Handled);
        may(is_handed && left.refusals > 0, Step::RefusedByActor);
        may(sender.is_some() && left.sender_crashes > 0, Step::SenderCrash);
        may(sender.is_none(), Step::SenderStart { spool_lost: false });
        may(sender.is_none() && left.lost_spools > 0, Step::SenderStart { spool_lost: true });
        may(receiver.is_some() && left.receiver_crashes > 0, Step::ReceiverCrash);
        may(receiver.is_none(), Step::ReceiverStart);
        may(!self.expired && left.expiries > 0, Step::Expire);
        let is_due = sender.is_some_and(|sender| sender.offers.is_due(self.now()));
        may(is_due && self.expired, Step::SenderClock);
        may(sender.is_some() && left.sender_revokes > 0, Step::SenderRevokes);
        may(receiver.is_some() && left.receiver_revokes > 0, Step::ReceiverRevokes);
        steps
    }

    fn now(&self) -> u64 {
        if self.expired { LIFE } else { 0 }
    }

    pub(super) fn after(&self, step: Step) -> Self {
        let mut world = self.clone();
        world.happen(step);
        world
    }

    fn happen(&mut self, step: Step) {
        match step {
            Step::Post => self.post(),
            Step::SenderWrites => self.sender_writes(),
            Step::SenderCantWrite => self.sender_cant_write(),
            Step::ReceiverWrites => self.receiver_writes(),
            Step::Link => self.link_up(),
            Step::Cut => {
                self.left.cuts -= u8::from(!self.spoilt);
                self.cut();
            }
            Step::ToReceiver { refused } => {
                self.left.refusals -= u8::from(refused);
                self.letter_comes(refused);
            }
            Step::ToSender => self.word_comes(),
            Step::HoleToReceiver => {
                self.left.holes -= 1;
                self.spoilt = true;
                self.to_receiver.pop_front();
            }
            Step::HoleToSender => {
                self.left.holes -= 1;
                self.spoilt = true;
                self.to_sender.pop_front();
            }
            Step::TwiceToReceiver => {
                self.left.duplicates -= 1;
                self.spoilt = true;
                self.to_receiver.extend(self.to_receiver.front().copied());
            }
            Step::TwiceToSender => {
                self.left.duplicates -= 1;
                self.spoilt = true;
                self.to_sender.extend(self.to_sender.front().copied());
            }
            Step::Handled => self.given(None),
            Step::RefusedByActor => {
                self.left.refusals -= 1;
                self.given(Some(refusal()));
            }
            Step::SenderCrash => {
                self.left.sender_crashes -= 1;
                self.sender_crash();
            }
            Step::SenderStart { spool_lost } => {
                self.left.lost_spools -= u8::from(spool_lost);
                if spool_lost {
                    self.lose_spool();
                }
                self.start_sender();
            }
            Step::ReceiverCrash => {
                self.left.receiver_crashes -= 1;
                self.receiver_crash();
            }
            Step::ReceiverStart => self.start_receiver(),
            Step::Expire => {
                self.left.expiries -= 1;
                self.expired = true;
            }
            Step::SenderClock => self.sender_clock(),
            Step::SenderRevokes => {
                self.left.sender_revokes -= 1;
                self.sender_revokes();
            }
            Step::ReceiverRevokes => {
                self.left.receiver_revokes -= 1;
                self.receiver_revokes();
            }
        }
    }

    fn cut(&mut self) {
        self.link = None;
        self.spoilt = false;
        self.to_receiver.clear();
        self.to_sender.clear();
        if let Some(sender) = &mut self.sender {
            sender.offers.down();
        }
        if let Some(receiver) = &mut self.receiver {
            receiver.logs.down();
        }
    }

    fn link_up(&mut self) {
        self.links += 1;
        self.link = Some(self.links);
        if let (Some(sender), Some(receiver)) = (&mut self.sender, &mut self.receiver) {
            receiver.logs.up(self.links);
            sender.offers.up(self.links);
        }
        self.send();
    }
}

mod receiver;
mod sender;
