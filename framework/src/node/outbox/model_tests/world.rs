//! The world around one package: who packed it, a relay, a receiver, the links between them, and
//! what may befall them.

mod origin;
mod steps;
mod ways;

use std::collections::VecDeque;

use self::origin::Origin;
use super::Break;
use super::desk::{Attempt, Desk, Disk};
use crate::delivery::{Failure, FailureKind, Receipt};
use crate::node::outbox::stored::{At, Ended, OrderKind, Stored};
use crate::node::outbox::{Expected, Kept, OutboxEntry, OutboxState, entry_for_tests};
use crate::wire::{PeerId, Word, WordKind};

pub(super) const ORIGIN: PeerId = PeerId::from_bytes([5; 32]);
pub(super) const SENDER: PeerId = PeerId::from_bytes([1; 32]);
pub(super) const RELAY: PeerId = PeerId::from_bytes([2; 32]);
pub(super) const RECEIVER: PeerId = PeerId::from_bytes([3; 32]);
/// The time of its expiry, and the time that it is then.
const EXPIRES: u64 = 1;
const LATER: u64 = 2;
const PROCESSED: [u8; 32] = [4; 32];

/// The times that each thing may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    /// The first of the two is a relay in the middle.
    pub(super) chain: bool,
    /// Its origin asks it what has become of the package.
    pub(super) asks: u8,
    pub(super) cuts: u8,
    pub(super) sender_crashes: u8,
    pub(super) relay_crashes: u8,
    /// A try ends since whoever is next is not there, whatever comes of it.
    pub(super) patience: u8,
    pub(super) failed_writes: u8,
    /// The receiver refuses it.
    pub(super) refusals: u8,
    /// Its application is done with it.
    pub(super) processed: u8,
    pub(super) sender_expires: u8,
    pub(super) relay_expires: u8,
    pub(super) cancels: u8,
    pub(super) recalls: u8,
    pub(super) retries: u8,
    /// The host of the relay takes it out there.
    pub(super) relay_cancels: u8,
    pub(super) revokes: u8,
    /// The way of a relay in the middle changes, from the next relay to the receiver or back.
    pub(super) turns: u8,
    /// The receiver commits what the middle has brought it itself, and its word is lost.
    pub(super) lost: u8,
}

/// A package on its way into the relay's outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Coming {
    /// It is here, whole.
    Whole,
    /// The outbox is to store it.
    Deposited,
    /// It is stored, or known, and is being remembered.
    Kept,
}

/// Whose outbox something happens in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    Sender,
    Relay,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    NearLink,
    NearCut,
    FarLink,
    FarCut,
    /// The file of what is to be stored is where it belongs, and then its record.
    Moved(Whose),
    Recorded(Whose),
    CantRecord(Whose),
    Due(Whose),
    Counted(Whose),
    CantCount(Whose),
    Offer(Whose),
    Stopped(Whose),
    Patience(Whose),
    Over(Whose),
    Written(Whose),
    CantWrite(Whose),
    Sweep(Whose),
    Expire(Whose),
    Order(Whose, OrderKind),
    /// At the relay: the package is here, is given to the outbox, is remembered, forgotten.
    Arrive,
    Deposit,
    Remember,
    Repeat,
    Forget,
    /// At the receiver.
    Commit,
    Refuse,
    Process,
    SayProcessed,
    ToSender,
    ToRelay,
    /// The middle goes another way, which may be to the receiver itself.
    Turn,
    TakenDirectly {
        lost: bool,
    },
    RefusedDirectly,
    RefusedByRelay,
    OriginLink,
    OriginCut,
    OriginAsks,
    ToOrigin,
    FromOrigin,
    SenderCrash,
    SenderStart,
    RelayCrash,
    RelayStart,
    Revoke,
}

/// The fate of the package, as whoever sent it knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Fate {
    pub(super) is_stored: bool,
    pub(super) end: Option<End>,
    /// It was called back, since nobody else had it; an order is to be answered so.
    pub(super) recalled: bool,
    pub(super) recalling: bool,
    /// It was said to be taken out, and not delivered.
    pub(super) taken_out: bool,
    /// It is told as dead, and not delivered.
    pub(super) denied: bool,
    retried: bool,
    /// Its sender wanted it out.
    pub(super) cancelled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    Unstored,
    Delivered,
    Processed,
    Dead,
    Removed,
}

