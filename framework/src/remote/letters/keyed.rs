//! Letters that their sender gave keys: what is posted again under its key is the same letter, in
//! every life of the node, for as long as the key is remembered.
//!
//! Invariant: a key becomes durable together with its letter, so a crash leaves both or neither. A
//! key is remembered as long as its letter may be under way, and for [`KEPT`] seconds more, by the
//! time that has passed for certain: no wall clock that steps makes a node forget it. That its letter was handled becomes durable together with the letter's end;
//! a letter of which nothing is kept without that is dead, and never said to be handled.

use std::collections::BTreeMap;
use std::io;

use tokio::sync::{oneshot, watch};

use super::super::error::{RemoteError, RemoteErrorKind};
use super::record::{self, KEYS, Keyed};
use super::{Delivery, LetterId, LetterState, Letters};
use crate::delivery::EXPIRY_MOST;
use crate::store::{Change, Store};
use crate::wire::PeerId;

/// The seconds that a key is remembered when its letter is over, at least.
pub(super) const KEPT: u64 = 24 * 3600;
/// The most keys that are remembered.
const MOST: usize = 100_000;

/// A key of a letter: 32 bytes, of the sender's choice. A digest of what makes the message the same
/// to it, say.
pub type LetterKey = [u8; 32];

/// The answer to a letter that is posted: where it is, or why it is nowhere.
pub(in crate::remote) type Posted = oneshot::Receiver<Result<Delivery, RemoteError>>;

/// The keys that are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Keys {
    known: BTreeMap<LetterKey, Keyed>,
    /// The key of each letter that has one.
    of: BTreeMap<LetterId, LetterKey>,
    /// No key is over earlier.
    soonest: u64,
}

/// The state of a key's letter, as far as it is known.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// It is under way or dead, and this is kept of it.
    Kept(T),
    /// It was handled, and nothing else is kept of it.
    Processed,
    /// Nothing is kept of it. Too many letters died behind it, or its record or its log was lost.
    Lost,
}

impl Keys {
    /// Reads all keys of a spool.
    pub(super) fn load(spool: &dyn Store, now: u64) -> io::Result<Self> {
        let mut keys = Self { soonest: u64::MAX, ..Self::default() };
        for (key, value) in spool.load(KEYS)? {
            let parsed = LetterKey::try_from(&key[..]).ok();
            if let Some((key, mut keyed)) = record::read::<_, Keyed>(KEYS, &key, &value, parsed) {
                // No longer than any, wherever the clock stood that dated it.
                keyed.until = keyed.until.min(now.saturating_add(EXPIRY_MOST.as_secs() + KEPT));
                keys.put(key, keyed);
            }
        }
        Ok(keys)
    }

    /// Remembers a key.
    pub(super) fn put(&mut self, key: LetterKey, keyed: Keyed) {
        self.soonest = self.soonest.min(keyed.until);
        self.of.insert(keyed.letter(), key);
        self.known.insert(key, keyed);
    }

    /// Returns `true` if this letter was posted under this key before.
    pub(super) fn has(
        &self,
        key: &LetterKey,
        peer: PeerId,
        digest: &[u8; 32],
    ) -> Result<bool, RemoteError> {
        match self.known.get(key) {
            None if self.known.len() >= MOST => {
                let text =
                    format!("{MOST} keys are remembered already: nothing was stored; try later");
                Err(RemoteError::new(RemoteErrorKind::Full, text))
            }
            None => Ok(false),
            Some(keyed) if keyed.digest == *digest && keyed.peer == *peer.as_bytes() => Ok(true),
            Some(_) => {
                let text = "another letter was delivered under this key: nothing was stored";
                Err(RemoteError::new(RemoteErrorKind::Conflict, text))
            }
        }
    }

    /// Remembers a letter that is about to be stored, and is worth delivering for so long; the
    /// change that does so with it.
    pub(super) fn remember(
        &mut self,
        key: LetterKey,
        peer: PeerId,
        letter: LetterId,
        digest: [u8; 32],
        (now, life): (u64, u64),
    ) -> Change {
        let until = now.saturating_add(life).saturating_add(KEPT);
        let (log, number) = (letter.log, letter.number);
        let keyed = Keyed { peer: *peer.as_bytes(), log, number, digest, until, processed: false };
        self.put(key, keyed);
        record::put(KEYS, key.to_vec(), &keyed)
    }

