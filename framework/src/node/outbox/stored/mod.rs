//! Decisions about one delivery of the outbox, own or kept for somebody else. Pure: events
//! go in, with the time; actions come out, and are carried out in their order.
//!
//! Invariant: one change of its record is written at a time, and what is said waits for it. A try
//! begins only while nothing is written.

mod events;
mod expiry;
mod orders;
mod words;

pub(crate) use self::events::OrderKind;
pub(super) use self::events::{Action, At, Ended, Obeyed, Tell, Wait};
pub(super) use self::orders::WITH_RELAY;
pub(super) use self::words::{Said, gone};
use super::{DEAD_KEPT, OutboxEntry, OutboxState};
use crate::delivery::{Failure, FailureKind, TransferId};
use crate::pipeline::passes;
use crate::wire::{PeerId, WordKind};

/// A delivery of the outbox: its record, and what is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub(super) struct Stored {
    pub(super) entry: OutboxEntry,
    /// It is being stored for the first time, and is no promise yet.
    pub(super) storing: Option<Storing>,
    /// A try is under way.
    pub(super) trying: bool,
    /// The change of the record that is being written.
    change: Option<Change>,
    /// Somebody wants it out.
    cancelled: bool,
    /// It is to go wherever else it is: whom it is kept for is trusted no more.
    revoked: bool,
    /// The word about it that came while it was busy, and who said it: the last one, which holds
    /// the ones before.
    said: Option<(PeerId, Said)>,
    /// The peer that said while it was busy that it had given it up, in an earlier life of it.
    outdated: Option<PeerId>,
    /// It was a dead letter, or given up by a relay, and is tried again: no relay has taken it since.
    revived: bool,
    /// Whoever it goes to next may have it, and has not said so. Of others, its record tells.
    unsure: bool,
    /// Nothing says so, but that an earlier process may have tried it.
    guessed: bool,
}

/// The events of a delivery before it was stored: its first try may be under way while its content
/// is copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
pub(super) struct Storing {
    /// The end of the first try.
    ended: Option<Ended>,
    /// It could not be stored: whoever waits is answered when the first try has ended.
    failed: bool,
}

/// A change of the record, and what follows when it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Hash))]
enum Change {
    Concluded {
        /// This is the first that is heard of its arrival.
        arrives: bool,
        /// The peer that said so, and the state before: it is answered when this is durable.
        by: Option<(PeerId, WordKind, OutboxState)>,
    },
    Removed,
    Heard,
    /// One of those that may have had it, by another way, has said that it does not: it is answered
    /// when this is durable.
    Cleared(PeerId),
    /// It is to live again like this; under another id, if there is one.
    Revived(Box<OutboxEntry>, Option<TransferId>),
}

impl Stored {
    /// A delivery that is about to be stored.
    pub(super) fn new(entry: OutboxEntry) -> Self {
        Self {
            entry,
            storing: Some(Storing::default()),
            trying: false,
            change: None,
            cancelled: false,
            revoked: false,
            said: None,
            outdated: None,
            revived: false,
            unsure: false,
            guessed: false,
        }
    }

    /// One that an earlier process has stored.
    pub(super) fn loaded(entry: OutboxEntry) -> Self {
        // Of a process that died nobody knows what it had offered.
        let hop = entry.next_hop();
        let is_hop = entry.elsewhere.is_none() || entry.may_be_at(hop);
        let unsure = if entry.is_open() { entry.tries > 0 } else { entry.is_unsure() && is_hop };
        let guessed = unsure && !entry.is_package() && !entry.is_unsure();
        Self { storing: None, unsure, guessed, ..Self::new(entry) }
    }

    /// Returns `true` if a try is under way, or its record is being written.
    pub(super) fn is_busy(&self) -> bool {
        self.trying || self.storing.is_some() || self.change.is_some()
    }