/// A word on its way from the relay.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Back {
    Word(Word),
    /// The end of what was offered last.
    Ended(Ended),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Relay {
    desk: Desk,
    coming: Option<Coming>,
    /// It remembers that it has taken it.
    remembers: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) fate: Fate,
    pub(super) sender: Option<Desk>,
    pub(super) sender_disk: Disk,
    /// The one that a relay in the middle has it of.
    origin: Origin,
    pub(super) relay: Option<Relay>,
    pub(super) relay_disk: Disk,
    /// On the relay's disk.
    remembered: bool,
    /// The relay has let go of it before it was delivered, or of its word.
    pub(super) let_go: bool,
    pub(super) committed: bool,
    pub(super) processed: bool,
    /// The relay has noted that it was processed.
    processed_heard: bool,
    /// All of it was sent, in the sender's try under way.
    sent: bool,
    /// Set once the sender's offer was answered.
    answered: bool,
    /// Set while the relay's offer may still be committed.
    in_the_air: bool,
    near: bool,
    far: bool,
    to_sender: VecDeque<Back>,
    to_relay: VecDeque<WordKind>,
    sender_expired: bool,
    relay_expired: bool,
    revoked: bool,
    /// The middle has gone another way.
    turned: bool,
    /// The receiver's word to the middle was lost.
    word_lost: bool,
    /// A change could not be written: what is known in a process is ahead of its disk.
    ahead: bool,
    left: Budget,
    broken: Option<Break>,
    /// A thing that must not be, and was seen.
    pub(super) fault: Option<&'static str>,
}

fn word() -> Receipt {
    Receipt { digest: [1; 32], length: 3, place: String::new(), files: 1, mac: [2; 32] }
}

/// Returns the record of a relay in the middle, which can't judge a receipt.
fn passing() -> OutboxEntry {
    OutboxEntry { relayed_for: Some(ORIGIN), expected: None, ..own() }
}

fn own() -> OutboxEntry {
    let expected =
        Expected { digest: [1; 32], length: 3, delivered_mac: [2; 32], processed_mac: PROCESSED };
    OutboxEntry {
        peer: RECEIVER,
        via: Some(RELAY),
        expected: Some(expected),
        expires: EXPIRES,
        tries: 0,
        ..bare()
    }
}

fn kept() -> OutboxEntry {
    OutboxEntry { peer: RECEIVER, relayed_for: Some(SENDER), expires: EXPIRES, tries: 0, ..bare() }
}

/// Returns a record with the parts that do not matter kept small.
fn bare() -> OutboxEntry {
    let content = Kept::Package { file: String::new(), bytes: 1 };
    OutboxEntry {
        inbox: String::new(),
        addresses: Vec::new(),
        name: String::new(),
        content,
        created: 0,
        ..entry_for_tests()
    }
}

fn failed(kind: FailureKind, unsure: bool) -> Ended {
    let outcome = Err(Failure::new(kind, ""));
    Ended { outcome, enclosed: None, proof: [0; 32], unsure, sent: unsure }
}

impl World {
    pub(super) fn new(left: Budget, broken: Option<Break>) -> Self {
        let entry = if left.chain { passing() } else { own() };
        let desk =
            Desk { stored: Some(Stored::new(entry)), storing: Some(false), ..Desk::default() };
        Self {
            fate: Fate::default(),
            sender: Some(desk),
            sender_disk: Disk::default(),
            origin: Origin::default(),
            relay: Some(Relay::default()),
            relay_disk: Disk::default(),
            remembered: false,
            let_go: false,
            committed: false,
            processed: false,
            processed_heard: false,
            sent: false,
            answered: false,
            in_the_air: false,
            near: false,
            far: false,
            to_sender: VecDeque::new(),
            to_relay: VecDeque::new(),
            sender_expired: false,
            relay_expired: false,
            revoked: false,
            turned: false,
            word_lost: false,
            ahead: false,
            left,
            broken,
            fault: None,
        }
    }

    /// It has come to its end at its sender, and nothing is to be done or said at the relay.
    pub(super) fn has_ended(&self) -> bool {
        let is_heard = |desk: &Desk| {
            desk.stored.as_ref().is_none_or(|stored| self.revoked || !stored.entry.is_unheard())
        };
        self.fate.end.is_some()
            && self.sender.as_ref().is_some_and(|desk| desk.is_idle() && is_heard(desk))
            && self.origin_knows()
            && self.relay.as_ref().is_some_and(|relay| {
                relay.coming.is_none() && relay.desk.is_idle() && is_heard(&relay.desk)
            })
    }

