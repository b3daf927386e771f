//! The world around the numbers of one sender's letters and the logs of their receiver: a link, two
//! processes, a spool on each side, an actor, and what may befall them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Break;
use crate::remote::error::{RemoteError, RemoteErrorKind};
use crate::remote::letter_id::LogId;
use crate::remote::letters::expiring::SWEPT;
use crate::remote::letters::keyed::{KEPT, Keys};
use crate::remote::letters::receiving::in_log::{About, Note};
use crate::remote::letters::receiving::logs::{Arrival, Logs, Word};
use crate::remote::letters::record::{Refusal, Taken};
use crate::remote::letters::sending::LEFT_OUT;
use crate::remote::letters::sending::offers::{Next, Offers};
use crate::remote::letters::sending::windows::{Sum, Windows};
use crate::store::Change;

/// The cost of any letter.
const COST: u64 = 64;
/// The time at which letters expire.
const LIFE: u64 = 1;
/// The names that letters are for. Nobody has the second one at first, where that is so.
const NAMES: [&str; 2] = ["here", "later"];
const LATER: usize = 1;

/// The times that each thing may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) letters: u8,
    /// The first letter, and each second one after it, are for a name that nobody has.
    pub(super) absent: bool,
    /// Somebody takes that name.
    pub(super) registers: u8,
    /// The letters that may be said and not over; 0 for as many as there are. One of them may be on
    /// the road.
    pub(super) far: u8,
    /// Letters are posted under keys.
    pub(super) keys: bool,
    /// One is posted again, under its key.
    pub(super) repeats: u8,
    /// So much time passes that keys are forgotten.
    pub(super) days: u8,
    /// A dead letter is forgotten, because somebody said so.
    pub(super) forgets: u8,
    pub(super) cuts: u8,
    /// An item of a link is lost, and those behind it come.
    pub(super) holes: u8,
    pub(super) duplicates: u8,
    pub(super) sender_crashes: u8,
    pub(super) receiver_crashes: u8,
    /// The sender's process begins again without its spool.
    pub(super) lost_spools: u8,
    /// The receiver's does.
    pub(super) lost_mail: u8,
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
    /// The letter that it was the first time it was posted, where there are keys.
    of: Letter,
    /// Its number, and until when its key is to be remembered.
    number: u64,
    until: u64,
    /// It was posted under a key that has another letter still.
    pub(super) second: bool,
}

/// Letters are told apart by when they were posted.
type Letter = u8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sender {
    log: LogId,
    offers: Offers<Letter>,
    keys: Keys,
    /// Those under keys that were handled, until that is durable.
    handled: BTreeSet<u64>,
    /// Those under keys that are dead.
    dead: BTreeSet<u64>,
    writes: VecDeque<SenderWrite>,
}