    /// Another one is to be stored that bears its name: a package that comes again.
    pub(super) fn meets(&mut self, new: &OutboxEntry) -> (Clash, Vec<Action>) {
        let mut actions = Vec::new();
        let whose = |entry: &OutboxEntry| (entry.peer, entry.relayed_for);
        let clash = if self.entry.relayed_for.is_some()
            && matches!(self.entry.state, OutboxState::Dead { .. })
        {
            if self.entry.heard == Some(WordKind::Failed) && !self.is_busy() {
                self.remove(&mut actions);
            } else {
                // Who sends it again has not taken what was said of it.
                self.pass_on(&mut actions);
            }
            Clash::NotYet("was given up here, and is not forgotten yet; send it again later")
        } else if whose(&self.entry) != whose(new) {
            Clash::Other
        } else if self.storing.is_some() {
            Clash::NotYet("is being stored; send it again later")
        } else if matches!(self.change, Some(Change::Removed)) {
            Clash::NotYet("is being taken out; send it again later")
        } else {
            Clash::Same
        };
        (clash, actions)
    }

    /// Returns `true` if somebody wants it out.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Returns `true` if whoever it goes to next may have it; before the try under way, if there is
    /// one.
    pub(super) fn is_unsure(&self) -> bool {
        self.unsure
    }