    /// The relay has a word to be heard, and it is not on its way.
    fn is_unheard(&self) -> bool {
        let unheard = |stored: &Stored| stored.entry.is_unheard();
        let is_quiet = self.to_sender.is_empty() && self.to_relay.is_empty();
        let relay = self.desk(Whose::Relay);
        is_quiet && relay.and_then(|desk| desk.stored.as_ref()).is_some_and(unheard)
    }

    /// No file lies about that no record needs.
    pub(super) fn is_clean(&self) -> bool {
        let is_clean = |disk: &Disk| {
            !disk.file || disk.record.as_ref().is_some_and(|entry| entry.needs_file())
        };
        is_clean(&self.sender_disk) && is_clean(&self.relay_disk)
    }

    /// Returns `true` if all that is stored and has no end is there, with its file.
    pub(super) fn is_kept(&self) -> bool {
        !self.fate.is_stored || self.fate.end.is_some() || self.sender_disk.is_open()
    }

    /// A record that is still to be delivered has its package.
    pub(super) fn has_files(&self) -> bool {
        [&self.sender_disk, &self.relay_disk].iter().all(|disk| !disk.is_open() || disk.file)
    }

    /// Returns `true` if all that a relay has said it keeps is there, or its end. It is asked again
    /// for what is tried again, where it said so of the time before.
    pub(super) fn is_with_relay(&self) -> bool {
        let is_relayed = self
            .sender_disk
            .record
            .as_ref()
            .is_some_and(|entry| matches!(entry.state, OutboxState::Relayed { .. }));
        let let_go = self.let_go || self.relay_expired;
        !is_relayed || let_go || self.fate.retried || self.relay_disk.record.is_some()
    }

    /// Returns `true` if its end is what happened, or somebody wanted it out, or a time was over.
    pub(super) fn has_the_right_end(&self) -> bool {
        let interfered = self.fate.cancelled || self.let_go || self.sender_expired || self.revoked;
        !self.has_ended()
            || interfered
            || self.word_lost
            || (self.committed == matches!(self.fate.end, Some(End::Delivered | End::Processed))
                && self.origin_is_right())
    }

    /// Returns `true` if it is told as not delivered.
    pub(super) fn is_denied(&self) -> bool {
        self.fate.denied || self.origin.denied
    }

    /// The most tries in either outbox.
    pub(super) fn tries(&self) -> u32 {
        let tries = |disk: &Disk| disk.record.as_ref().map_or(0, |entry| entry.tries);
        tries(&self.sender_disk).max(tries(&self.relay_disk))
    }

    fn at(&self, whose: Whose) -> At {
        let expired = match whose {
            Whose::Sender => self.sender_expired,
            Whose::Relay => self.relay_expired,
        };
        At { passed: if expired { LATER } else { 0 }, stopping: false }
    }

    fn desk(&self, whose: Whose) -> Option<&Desk> {
        match whose {
            Whose::Sender => self.sender.as_ref(),
            Whose::Relay => self.relay.as_ref().map(|relay| &relay.desk),
        }
    }

    fn desk_mut(&mut self, whose: Whose) -> Option<(&mut Desk, &mut Disk)> {
        match whose {
            Whose::Sender => Some((self.sender.as_mut()?, &mut self.sender_disk)),
            Whose::Relay => Some((&mut self.relay.as_mut()?.desk, &mut self.relay_disk)),
        }
    }

    fn link(&self, whose: Whose) -> bool {
        match whose {
            Whose::Sender => self.near || self.is_direct(),
            Whose::Relay => self.far,
        }
    }

    fn is_direct(&self) -> bool {
        self.sender.as_ref().is_some_and(Desk::is_direct)
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        let left = &self.left;
        let mut steps = Vec::new();
        let mut may = |happens: bool, step| {
            if happens {
                steps.push(step);
            }
        };
        let both = self.sender.is_some() && self.relay.is_some();
        may(!self.near && both && !self.revoked, Step::NearLink);
        // What could not be noted is said again on the next link, and there is one some time.
        // So is what was taken for an older word.
        let unheard = self.near && self.fate.end.is_some() && self.is_unheard();
        may(self.near && (left.cuts > 0 || self.ahead || unheard), Step::NearCut);
        may(!self.far && self.relay.is_some(), Step::FarLink);
        may(self.far && left.cuts > 0, Step::FarCut);
        may(self.sender.is_some() && left.sender_crashes > 0, Step::SenderCrash);
        may(self.sender.is_none(), Step::SenderStart);
        may(self.relay.is_some() && left.relay_crashes > 0, Step::RelayCrash);
        may(self.relay.is_none(), Step::RelayStart);
        may(!self.to_sender.is_empty(), Step::ToSender);
        may(!self.to_relay.is_empty(), Step::ToRelay);
        may(left.sender_expires > 0 && !self.sender_expired, Step::Expire(Whose::Sender));
        may(left.relay_expires > 0 && !self.relay_expired, Step::Expire(Whose::Relay));
        may(left.revokes > 0 && self.relay.is_some(), Step::Revoke);
        for whose in [Whose::Sender, Whose::Relay] {
            self.desk_steps(whose, &mut may);
        }
        self.relay_steps(&mut may);
        self.origin_steps(&mut may);
        self.way_steps(&mut may);
        steps
    }

