//! One outbox with one delivery: what is decided by [`Stored`], carried out on a disk that keeps
//! what is written.

use super::Break;
use crate::delivery::FailureKind;
use crate::node::outbox::stored::{Action, At, Ended, Stored, Tell};
use crate::node::outbox::{OutboxEntry, OutboxState};
use crate::wire::{PeerId, Word, WordKind};

/// The disk, which outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    pub(super) record: Option<OutboxEntry>,
    /// The package, under the name that the record has for it.
    pub(super) file: bool,
}

/// The process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Desk {
    pub(super) stored: Option<Stored>,
    /// It is in the schedule.
    pub(super) waits: bool,
    pub(super) write: Option<Write>,
    /// It is about to be stored: whether its package is where it belongs.
    pub(super) storing: Option<bool>,
    pub(super) attempt: Option<Attempt>,
    /// The try under way is to end.
    pub(super) stop: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Write {
    Put(Box<OutboxEntry>),
    Remove,
}

/// A try, as a session has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Attempt {
    /// Its count is written.
    Counting(Box<OutboxEntry>),
    /// A session has it.
    Ready,
    /// Whoever is next has heard of it.
    Offered,
    /// It has ended, and the outbox will hear of it.
    Over(Box<Ended>),
}

/// A word to others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Out {
    Noted(PeerId, WordKind),
    Pass(Word),
    Delivered {
        processed: bool,
    },
    /// It is told as dead; and as surely not delivered, or not.
    Dead {
        surely: bool,
    },
    Removed {
        unsure: bool,
    },
    Revived,
    Answered(bool),
}

impl Disk {
    /// Returns the process that begins with this disk.
    pub(super) fn start(&mut self) -> Desk {
        let is_needed = self.record.as_ref().is_some_and(|entry| entry.needs_file());
        self.file &= is_needed;
        let waits = self.record.as_ref().is_some_and(|entry| entry.is_open());
        let stored = self.record.clone().map(Stored::loaded);
        Desk { stored, waits, ..Desk::default() }
    }

    pub(super) fn is_open(&self) -> bool {
        self.record.as_ref().is_some_and(|entry| entry.is_open())
    }
}