    /// Returns the complaint that this change could not be written.
    pub(super) fn changing(&self) -> &'static str {
        match self.change {
            None | Some(Change::Concluded { .. } | Change::Cleared(_)) => {
                "the spool could not note how a delivery ended"
            }
            Some(Change::Removed) => {
                "a delivery could not be taken out of the spool: it stays in the outbox"
            }
            Some(Change::Heard) => {
                "the spool could not note that a word was heard: it will be said again"
            }
            Some(Change::Revived(..)) => "the spool could not note that a delivery is tried again",
        }
    }

    /// Its record is durable for the first time, and reads like this.
    pub(super) fn recorded(&mut self, entry: OutboxEntry, has_source: bool, at: At) -> Vec<Action> {
        let mut actions = Vec::new();
        self.entry = entry;
        if let Some(ended) = self.storing.take().and_then(|storing| storing.ended) {
            self.judge(ended, at, &mut actions);
        } else if self.trying {
            // It goes on, and its end counts.
        } else if self.cancelled {
            self.remove(&mut actions);
        } else {
            if self.entry.is_copy() && has_source {
                // Nothing need be held open for a try that has not begun: the copy is read again,
                // and the try counted then.
                actions.push(Action::Close);
                self.entry.tries = 0;
            }
            if at.stopping {
                actions.push(Action::Tell(Tell::Later(None)));
            }
            actions.push(Action::Wait(Wait::None));
            self.set_free(at, &mut actions);
        }
        actions.push(Action::Answer(true));
        actions
    }

    /// It could not be stored. A first try that is under way is ended first: it may arrive all the
    /// same.
    pub(super) fn unrecorded(&mut self, at: At) -> Vec<Action> {
        let mut actions = Vec::new();
        let storing = self.storing.get_or_insert_default();
        if self.trying {
            (storing.failed, self.cancelled) = (true, true);
            actions.push(Action::StopTry);
            return actions;
        }
        let ended = storing.ended.take();
        self.leave_out(ended, at, &mut actions);
        actions
    }

    /// Ends what could not be stored: delivered, it need not have been; else it is forgotten.
    fn leave_out(&mut self, ended: Option<Ended>, at: At, actions: &mut Vec<Action>) {
        match ended {
            Some(ended) if ended.outcome.is_ok() => {
                self.storing = None;
                self.judge(ended, at, actions);
                actions.push(Action::Answer(true));
            }
            _ => {
                actions.push(Action::Withdraw);
                if !self.entry.is_in_parts() {
                    // A copy may be whole without a record.
                    actions.push(Action::Discard);
                }
                let told = Action::Tell(Tell::Unstored);
                actions.extend([told, Action::Answer(false), Action::Forget]);
            }
        }
    }

    /// It is its turn. `has_source`: what it was given with is still there, and this try was
    /// counted when it was stored; `is_here`: whoever it goes to next is connected.
    pub(super) fn due(&mut self, has_source: bool, is_here: bool, at: At) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.trying || self.change.is_some() {
            // Two writes of one record might change places.
            actions.extend([Action::NotTried, Action::Wait(Wait::Tick)]);
        } else if self.entry.expires < at.passed && self.storing.is_none() {
            actions.push(Action::NotTried);
            if self.waits_for_relay(is_here, at) {
                actions.push(Action::Wait(Wait::Tick));
            } else {
                self.expire(at, &mut actions);
            }
        } else {
            self.trying = true;
            if !has_source {
                self.entry.tries = self.entry.tries.saturating_add(1);
            }
            actions.push(Action::Try { counted: !has_source });
        }
        actions
    }

    /// A try has ended.
    pub(super) fn tried(&mut self, ended: Ended, at: At) -> Vec<Action> {
        let mut actions = Vec::new();
        self.trying = false;
        self.learn(self.entry.next_hop(), ended.unsure);
        self.guessed &= ended.unsure && !ended.sent;
        match &mut self.storing {
            None => self.judge(ended, at, &mut actions),
            Some(Storing { failed: true, .. }) => self.leave_out(Some(ended), at, &mut actions),
            Some(Storing { ended: early, .. }) => *early = Some(ended),
        }
        actions
    }

    /// Decides what the end of a try means for a delivery that is stored.
    fn judge(&mut self, ended: Ended, at: At, actions: &mut Vec<Action>) {
        match ended.outcome {
            Ok(_) => self.arrived(ended, at, actions),
            Err(_) if self.cancelled => self.remove(actions),
            Err(failure) if at.stopping => actions.push(Action::Tell(Tell::Later(Some(failure)))),
            Err(failure) if passes(failure.kind) => {
                // Away is a matter of the peer, and its wait; anything else of this delivery.
                let again = match is_away(failure.kind) {
                    true => Wait::None,
                    false => Wait::Backoff(self.entry.tries),
                };
                self.entry.last_failure = Some(failure.clone());
                actions.extend([Action::Wait(again), Action::Tell(Tell::Deferred(failure))]);
            }
            Err(failure) => {
                self.conclude(OutboxState::Dead { at: at.passed, failure }, None, actions);
            }
        }
        if !self.is_busy() {
            self.set_free(at, actions);
        }
    }

    /// A try has brought the content to where it goes next: to its receiver, or to a relay.
    fn arrived(&mut self, ended: Ended, at: At, actions: &mut Vec<Action>) {
        let Ended { outcome, enclosed, proof, .. } = ended;
        let (Ok(receipt), at) = (outcome, at.passed) else { return };
        let state = match (self.entry.is_package(), enclosed) {
            (false, _) => OutboxState::Delivered { at, receipt, proof },
            // The word is for who packed it: they know whether it is true.
            (true, Some(receipt)) if self.entry.relayed_for.is_some() => {
                OutboxState::Delivered { at, receipt, proof }
            }
            (true, Some(receipt)) => match self.entry.vouched(&receipt) {
                Some(proof) => OutboxState::Delivered { at, receipt, proof },
                None => {
                    let text = "the receipt is not authentic: it was not made by the receiver of \
                                this package";
                    let failure = Failure::new(FailureKind::Integrity, text);
                    OutboxState::Dead { at, failure }
                }
            },
            (true, None) => {
                // A relay has it, and can't be told to let go of it: who wants it out is told so. It
                // is asked again now and then, which costs no content.
                self.cancelled &= self.revoked;
                actions.push(Action::Wait(Wait::AskRelay));
                if self.entry.state != OutboxState::Stored {
                    return;
                }
                // What was said before it was taken is of an earlier time that the relay had it. If
                // not, it is said again.
                self.said.take_if(|(_, said)| said.kind() == WordKind::Failed);
                self.revived = false;
                OutboxState::Relayed { at }
            }
        };
        self.conclude(state, None, actions);
    }

    /// Notes how it ended, by the word of somebody or without. It is over for those who wait when
    /// that is durable; where the store fails, that is said, and it is found out again at the next
    /// start.
    fn conclude(
        &mut self,
        state: OutboxState,
        by: Option<(PeerId, WordKind)>,
        actions: &mut Vec<Action>,
    ) {
        if matches!(self.entry.state, OutboxState::Dead { .. }) {
            // It had ended for those who waited, and wrongly.
            actions.push(Action::Renew);
        }
        let state = self.as_far_as_known(state, by.map(|(peer, _)| peer));
        if words::sets_right(&self.entry.state, &state) {
            // What was heard of it is not this word, though both are of a failure.
            self.entry.heard = None;
        }
        let before = std::mem::replace(&mut self.entry.state, state);
        let arrives = !matches!(before, OutboxState::Delivered { .. });
        let by = by.map(|(peer, what)| (peer, what, before));
        self.change = Some(Change::Concluded { arrives, by });
        actions.extend([Action::Close, Action::Put]);
    }

    /// The change that was being written is durable, or could not be made so.
    pub(super) fn written(&mut self, is_durable: bool, at: At) -> Vec<Action> {
        let mut actions = Vec::new();
        match self.change.take() {
            // Its end is durable with it, if it was not before.
            Some(Change::Heard) if is_durable && !self.entry.needs_file() => {
                actions.push(Action::Discard);
            }
            None | Some(Change::Heard) => {}
            Some(Change::Cleared(peer)) => {
                // If not, it is said again.
                if is_durable {
                    actions.push(Action::Noted(peer, WordKind::Failed));
                }
            }
            Some(Change::Concluded { arrives, by }) => {
                match by {
                    // It is not answered, so it is said again.
                    Some((_, _, before)) if !is_durable => self.take_back(before, &mut actions),
                    by => {
                        self.tell_end(arrives, is_durable, &mut actions);
                        actions.extend(by.map(|(peer, what, _)| Action::Noted(peer, what)));
                    }
                }
            }
            Some(Change::Removed) if is_durable => return self.removed(),
            Some(Change::Removed) => {
                self.cancelled = false;
                if self.entry.is_open() {
                    actions.push(Action::Wait(Wait::None));
                }
            }
            Some(Change::Revived(entry, new)) => {
                if is_durable {
                    self.entry = *entry;
                    (self.revived, self.cancelled) = (true, false);
                    self.unsure &= new.is_none();
                    actions.extend([Action::Rename(new), Action::Wait(Wait::None)]);
                }
            }
        }
        self.set_free(at, &mut actions);
        actions
    }

    /// Takes back what was said of it and could not be noted: it is as it was.
    fn take_back(&mut self, before: OutboxState, actions: &mut Vec<Action>) {
        self.entry.state = before;
        if self.entry.is_open() {
            actions.push(Action::Wait(Wait::None));
        } else if let OutboxState::Dead { failure, .. } = &self.entry.state {
            actions.push(Action::Tell(Tell::StillDead(failure.clone())));
        }
    }

    /// Tells everybody how it ended. The file of one whose end is not durable is needed when it is
    /// found out again.
    fn tell_end(&mut self, arrives: bool, is_durable: bool, actions: &mut Vec<Action>) {
        if is_durable && !self.entry.needs_file() {
            actions.push(Action::Discard);
        }
        match &self.entry.state {
            OutboxState::Delivered { receipt, .. } | OutboxState::Processed { receipt, .. } => {
                let processed = matches!(self.entry.state, OutboxState::Processed { .. });
                let told = Tell::Delivered { receipt: receipt.clone(), processed, arrives };
                actions.push(Action::Tell(told));
                self.pass_on(actions);
            }
            OutboxState::Dead { failure, .. } => {
                actions.push(Action::Tell(Tell::Dead(failure.clone())));
                self.pass_on(actions);
            }
            OutboxState::Relayed { .. } => actions.push(Action::Tell(Tell::Relayed)),
            OutboxState::Stored => {}
        }
    }

    /// Takes it out. It is over for those who wait when that is durable; where the store fails, it
    /// stays.
    fn remove(&mut self, actions: &mut Vec<Action>) {
        self.change = Some(Change::Removed);
        actions.extend([Action::Withdraw, Action::Remove]);
    }

    fn removed(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.entry.is_open()
            && let Some(sender) = self.entry.relayed_for
        {
            actions.push(Action::Pass(sender, words::taken_out(self.may_be_there())));
        }
        // What is forgotten need not be said again.
        let said = self.said.take();
        actions.extend(said.map(|(peer, said)| Action::Noted(peer, said.kind())));
        actions.push(Action::Tell(Tell::Removed { unsure: self.may_be_there() }));
        actions.extend([Action::Discard, Action::Forget]);
        actions
    }
}

/// The thing in the way of a delivery that bears the name of one that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clash {
    /// It is that one, and stored.
    Same,
    /// It is for somebody else, or of somebody else.
    Other,
    /// It can't be told yet.
    NotYet(&'static str),
}

/// Returns `true` if a failure means that the peer was not there.
pub(super) fn is_away(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Unreachable | FailureKind::Shutdown)
}