/// Changes of a sender's spool; with each, those of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum SenderWrite {
    Posted(u64, Letter, Option<Change>),
    Ended(u64, Letter, End, Option<Change>),
    /// Nothing: it is waited for what was to be written before.
    Again(Letter),
    Forgotten(u64, Option<Change>),
    Expired(Vec<Change>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct SenderSpool {
    log: Option<(LogId, u64)>,
    /// Those that are under way.
    letters: BTreeMap<u64, Letter>,
    /// Those under keys that are dead.
    dead: BTreeSet<u64>,
    keys: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Receiver {
    logs: Logs<Letter>,
    writes: VecDeque<(Vec<Note>, Option<Letter>, Then)>,
    /// For each name.
    handing: [Handing; 2],
    /// The last letter of each name that was handled in this life.
    handled: [Option<Letter>; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Then {
    Stored(LogId, u64, usize),
    Ended(LogId, u64, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Handing {
    Nothing,
    /// With its actor.
    With(LogId, u64, Letter),
    /// The end of one of an earlier life is to be durable first.
    Noting(LogId, u64),
    /// Nobody has the name.
    Parked,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct ReceiverSpool {
    logs: BTreeMap<LogId, Taken>,
    mail: BTreeMap<(LogId, u64), Letter>,
    refused: BTreeMap<(LogId, u64), Refusal>,
}

/// A letter on its way to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Said {
    log: LogId,
    number: u64,
    before: u64,
    letter: Letter,
    is_asked: bool,
}

/// A word on its way to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Told {
    Stored,
    Handled,
    Refused,
    Gone,
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
    now: u64,
    /// Nobody has the second name.
    absent: bool,
    far: u8,
    has_lost_mail: bool,
    left: Budget,
    broken: Option<Break>,
    /// A thing that must not be, and was seen.
    pub(super) fault: Option<&'static str>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Post,
    Again(Letter),
    Forget(u64),
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
    Handled(usize),
    RefusedByActor(usize),
    Registers,
    SenderCrash,
    SenderStart { spool_lost: bool },
    ReceiverCrash,
    ReceiverStart { spool_lost: bool },
    Expire,
    Day,
    SenderClock,
    SenderRevokes,
    ReceiverRevokes,
    ReceiverSweeps,
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
            now: 0,
            absent: left.absent,
            far: left.far,
            has_lost_mail: false,
            left,
            broken,
            fault: None,
        };
        world.start_sender();
        world.start_receiver();
        world
    }

    fn name_of(&self, letter: Letter) -> usize {
        if self.left.absent && letter.is_multiple_of(2) { LATER } else { 0 }
    }

    /// The name by which the receiver has it.
    fn name_there(&self, letter: Letter) -> &'static str {
        if self.broken == Some(Break::OneOrder) { NAMES[0] } else { NAMES[self.name_of(letter)] }
    }

    fn windows(&self) -> Windows {
        match self.far {
            0 => Windows::default(),
            far => Windows {
                road: Sum { letters: 1, bytes: u64::MAX },
                far: Sum { letters: far.into(), bytes: u64::MAX },
            },
        }
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
        for again in self.letters_under_keys().filter(|_| left.repeats > 0) {
            may(sender.is_some(), Step::Again(again));
        }
        for &number in sender.into_iter().flat_map(|sender| &sender.dead) {
            may(left.forgets > 0, Step::Forget(number));
        }
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
        for name in 0..NAMES.len() {
            let is_handed =
                receiver.is_some_and(|there| matches!(there.handing[name], Handing::With(..)));
            may(is_handed, Step::Handled(name));
            may(is_handed && left.refusals > 0, Step::RefusedByActor(name));
        }
        may(self.absent && left.registers > 0, Step::Registers);
        may(sender.is_some() && left.sender_crashes > 0, Step::SenderCrash);
        may(sender.is_none(), Step::SenderStart { spool_lost: false });
        may(sender.is_none() && left.lost_spools > 0, Step::SenderStart { spool_lost: true });
        may(receiver.is_some() && left.receiver_crashes > 0, Step::ReceiverCrash);
        may(receiver.is_none(), Step::ReceiverStart { spool_lost: false });
        may(receiver.is_none() && left.lost_mail > 0, Step::ReceiverStart { spool_lost: true });
        may(self.now < LIFE && left.expiries > 0, Step::Expire);
        may(left.days > 0, Step::Day);
        let is_due = |sender: &Sender| {
            sender.offers.is_due(self.now) && self.now >= LIFE || sender.keys.is_due(self.now)
        };
        may(sender.is_some_and(is_due), Step::SenderClock);
        may(sender.is_some() && left.sender_revokes > 0, Step::SenderRevokes);
        may(receiver.is_some() && left.receiver_revokes > 0, Step::ReceiverRevokes);
        let has_expired = |there: &Receiver| self.now >= LIFE && there.logs.is_due(self.now);
        may(receiver.is_some_and(has_expired), Step::ReceiverSweeps);
        steps
    }

    pub(super) fn after(&self, step: Step) -> Self {
        let mut world = self.clone();
        world.happen(step);
        world
    }

    fn happen(&mut self, step: Step) {
        match step {
            Step::Post => self.post(),
            Step::Again(letter) => self.post_again(letter),
            Step::Forget(number) => self.forget(number),
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
            Step::Handled(name) => self.given(name, None),
            Step::RefusedByActor(name) => {
                self.left.refusals -= 1;
                self.given(name, Some(refusal()));
            }
            Step::Registers => {
                self.left.registers -= 1;
                self.absent = false;
                self.go_on();
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
            Step::ReceiverStart { spool_lost } => {
                self.left.lost_mail -= u8::from(spool_lost);
                if spool_lost {
                    self.lose_mail();
                }
                self.start_receiver();
            }
            Step::Expire => {
                self.left.expiries -= 1;
                self.now = LIFE;
            }
            Step::Day => {
                self.left.days -= 1;
                self.now = KEPT + LIFE;
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
            Step::ReceiverSweeps => self.receiver_sweeps(),
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
            sender.offers.up(self.links, self.broken != Some(Break::SpanOfNumbers));
        }
        self.send();
    }
}

mod ends;
mod keyed;
mod receiver;
mod sender;