    /// Tells what may happen in one outbox.
    fn desk_steps(&self, whose: Whose, may: &mut impl FnMut(bool, Step)) {
        let (Some(desk), left) = (self.desk(whose), &self.left) else { return };
        let fails = left.failed_writes > 0;
        let is_counting = matches!(desk.attempt, Some(Attempt::Counting(_)));
        let is_ready = desk.attempt == Some(Attempt::Ready);
        let is_offered = desk.attempt == Some(Attempt::Offered);
        may(desk.storing == Some(false), Step::Moved(whose));
        may(desk.storing == Some(true), Step::Recorded(whose));
        may(desk.storing.is_some() && fails, Step::CantRecord(whose));
        may(desk.waits, Step::Due(whose));
        may(is_counting, Step::Counted(whose));
        may(is_counting && fails, Step::CantCount(whose));
        may(is_ready && self.link(whose) && !desk.stop, Step::Offer(whose));
        may(is_ready && desk.stop, Step::Stopped(whose));
        may(is_offered && desk.stop && self.may_stop(whose), Step::Stopped(whose));
        let impatient = left.patience > 0 || (self.revoked && whose == Whose::Sender);
        may((is_ready || is_offered) && impatient, Step::Patience(whose));
        may(matches!(desk.attempt, Some(Attempt::Over(_))), Step::Over(whose));
        may(desk.write.is_some(), Step::Written(whose));
        may(desk.write.is_some() && fails, Step::CantWrite(whose));
        let has_expired = self.at(whose).passed > EXPIRES;
        may(has_expired && desk.stored.is_some(), Step::Sweep(whose));
        let Some(stored) = desk.stored.as_ref().filter(|stored| stored.storing.is_none()) else {
            return;
        };
        let order = |kind| Step::Order(whose, kind);
        match whose {
            Whose::Sender => {
                may(left.cancels > 0 && stored.entry.is_open(), order(OrderKind::Cancel));
                may(left.recalls > 0 && stored.entry.is_open(), order(OrderKind::Recall));
                let is_dead = matches!(stored.entry.state, OutboxState::Dead { .. });
                may(left.retries > 0 && is_dead, order(OrderKind::Retry));
            }
            Whose::Relay => {
                may(left.relay_cancels > 0 && stored.entry.is_open(), order(OrderKind::Cancel));
            }
        }
    }

    /// Tells what may happen to the package at the relay, and at the receiver.
    fn relay_steps(&self, may: &mut impl FnMut(bool, Step)) {
        let Some(relay) = &self.relay else { return };
        let left = &self.left;
        let is_offered =
            self.sender.as_ref().is_some_and(|sender| sender.attempt == Some(Attempt::Offered));
        // What was said before it was offered has come before it.
        let is_offered = is_offered
            && self.near
            && !self.is_direct()
            && !self.answered
            && self.to_relay.is_empty();
        let is_new = relay.coming.is_none() && !relay.remembers;
        may(is_offered && is_new, Step::Arrive);
        may(is_offered && relay.coming.is_none() && relay.remembers, Step::Repeat);
        let refuses = left.turns + left.lost > 0 || self.turned || relay.desk.stored.is_some();
        may(is_offered && is_new && refuses && left.refusals > 0, Step::RefusedByRelay);
        may(relay.coming == Some(Coming::Whole), Step::Deposit);
        may(relay.coming == Some(Coming::Kept), Step::Remember);
        may(self.remembered && !relay.remembers, Step::Forget);
        let is_there = self.far && self.in_the_air;
        may(is_there, Step::Commit);
        may(is_there && left.refusals > 0 && !self.committed, Step::Refuse);
        may(left.processed > 0 && self.committed && !self.processed, Step::Process);
        may(self.far && self.processed && !self.processed_heard, Step::SayProcessed);
    }
}
