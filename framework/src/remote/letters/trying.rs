//! Letters that a process may have ended with: of each name the first ones that an earlier life held
//! when it ended, whichever of them it was.
//!
//! The first life pays nothing for it. In later ones each of them is handed over alone, no other
//! letter of whichever sender being with an actor, and that is counted durably before; nothing
//! follows before what has become of it is durable, too. So whatever ends the process is counted
//! against the letter that did it, and one that does it again and again is refused.
//!
//! Nobody waits for that for ever: one that has waited for [`PATIENCE`], since more than that of
//! others are before it, goes along with whichever is alone, and both are counted: that one as alone.
//!
//! Invariant: a letter that was with its actor while others were that were there before it, or when
//! the node was stopped in order, is not counted as one that was alone with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, oneshot};

use super::super::error::{RemoteError, RemoteErrorKind};
use super::super::letter_id::LogId;
use super::Letters;
use super::record::{self, TRIED, Tried};
use crate::wire::PeerId;

/// Lives that may end with a letter that is alone with its actor, besides the first one, which does
/// not count.
const LIVES: u32 = 5;
/// The weight of such an end. One with others that were with their actors, too, weighs 1.
const ALONE: u32 = 5;
/// The time for which a letter is alone: others do not wait longer for it, nor it for them.
const PATIENCE: Duration = Duration::from_secs(10);

/// The place of a letter: its peer, its log, and its number.
pub(super) type Place = (PeerId, LogId, u64);

/// The turns of letters at being with their actors.
#[derive(Debug, Default)]
pub(super) struct Turns(Arc<RwLock<()>>);

/// Held while a letter is with its actor.
#[derive(Debug)]
pub(super) enum Turn {
    /// As are others.
    Shared { _held: OwnedRwLockReadGuard<()> },
    /// And no other is.
    Alone { _held: OwnedRwLockWriteGuard<()> },
    /// It has waited long enough to be alone.
    Along,
}

/// The letters of a log that earlier lives have left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Suspects {
    /// Those that may have ended a life.
    numbers: BTreeSet<u64>,
    /// The weight that is counted against each.
    weights: BTreeMap<u64, u32>,
}

impl Suspects {
    /// One of those that were held when this life began.
    pub(super) fn begin(&mut self, number: u64) {
        self.numbers.insert(number);
    }

    /// Notes what earlier lives have counted.
    pub(super) fn weigh(&mut self, number: u64, weight: u32) {
        self.weights.insert(number, weight);
    }

    /// It is over; whether there is a record of it.
    pub(super) fn forget(&mut self, number: u64) -> bool {
        self.numbers.remove(&number);
        self.weights.remove(&number).is_some()
    }

    /// Returns what is counted against it; `None`: it is of this life.
    pub(super) fn weight(&self, number: u64) -> Option<u32> {
        let weight = self.weights.get(&number).copied();
        weight.or_else(|| self.numbers.contains(&number).then_some(0))
    }
}

impl Letters {
    /// Returns what is counted against a letter of an earlier life; `None` for one of this life.
    pub(super) fn weight(&self, (peer, log, number): Place) -> Option<u32> {
        self.state().incoming.get(&peer)?.logs.suspects(log)?.weight(number)
    }

    /// Waits until a letter may be given to its actor, and counts it if it is of an earlier life.
    /// `None`: the node has stopped.
    pub(super) async fn turn(&self, place: Place, weight: Option<u32>) -> Option<Turn> {
        let turns = Arc::clone(&self.turns.0);
        let Some(weight) = weight else {
            return Some(Turn::Shared { _held: turns.read_owned().await });
        };
        let turn = match tokio::time::timeout(PATIENCE, turns.write_owned()).await {
            Ok(held) => Turn::Alone { _held: held },
            Err(_) => Turn::Along,
        };
        let more = if matches!(turn, Turn::Alone { .. }) { ALONE } else { 1 };
        self.count(place, weight + more).await.ok()?;
        self.state().tried.insert(place, weight);
        Some(turn)
    }

    /// Waits for what a letter comes to. One that is with its actor for long keeps no other from being
    /// alone, nor is it so any longer.
    pub(super) async fn bide<T>(
        &self,
        place: Place,
        weight: Option<u32>,
        turn: &mut Turn,
        outcome: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(outcome);
        if let (Some(weight), Turn::Alone { .. }) = (weight, &*turn) {
            if let Ok(outcome) = tokio::time::timeout(PATIENCE, &mut outcome).await {
                return outcome;
            }
            tracing::warn!(
                peer = %place.0.short(), number = place.2,
                "a letter of an earlier life is with its actor for long: others go on"
            );
            // Durable before another one is handed over: what that one does is not this one's
            // doing.
            let _ = self.count(place, weight + 1).await;
            *turn = Turn::Along;
        } else if let Turn::Shared { .. } = turn {
            if let Ok(outcome) = tokio::time::timeout(PATIENCE, &mut outcome).await {
                return outcome;
            }
            *turn = Turn::Along;
        }
        outcome.await
    }

    /// It is not with its actor any more, and nothing has ended.
    pub(super) fn uncount(&self, place: Place) {
        let before = self.state().tried.remove(&place);
        if let Some(weight) = before {
            drop(self.count(place, weight));
        }
    }

    /// The node stops while letters are with their actors: that is nothing that they have done.
    pub(super) fn uncount_all(&self) {
        let tried = std::mem::take(&mut self.state().tried);
        tried.into_iter().for_each(|(place, weight)| drop(self.count(place, weight)));
    }

    /// Notes what is counted against a letter; heard of when that is durable.
    fn count(&self, (peer, log, number): Place, weight: u32) -> oneshot::Receiver<()> {
        let (durable, is_durable) = oneshot::channel();
        let mut state = self.state();
        let Some(suspects) =
            state.incoming.get_mut(&peer).and_then(|incoming| incoming.logs.suspects_mut(log))
        else {
            return is_durable;
        };
        suspects.weigh(number, weight);
        self.write(
            vec![record::put(TRIED, record::key(peer, log, number), &Tried { weight })],
            move |_| {
                // Whoever waited may be gone.
                let _ = durable.send(());
            },
        );
        is_durable
    }
}

/// Returns the reason that a letter is not handed over any more, if that is so.
pub(super) fn deadly(name: &str, message: &str, weight: Option<u32>) -> Option<RemoteError> {
    weight.filter(|&weight| weight >= LIVES * ALONE)?;
    let text = format!(
        "the process ended with this {message} again and again when {name:?} had it, {LIVES} \
         times while it had no other letter; see the log of that node"
    );
    Some(RemoteError::new(RemoteErrorKind::Died, text))
}
