//! Handing stored letters to their actors: those of one sender for one name one after the other.
//!
//! Invariant: a name whose letters wait holds up no other name.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::super::error::{RemoteError, RemoteErrorKind};
use super::super::letter_id::LogId;
use super::super::letterbox::{ArrivedLetter, Letterbox, split};
use super::super::mailbox::{Done, Mailbox};
use super::super::serving::Traced;
use super::kept::{Kept, expired};
use super::parking::LONG;
use super::receiving::forbidden;
use super::record::Letter;
use super::trying::{self, Place, Turn};
use super::{LetterId, Letters};
use crate::wire::PeerId;

/// The most times that an actor is given a letter that it dies with.
const TRIES: u32 = 5;
/// The wait after the first time; doubled each time.
const AGAIN: Duration = Duration::from_millis(100);
/// The time that a name may take to say what messages it takes: it does so one by one.
const SETTLE: Duration = Duration::from_millis(500);
/// The time for which nothing is looked at again, unless something has changed.
const LOOK: Duration = Duration::from_millis(250);
/// The longest wait before a letter is given again to a letterbox that did not take it.
const LOOK_MOST: Duration = Duration::from_secs(30);

/// The end of a letter, and the turn it still has.
struct End {
    refusal: Option<RemoteError>,
    turn: Option<Turn>,
}

/// The taker of a letter.
enum Taker {
    Actor(Arc<dyn Mailbox>),
    Letterbox(Arc<dyn Letterbox>),
}

/// The end of an attempt.
enum Attempt {
    Handled,
    /// Nobody has the name.
    Nobody,
    /// It was not given to the actor.
    NotYet,
    /// The letterbox did not take it now.
    NotTaken,
    /// For good, if it is so again after a while.
    Unfit(RemoteError),
    /// For good.
    Refused(RemoteError),
    /// The actor died with it.
    Died,
}

impl Letters {
    /// Hands over what waits of this sender for this name, if nobody does so already. On the node's
    /// arbiter.
    pub(super) fn hand_over(self: &Arc<Self>, peer: PeerId, name: &str) {
        let mut state = self.state();
        let (dormant, stopping) = (self.limits.dormant, state.stopping);
        let Some(incoming) = state.incoming.get_mut(&peer) else { return };
        if dormant || stopping {
            return;
        }
        let Some(Kept { name, expires, .. }) = incoming.logs.begin_handing(name) else { return };
        drop(state);
        let is_over =
            || expires <= self.clock.now().passed || (self.admits)(&peer, &name) == Some(false);
        if self.directory.has(&name) || is_over() {
            self.go_on(peer, name);
        } else {
            self.park(peer, &name);
        }
    }

    /// Hands over what waits of this sender for this name, until nothing does, or nobody has the
    /// name.
    pub(super) fn go_on(self: &Arc<Self>, peer: PeerId, name: Arc<str>) {
        let letters = Arc::clone(self);
        actix::spawn(async move {
            while let Some((log, number, kept)) = letters.next(peer, &name) {
                let place = (peer, log, number);
                // The node is stopping: it is handed over in its next life. Or the name is parked.
                let Some(end) = letters.hand(place, &name, &kept).await else { return };
                let is_durable = letters.over(place, end.refusal);
                if !matches!(end.turn, None | Some(Turn::Shared { .. }))
                    && is_durable.await.is_err()
                {
                    return;
                }
            }
        });
    }

    fn next(&self, peer: PeerId, name: &str) -> Option<(LogId, u64, Kept)> {
        let mut state = self.state();
        let stopping = state.stopping;
        state.incoming.get_mut(&peer)?.logs.turn(name, stopping)
    }

