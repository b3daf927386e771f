//! Decisions about a delivery when somebody orders something, and when the one it is kept for is
//! trusted no more.

use super::{Action, At, Change, Obeyed, OrderKind, OutboxEntry, OutboxState, Stored};
use crate::delivery::TransferId;

/// The reason why what a relay has stays: nobody can call it back there, and its receipt may come.
pub(in super::super) const WITH_RELAY: &str = "is with its relay, which keeps it and may still deliver it: it stays in the outbox, where the \
     relay's word on how it ends is told; whoever runs the relay can take it out there";

impl Stored {
    /// Obeys, or says what is wrong with the order. `offered`: its receiver or a relay may have it
    /// by the try under way. What lives on as another delivery is called `new`.
    pub(in super::super) fn obey(
        &mut self,
        what: OrderKind,
        offered: bool,
        new: impl FnOnce() -> TransferId,
        at: At,
    ) -> (Result<Obeyed, &'static str>, Vec<Action>) {
        let mut actions = Vec::new();
        let obeyed = self.judge_order(what, offered, at).map(|verdict| match verdict {
            Verdict::Hurry => {
                actions.push(Action::Hurry);
                Obeyed::Done
            }
            Verdict::Stop => {
                self.cancelled = true;
                if self.storing.is_some() {
                    // Where that is over already, the record is being written, and removed again.
                    actions.push(Action::StopStoring);
                }
                actions.push(Action::StopTry);
                Obeyed::Ending
            }
            Verdict::Remove => {
                self.remove(&mut actions);
                Obeyed::Writing(None)
            }
            Verdict::Revive { anew } => {
                let new = anew.then(new);
                let mut entry = self.entry.revived(anew, at.passed);
                if !anew && self.unsure && entry.via.is_some() {
                    // A relay that takes it again can speak of the time from then on only.
                    entry.suspect_for_good();
                }
                actions.push(Action::Replace(Box::new(entry.clone()), new));
                self.change = Some(Change::Revived(Box::new(entry), new));
                Obeyed::Writing(new)
            }
        });
        (obeyed, actions)
    }

    fn judge_order(&self, what: OrderKind, offered: bool, at: At) -> Result<Verdict, &'static str> {
        let (entry, is_open) = (&self.entry, self.entry.is_open());
        let is_relayed = matches!(entry.state, OutboxState::Relayed { .. });
        match what {
            OrderKind::Retry if is_open => Ok(Verdict::Hurry),
            OrderKind::Retry if entry.relayed_for.is_some() => {
                Err("was given up, and only who packed it can send it again")
            }
            OrderKind::Retry if !matches!(entry.state, OutboxState::Dead { .. }) => {
                Err("was delivered already")
            }
            OrderKind::Cancel if !is_open => Err("is over already; drop it to forget it"),
            // A try that was not offered yet hears of it before its first chunk is asked for.
            OrderKind::Recall if offered || entry.state != OutboxState::Stored => {
                Err("may be with its relay or its receiver already")
            }
            OrderKind::Cancel | OrderKind::Drop if is_relayed => Err(WITH_RELAY),
            OrderKind::Cancel | OrderKind::Recall if self.is_busy() => Ok(Verdict::Stop),
            OrderKind::Drop if is_open => Err("is still to be delivered; cancel it instead"),
            _ if self.is_busy() => Err("has ended this very moment; try again"),
            // Its receiver remembers what it has at least as long as the delivery lives: until
            // then, it tells.
            OrderKind::Retry if entry.expires > at.passed => Ok(Verdict::Revive { anew: false }),
            OrderKind::Retry if self.may_be_there() => Err(
                "has expired, and may have been delivered before: look at the receiver, and send \
                 the content again if it is not there",
            ),
            OrderKind::Retry if entry.is_package() => Err(
                "has expired, and a package can't be given longer to live; send the content again",
            ),
            // It was not delivered. What it is tried as has nothing to do with what the receiver
            // may have forgotten by now.
            OrderKind::Retry => Ok(Verdict::Revive { anew: true }),
            OrderKind::Cancel | OrderKind::Recall | OrderKind::Drop => Ok(Verdict::Remove),
        }
    }

    /// Takes it out: its packer is trusted no more. Returns `true` if it was still to be delivered.
    pub(in super::super) fn revoke(&mut self) -> (bool, Vec<Action>) {
        let mut actions = Vec::new();
        if !self.entry.is_open() {
        } else if self.is_busy() {
            // It goes when its try has ended; one that arrives nevertheless has arrived.
            (self.cancelled, self.revoked) = (true, true);
            actions.push(Action::StopTry);
        } else {
            self.remove(&mut actions);
        }
        (self.entry.is_open(), actions)
    }
}

/// The effect of an order.
enum Verdict {
    Hurry,
    Stop,
    Remove,
    /// As the delivery it was, or anew.
    Revive {
        anew: bool,
    },
}

impl OutboxEntry {
    /// The record of a dead letter that lives again: as it was, as long as it has not expired, or
    /// as another one that has as long to live as that had.
    fn revived(&self, anew: bool, now: u64) -> Self {
        let mut entry = self.clone();
        if anew {
            let life = entry.expires.saturating_sub(entry.created).max(1);
            (entry.created, entry.expires, entry.tries, entry.last_failure) =
                (now, now + life, 0, None);
            entry.elsewhere = None;
        }
        entry.state = OutboxState::Stored;
        entry
    }
}