impl Desk {
    /// It goes to the receiver, and by no relay.
    pub(super) fn is_direct(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.entry.via.is_none())
    }

    /// Nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        let is_over = |stored: &Stored| !stored.is_busy() && !stored.entry.is_open() && !self.waits;
        self.write.is_none() && self.attempt.is_none() && self.stored.as_ref().is_none_or(is_over)
    }

    /// Another relay has what is kept here for somebody else.
    fn is_passed_on(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| {
            let entry = &stored.entry;
            entry.relayed_for.is_some() && matches!(entry.state, OutboxState::Relayed { .. })
        })
    }

    /// Returns `true` if the next may have it, as [`Held`](crate::node::outbox::held::Held) tells.
    pub(super) fn is_offered(&self) -> bool {
        let elsewhere = |stored: &Stored| stored.entry.elsewhere.is_some();
        self.stored.as_ref().is_some_and(elsewhere) || self.next_may_have_it()
    }

    /// The same, whatever others may have.
    pub(super) fn next_may_have_it(&self) -> bool {
        let unsure = self.stored.as_ref().is_some_and(Stored::is_unsure);
        match &self.attempt {
            Some(Attempt::Over(ended)) => ended.unsure || ended.outcome.is_ok(),
            Some(Attempt::Offered) => true,
            _ => unsure,
        }
    }

    /// Lets something happen to the delivery, and carries out what follows.
    pub(super) fn happen(
        &mut self,
        disk: &mut Disk,
        event: impl FnOnce(&mut Stored) -> Vec<Action>,
        broken: Option<Break>,
    ) -> Result<Vec<Out>, &'static str> {
        let Some(stored) = &mut self.stored else { return Ok(Vec::new()) };
        if broken == Some(Break::OneForAll) {
            stored.entry.elsewhere = None;
        }
        let actions = event(stored);
        let mut out = Vec::new();
        for action in actions {
            match (&action, broken) {
                (Action::Remove, Some(Break::FileFirst)) => disk.file = false,
                (Action::StopTry, Some(Break::NotStopped)) => continue,
                (Action::Put, Some(Break::ForgottenWhenRelayed)) if self.is_passed_on() => {
                    self.act(disk, Action::Remove, &mut out)?;
                    continue;
                }
                (Action::Pass(..), Some(Break::ForgottenWhenSaid)) => disk.record = None,
                (Action::Put, Some(Break::SaidEarly)) => {
                    let at = At { passed: 0, stopping: false };
                    let early = self.stored.as_mut().map(|stored| stored.written(true, at));
                    for action in early.unwrap_or_default() {
                        self.act(disk, action, &mut out)?;
                    }
                    continue;
                }
                _ => {}
            }
            self.act(disk, action, &mut out)?;
        }
        match broken {
            Some(Break::SureOfAll) => out.iter_mut().for_each(be_sure),
            Some(Break::LapsedIsUnknown) => out.iter_mut().for_each(|out| {
                if let Out::Pass(word) = out {
                    *word = word.clone().understood(0);
                }
            }),
            _ => {}
        }
        Ok(out)
    }

    fn act(
        &mut self,
        disk: &mut Disk,
        action: Action,
        out: &mut Vec<Out>,
    ) -> Result<(), &'static str> {
        let Some(stored) = &self.stored else { return Err("it acts on what it has forgotten") };
        let mut write = |write| match self.write.replace(write) {
            None => Ok(()),
            Some(_) => Err("two changes of a record are written at once"),
        };
        match action {
            Action::Put => write(Write::Put(Box::new(stored.entry.clone())))?,
            Action::Replace(entry, _) => write(Write::Put(entry))?,
            Action::Remove => write(Write::Remove)?,
            Action::Try { counted } => {
                if self.attempt.is_some() {
                    return Err("two tries are under way at once");
                }
                self.stop = stored.is_cancelled();
                let entry = Box::new(stored.entry.clone());
                self.attempt =
                    Some(if counted { Attempt::Counting(entry) } else { Attempt::Ready });
            }
            Action::StopTry => self.stop = true,
            Action::Wait(_) => self.waits = true,
            Action::Withdraw => self.waits = false,
            Action::Discard => disk.file = false,
            Action::Noted(peer, what) => out.push(Out::Noted(peer, what)),
            Action::Pass(_, word) => out.push(Out::Pass(word)),
            Action::Answer(is_stored) => out.push(Out::Answered(is_stored)),
            Action::Forget => self.stored = None,
            Action::Tell(Tell::Delivered { processed, .. }) => {
                out.push(Out::Delivered { processed });
            }
            Action::Tell(Tell::Dead(failure)) => {
                out.push(Out::Dead { surely: failure.kind != FailureKind::Unknown });
            }
            Action::Tell(Tell::Removed { unsure }) => out.push(Out::Removed { unsure }),
            Action::Rename(_) => out.push(Out::Revived),
            Action::Doubt(..) => return Err("somebody honest is not believed"),
            Action::NotTried
            | Action::StopStoring
            | Action::Hurry
            | Action::Close
            | Action::Renew
            | Action::Tell(_) => {}
        }
        Ok(())
    }

    /// Ends a write: what was being written is durable, or is not.
    pub(super) fn written(
        &mut self,
        disk: &mut Disk,
        is_durable: bool,
        at: At,
        broken: Option<Break>,
    ) -> Result<Vec<Out>, &'static str> {
        match self.write.take() {
            Some(Write::Put(entry)) if is_durable => disk.record = Some(*entry),
            Some(Write::Remove) if is_durable => disk.record = None,
            _ => {}
        }
        self.happen(disk, |stored| stored.written(is_durable, at), broken)
    }
}

/// Tells what may have been delivered as what was not.
fn be_sure(out: &mut Out) {
    match out {
        Out::Dead { surely } => *surely = true,
        Out::Pass(Word::Failed(failure) | Word::Lapsed(failure)) => {
            failure.kind = FailureKind::Expired
        }
        _ => {}
    }
}