    /// Hands one letter over, until it is handled or refused. `None`: the node is stopping, or the
    /// name is parked.
    async fn hand(&self, place: Place, name: &Arc<str>, letter: &Kept) -> Option<End> {
        let (peer, mut deaths, mut unfit, mut not_taken) = (place.0, 0, false, 0);
        let mut told_at = Some(Instant::now() + LONG);
        let over = |refusal, turn| Some(End { refusal, turn });
        loop {
            let changed = self.directory.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.state().stopping {
                return None;
            }
            let (attempt, turn) = if letter.expires <= self.clock.now().passed {
                (Attempt::Refused(expired(&letter.name)), None)
            } else {
                self.attempt(place, letter).await?
            };
            if !matches!(attempt, Attempt::Handled | Attempt::Refused(_)) {
                self.uncount(place);
            }
            let wait = match attempt {
                Attempt::Handled => return over(None, turn),
                Attempt::Refused(why) => return over(Some(why), turn),
                // What an actor died with, or did not take, is counted here.
                Attempt::Nobody if deaths == 0 && not_taken == 0 => {
                    self.park(peer, name);
                    return None;
                }
                Attempt::Unfit(why) if unfit => return over(Some(why), turn),
                Attempt::Unfit(_) => {
                    unfit = true;
                    SETTLE
                }
                Attempt::Died if deaths + 1 == TRIES => return over(Some(fatal(letter)), turn),
                Attempt::Died => {
                    deaths += 1;
                    tracing::warn!(
                        peer = %peer.short(), %name, message = %letter.message, deaths,
                        "an actor died with a letter"
                    );
                    AGAIN * (1 << (deaths - 1))
                }
                Attempt::Nobody | Attempt::NotYet | Attempt::NotTaken => {
                    drop(turn);
                    if told_at.take_if(|at| *at <= Instant::now()).is_some() {
                        tell_of_wait(peer, letter);
                    }
                    not_taken =
                        if matches!(attempt, Attempt::NotTaken) { not_taken + 1 } else { 0 };
                    // Whatever comes first: the name, the end of the wait, or the time to look.
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep(look_after(not_taken)) => {}
                    }
                    continue;
                }
            };
            drop(turn);
            tokio::time::sleep(wait).await;
        }
    }

    /// Tries to hand a letter over; returns the end, and the turn. `None`: the node has stopped.
    async fn attempt(&self, place: Place, kept: &Kept) -> Option<(Attempt, Option<Turn>)> {
        let taker = match self.taker(place.0, kept) {
            Ok(taker) => taker,
            Err(attempt) => return Some((attempt, None)),
        };
        let weight = self.weight(place);
        if let Some(why) = trying::deadly(&kept.name, &kept.message, weight) {
            return Some((Attempt::Refused(why), None));
        }
        let mut turn = self.turn(place, weight).await?;
        if self.state().stopping {
            self.uncount(place);
            return None;
        }
        let given = async {
            // Not before: many may wait that are not in memory.
            let letter = match self.fetch(place, kept).await {
                Some(Ok(letter)) => letter,
                Some(Err(why)) => return Attempt::Refused(why),
                None => return Attempt::NotYet,
            };
            // It may have begun to stop meanwhile.
            if self.state().stopping {
                return Attempt::NotYet;
            }
            match &taker {
                Taker::Actor(mailbox) => self.give(place.0, letter, &**mailbox).await,
                Taker::Letterbox(letterbox) => self.post_into(place, letter, &**letterbox).await,
            }
        };
        let attempt = self.bide(place, weight, &mut turn, given).await;
        Some((attempt, Some(turn)))
    }

    /// Returns the taker of a letter.
    fn taker(&self, peer: PeerId, letter: &Kept) -> Result<Taker, Attempt> {
        match (self.admits)(&peer, &letter.name) {
            Some(true) => {}
            Some(false) => return Err(Attempt::Refused(forbidden(&letter.name))),
            None if self.directory.has(&letter.name) => return Err(Attempt::NotYet),
            None => return Err(Attempt::Nobody),
        }
        if let Some(letterbox) = self.directory.letterbox(&letter.name) {
            let has_room = letterbox.has_room(letter.length);
            return if has_room { Ok(Taker::Letterbox(letterbox)) } else { Err(Attempt::NotYet) };
        }
        let mailbox = self
            .directory
            .mailbox(&letter.name, &letter.message, letter.version)
            .map_err(|error| match error.kind {
                RemoteErrorKind::NoSuchName => Attempt::Nobody,
                _ => Attempt::Unfit(error),
            })?;
        if !mailbox.is_alive() {
            // Asking why has it started anew, where somebody does that.
            let _ = mailbox.why_dead(&letter.name);
            return Err(Attempt::NotYet);
        }
        Ok(Taker::Actor(mailbox))
    }

    /// Gives a letter to what passes it on, and waits until that has it.
    async fn post_into(
        &self,
        (from, log, number): Place,
        letter: Arc<Letter>,
        letterbox: &dyn Letterbox,
    ) -> Attempt {
        let (message, is_json) = split(&letter.message);
        let (along, now) = (letter.along().unwrap_or_default(), self.clock.now());
        let arrived = ArrivedLetter {
            id: LetterId::new(log, number),
            from,
            name: letter.name.clone(),
            message: message.to_owned(),
            version: letter.version,
            created: now.on_the_wall(letter.created),
            expires: now.on_the_wall(letter.expires),
            on_behalf: along.on_behalf().map(ToOwned::to_owned),
            trace: along.trace,
            is_json,
            body: letter.body.clone(),
        };
        drop(letter);
        self.state().handed += 1;
        let taking = async { letterbox.take(arrived).await };
        let taken = AssertUnwindSafe(taking).catch_unwind().await;
        self.is_back();
        match taken {
            Ok(Ok(())) => Attempt::Handled,
            Ok(Err(error)) if is_for_now(error.kind) => Attempt::NotTaken,
            Ok(Err(error)) => Attempt::Refused(error),
            Err(_) => Attempt::Died,
        }
    }

    /// A letter is no longer with who was given it.
    fn is_back(&self) {
        let mut state = self.state();
        state.handed = state.handed.saturating_sub(1);
        drop(state);
        self.wrote.notify_waiters();
    }

    /// Gives a letter to its actor, and waits until that is done with it.
    async fn give(&self, peer: PeerId, letter: Arc<Letter>, mailbox: &dyn Mailbox) -> Attempt {
        let (done, is_done) = oneshot::channel();
        let (name, message) = (letter.name.as_str(), letter.message.as_str());
        let traced = |along| Traced {
            caller: peer,
            name: name.into(),
            message: message.into(),
            along,
            is_letter: true,
        };
        let traced = letter.along().map(traced);
        let done = Done::new(move |handled| {
            // The node may have stopped meanwhile.
            let _ = done.send(handled);
        });
        let told = mailbox.tell_confirmed(&letter.body, done, traced.as_ref());
        drop(letter);
        match told {
            Err(error)
                if matches!(error.kind, RemoteErrorKind::Died | RemoteErrorKind::Restarting) =>
            {
                return Attempt::NotYet;
            }
            Err(error) => return Attempt::Refused(error),
            Ok(()) => {}
        }
        self.state().handed += 1;
        let handled = is_done.await.unwrap_or(false);
        self.is_back();
        if handled { Attempt::Handled } else { Attempt::Died }
    }
}