    /// The letter of a key, and its state. `kept` looks for what is kept of it: `Some(None)` while
    /// it is being stored, when there is nothing to be said of it.
    pub(super) fn find<T>(
        &self,
        key: &LetterKey,
        kept: impl FnOnce(PeerId, LetterId) -> Option<Option<T>>,
    ) -> Option<(LetterId, Found<T>)> {
        let keyed = self.known.get(key)?;
        let id = keyed.letter();
        let found = match kept(PeerId::from_bytes(keyed.peer), id) {
            Some(state) => Found::Kept(state?),
            None if keyed.processed => Found::Processed,
            None => Found::Lost,
        };
        Some((id, found))
    }

    /// The letter was not stored, or nobody asks for it any more.
    pub(super) fn forget(&mut self, key: &LetterKey) {
        if let Some(keyed) = self.known.remove(key) {
            self.of.remove(&keyed.letter());
        }
    }

    /// Forgets the key of a letter that nobody knows any more; what there was of it.
    pub(super) fn without(&mut self, letter: LetterId) -> Option<(LetterKey, Keyed)> {
        let key = self.of.remove(&letter)?;
        Some((key, self.known.remove(&key)?))
    }

    /// The letter was handled; the change that notes it with its key, if it has one.
    pub(super) fn processed(&mut self, letter: LetterId) -> Option<Change> {
        let key = self.of.get(&letter)?;
        let keyed = self.known.get_mut(key)?;
        keyed.processed = true;
        Some(record::put(KEYS, key.to_vec(), keyed))
    }

    /// Returns `true` if the time of some may be over.
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.soonest <= now
    }

    /// Forgets the keys whose time is over; the changes that do so durably.
    pub(super) fn expire(&mut self, now: u64) -> Vec<Change> {
        if !self.is_due(now) {
            return Vec::new();
        }
        let is_over = |(_, keyed): &(&LetterKey, &Keyed)| keyed.until <= now;
        let over: Vec<_> = self.known.iter().filter(is_over).map(|(&key, _)| key).collect();
        over.iter().for_each(|key| self.forget(key));
        self.soonest = self.known.values().map(|keyed| keyed.until).min().unwrap_or(u64::MAX);
        over.into_iter().map(|key| record::remove(KEYS, key.to_vec())).collect()
    }
}

impl Letters {
    /// The letter of a key, whatever has become of it. `None`: the key is not remembered, or what
    /// was to be stored under it is not stored yet.
    pub(crate) fn keyed(&self, key: &LetterKey) -> Option<Delivery> {
        let state = self.state();
        let kept = |peer, id| state.outgoing.get(&peer)?.state_of(id);
        let (id, found) = state.keys.find(key, kept)?;
        let state = match found {
            Found::Kept(state) => state,
            Found::Processed => watch::channel(LetterState::Processed).1,
            Found::Lost => watch::channel(LetterState::Dead(not_kept())).1,
        };
        Some(Delivery { id, state })
    }

    /// A letter that was posted under its key before: when it is durable.
    pub(super) fn again(&self, key: LetterKey) -> Posted {
        let (answer, answered) = oneshot::channel();
        // What was put in before is durable then, or refused.
        self.try_write(Vec::new(), move |letters, written| {
            let found = written.is_ok().then(|| letters.keyed(&key)).flatten();
            let failed = || {
                let text = "the letter could not be stored, so it was not sent";
                RemoteError::new(RemoteErrorKind::Storage, text)
            };
            // Whoever posted it may be gone.
            let _ = answer.send(found.ok_or_else(failed));
        });
        answered
    }
}

fn not_kept() -> RemoteError {
    let text = "the letter was given up, or its record was lost, and is not kept any more; whether \
                it was handled is not known";
    RemoteError::new(RemoteErrorKind::Cancelled, text)
}

/// Returns a digest that equal letters have in common.
pub(super) fn digest((name, message, version): (&str, &str, u32), body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("estafette letter under a key 1");
    for part in [name.as_bytes(), message.as_bytes(), &version.to_be_bytes(), body] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}