/// A letter waits for long.
fn tell_of_wait(peer: PeerId, Kept { name, message, .. }: &Kept) {
    tracing::warn!(
        peer = %peer.short(), %name, %message,
        "a letter waits for {name:?}, which takes none, and all letters of this peer for it behind \
         it: start what has that name, or wait until it expires"
    );
}

/// The wait until a letter is looked at again that was so often not taken, one time after the other.
fn look_after(not_taken: u32) -> Duration {
    (LOOK * (1 << not_taken.saturating_sub(1).min(10))).min(LOOK_MOST)
}

/// Returns `true` if a letter that a letterbox did not take may be taken later.
const fn is_for_now(kind: RemoteErrorKind) -> bool {
    matches!(kind, RemoteErrorKind::Full | RemoteErrorKind::Restarting | RemoteErrorKind::Storage)
}

fn fatal(letter: &Kept) -> RemoteError {
    let text = format!(
        "the actor {:?} panicked or stopped {TRIES} times when it had this {}; see its log",
        letter.name, letter.message
    );
    RemoteError::new(RemoteErrorKind::Died, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_nothing_is_asked_less_and_less_often() {
        let waits: Vec<_> = [0, 1, 2, 3, 7, 8, u32::MAX].map(look_after).to_vec();
        let wanted = [250, 250, 500, 1000, 16_000, 30_000, 30_000].map(Duration::from_millis);
        assert_eq!(waits, wanted);
    }
}
