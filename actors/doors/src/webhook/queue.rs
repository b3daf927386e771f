//! The queue of a webhook: durable, bounded, in the order in which messages came.
//!
//! Invariant: a message is in the store from before its letter is said to be handled until its POST
//! was answered well, or a person drops it; the oldest dead one goes for a new one when there are
//! as many as may be. What is written is written while the store is held, after a look at whether
//! another process has changed it; what is in memory follows under the same hold. The lock of the
//! memory is held for moments, never while anything is written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use estafette::node::{Change, FileStore, Hold, Store};
use tokio::sync::Notify;

use super::record::{
    DISABLED, Disabled, MESSAGES, Message, RESTS, Rests, STATE, TRIES, Tries, from_json, key,
    number, to_json,
};

/// The limits of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Messages that wait.
    pub(super) messages: usize,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Dead ones that are kept, which have so many bytes at most, too.
    pub(super) dead: usize,
    /// Bytes of the disk that are left to others.
    pub(super) free: u64,
}

/// Messages that wait, and dead ones.
#[derive(Debug)]
pub(super) struct Queue {
    store: FileStore,
    limits: Limits,
    state: Mutex<State>,
    /// Told of each change.
    pub(super) changed: Notify,
}

/// The part of the queue in memory: of a message, no more than its id and length.
#[derive(Debug, Default)]
struct State {
    messages: BTreeMap<u64, Held>,
    disabled: Option<Disabled>,
    /// The last rest that the receiver has asked for.
    rests: Option<Rests>,
    /// Of the store, when it was looked at.
    version: Option<u128>,
    /// The number of the next message.
    next: u64,
}

/// The part of a message that is kept in memory.
#[derive(Clone, Debug)]
struct Held {
    id: String,
    bytes: u64,
    tries: Tries,
    /// It is being posted.
    posting: bool,
}

/// The outcome for a message that was to be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Stored,
    /// It is there already.
    Known,
    Full,
    /// It is longer than a record may be.
    TooLong,
}

/// The numbers of messages, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) waiting: usize,
    pub(super) bytes: u64,
    pub(super) dead: usize,
    pub(super) dead_bytes: u64,
}

impl Queue {
    /// The queue in a folder, as it was left.
    pub(super) fn open(folder: &Path, limits: Limits) -> io::Result<Self> {
        let store = FileStore::open(folder)?;
        let (state, changed) = (Mutex::default(), Notify::new());
        let queue = Self { store, limits, state, changed };
        drop(queue.held()?);
        Ok(queue)
    }

    /// Holds the store, after a look at it if somebody else has changed it.
    fn held(&self) -> io::Result<Hold> {
        let hold = self.store.hold()?;
        let version = self.store.version()?;
        if self.state().version != Some(version) {
            self.load()?;
            self.changed.notify_one();
        }
        Ok(hold)
    }

    /// Looks whether another process has changed something, and takes that up.
    pub(super) fn look(&self) -> io::Result<()> {
        let is_same = Some(self.store.version()?) == self.state().version;
        if is_same { Ok(()) } else { self.held().map(drop) }
    }

    fn load(&self) -> io::Result<()> {
        let (mut messages, mut seen, mut last) = (BTreeMap::new(), BTreeSet::new(), 0);
        for place in self.store.keys(MESSAGES)? {
            let Some(number) = number(&place) else { continue };
            // Those that can't be read have their places, too.
            last = number;
            let Some((id, bytes)) = self.known(number)? else { continue };
            // Its letter was given twice, as the first time could not be answered.
            if !seen.insert(id.clone()) {
                self.store.remove(MESSAGES, &place)?;
                continue;
            }
            messages.insert(number, Held { id, bytes, tries: Tries::default(), posting: false });
        }
        for (place, bytes) in self.store.load(TRIES)? {
            match number(&place).and_then(|number| messages.get_mut(&number)) {
                Some(held) => held.tries = from_json(&bytes)?,
                // Its message was removed before.
                None => self.store.remove(TRIES, &place)?,
            }
        }
        let disabled = self.store.find(STATE, DISABLED)?;
        let disabled = disabled.map(|bytes| from_json(&bytes)).transpose()?;
        let rests = self.store.find(STATE, RESTS)?;
        let rests = rests.map(|bytes| from_json(&bytes)).transpose()?;
        let version = Some(self.store.version()?);
        let mut state = self.state();
        for (number, held) in &mut messages {
            held.posting = state.messages.get(number).is_some_and(|known| known.posting);
        }
        (state.messages, state.disabled, state.rests) = (messages, disabled, rests);
        state.version = version;
        state.next = state.next.max(last.saturating_add(1));
        Ok(())
    }

    /// The id and the length of a message that is there, which never change; `None` if it can't be
    /// read.
    fn known(&self, number: u64) -> io::Result<Option<(String, u64)>> {
        let known = self.state().messages.get(&number).map(|held| (held.id.clone(), held.bytes));
        if known.is_some() {
            return Ok(known);
        }
        let found = self.store.find(MESSAGES, &key(number))?.map(Message::from_bytes);
        match found.transpose() {
            Ok(found) => Ok(found.map(|Message { head, body }| (head.id, body.len() as u64))),
            Err(error) => {
                tracing::error!(number, %error, "a message of a webhook can't be read");
                Ok(None)
            }
        }
    }

    /// Puts a message in, durably. It blocks.
    pub(super) fn put(&self, message: &Message) -> io::Result<Put> {
        let (hold, length) = (self.held()?, message.body.len() as u64);
        let number = {
            let state = self.state();
            if state.messages.values().any(|held| held.id == message.head.id) {
                return Ok(Put::Known);
            }
            if !state.has_room(self.limits, length) {
                return Ok(Put::Full);
            }
            // Another life does not give a number anew, whose message others may still know.
            state.next.max(now_ms())
        };
        let free = self.store.free()?;
        if free < self.limits.free.saturating_add(length) {
            tracing::warn!(
                free,
                kept = self.limits.free,
                "the disk has no room for messages of a webhook"
            );
            return Ok(Put::Full);
        }
        let bytes = message.to_bytes()?;
        if bytes.len() > FileStore::VALUE_LIMIT {
            return Ok(Put::TooLong);
        }
        if let Err(error) = self.store.put(MESSAGES, &key(number), &bytes) {
            // Whether it is there is not known: the next look finds out.
            self.state().version = None;
            return Err(error);
        }
        let id = message.head.id.clone();
        let held = Held { id, bytes: length, tries: Tries::default(), posting: false };
        self.change(hold, |state| {
            state.next = number.saturating_add(1);
            state.messages.insert(number, held);
        })?;
        Ok(Put::Stored)
    }

    /// Returns true if a message of that length may be put in, as far as memory knows.
    pub(super) fn has_room(&self, length: u64) -> bool {
        self.state().has_room(self.limits, length)
    }

    /// Notes in memory what has been written.
    fn change(&self, hold: Hold, change: impl FnOnce(&mut State)) -> io::Result<()> {
        let version = self.store.version();
        let mut state = self.state();
        change(&mut state);
        state.version = version.as_ref().ok().copied();
        drop((state, hold));
        self.changed.notify_one();
        version.map(drop)
    }

    /// The number of the message that is to be posted now, if there is one, which is taken: in
    /// order, that is the first one, when it is due.
    pub(super) fn claim(&self, in_order: bool) -> Option<u64> {
        let (now, mut state) = (now_ms(), self.state());
        if state.disabled.is_some() || state.rest(now) > 0 {
            return None;
        }
        let is_due = |held: &Held| !held.posting && held.tries.next_at(now) <= now;
        let mut alive = state.messages.iter_mut().filter(|(_, held)| !held.tries.dead);
        let found = if in_order {
            alive.next().filter(|(_, held)| is_due(held))
        } else {
            alive.find(|(_, held)| is_due(held))
        };
        let (number, held) = found?;
        held.posting = true;
        Some(*number)
    }

    /// The id of the first message that is not dead.
    pub(super) fn first(&self) -> Option<String> {
        let state = self.state();
        let mut alive = state.messages.values().filter(|held| !held.tries.dead);
        alive.next().map(|held| held.id.clone())
    }

    /// Returns the time until something is due that may be claimed, unless something changes.
    pub(super) fn due_in(&self, in_order: bool) -> Duration {
        let (now, state) = (now_ms(), self.state());
        if state.disabled.is_some() {
            return Duration::MAX;
        }
        let mut alive = state.messages.values().filter(|held| !held.tries.dead);
        let first = if in_order {
            alive.next().filter(|held| !held.posting).map(|held| held.tries.next_at(now))
        } else {
            alive.filter(|held| !held.posting).map(|held| held.tries.next_at(now)).min()
        };
        let first = first.unwrap_or(u64::MAX);
        Duration::from_millis(first.saturating_sub(now).max(state.rest(now)))
    }

    /// A message that was claimed; `None` if it is not there any more. It blocks.
    pub(super) fn message(&self, number: u64) -> io::Result<Option<Message>> {
        let found = self.store.find(MESSAGES, &key(number))?;
        if found.is_none() {
            self.state().messages.remove(&number);
        }
        found.map(Message::from_bytes).transpose()
    }

    /// It was answered well, or is dropped. It blocks.
    pub(super) fn remove(&self, number: u64) -> io::Result<()> {
        let hold = self.held()?;
        self.store.remove(MESSAGES, &key(number))?;
        self.store.remove(TRIES, &key(number))?;
        self.change(hold, |state| drop(state.messages.remove(&number)))
    }

    /// It has failed: it is tried again after the wait, or is dead without one. It blocks.
    pub(super) fn failed(
        &self,
        number: u64,
        (status, why): (Option<u16>, &str),
        wait: Option<Duration>,
    ) -> io::Result<()> {
        let hold = self.held()?;
        let Some(mut tries) = self.tries(number) else { return Ok(()) };
        let now = now_ms();
        tries.failed(now / 1000, status, why);
        tries.dead = wait.is_none();
        let wait = wait.unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX);
        tries.next = now.saturating_add(wait);
        self.store.put(TRIES, &key(number), &to_json(&tries)?)?;
        let is_dead = tries.dead;
        self.change(hold, |state| {
            if let Some(held) = state.messages.get_mut(&number) {
                (held.tries, held.posting) = (tries, false);
            }
        })?;
        // The try is noted: what can't be forgotten now goes with the next one that dies.
        if is_dead && let Err(error) = self.bury() {
            tracing::error!(%error, "a dead message of a webhook can't be forgotten");
        }
        Ok(())
    }

    /// Forgets the oldest dead messages of more than are kept.
    fn bury(&self) -> io::Result<()> {
        loop {
            let oldest = {
                let state = self.state();
                let mut dead = state.messages.iter().filter(|(_, held)| held.tries.dead);
                let oldest = dead.next().map(|(number, held)| (*number, held.id.clone()));
                let (counts, limits) = (state.counts(), self.limits);
                let is_full = counts.dead > limits.dead
                    || (counts.dead > 1 && counts.dead_bytes > limits.bytes);
                oldest.filter(|_| is_full)
            };
            let Some((number, id)) = oldest else { return Ok(()) };
            tracing::error!(
                id,
                kept = self.limits.dead,
                "the oldest dead message of a webhook is forgotten: no more are kept"
            );
            self.remove(number)?;
        }
    }

    /// The receiver has asked for a rest: nothing is posted before its end, in later lives too,
    /// unless a person ends it. Returns true if there was none. It blocks.
    pub(super) fn rest(&self, rests: &Rests) -> io::Result<bool> {
        let (hold, now) = (self.held()?, now_ms());
        let before = self.rests();
        // Those that were posted together are answered together.
        if before.as_ref().is_none_or(|before| before.until < rests.until) && rests.left(now) > 0 {
            self.store.put(STATE, RESTS, &to_json(rests)?)?;
            self.change(hold, |state| state.rests = Some(rests.clone()))?;
            return Ok(before.is_none());
        }
        Ok(false)
    }

    /// Tries of a message so far, as memory has them.
    pub(super) fn tries(&self, number: u64) -> Option<Tries> {
        self.state().messages.get(&number).map(|held| held.tries.clone())
    }

    /// It was not tried after all.
    pub(super) fn give_back(&self, number: u64) {
        if let Some(held) = self.state().messages.get_mut(&number) {
            held.posting = false;
        }
    }

    /// Posts nothing more, from now on and in later lives, until it is enabled. It blocks.
    pub(super) fn disable(&self, disabled: &Disabled) -> io::Result<()> {
        let hold = self.held()?;
        self.store.put(STATE, DISABLED, &to_json(disabled)?)?;
        self.change(hold, |state| state.disabled = Some(disabled.clone()))
    }

    /// Posts again, without a rest; whether it was disabled. It blocks.
    pub(super) fn enable(&self) -> io::Result<bool> {
        let hold = self.held()?;
        let was = self.state().disabled.is_some();
        let changes = [DISABLED, RESTS];
        let changes = changes.map(|key| Change::Remove { table: STATE, key: key.to_vec() });
        self.store.write(changes.into())?;
        self.change(hold, |state| (state.disabled, state.rests) = (None, None))?;
        Ok(was)
    }

    /// Makes a message as new, and ends the rest, so that it is tried now. It blocks.
    pub(super) fn renew(&self, number: u64) -> io::Result<()> {
        self.renew_all(self.held()?, &[number])
    }

    fn renew_all(&self, hold: Hold, numbers: &[u64]) -> io::Result<()> {
        let ends = Change::Remove { table: STATE, key: RESTS.to_vec() };
        let renewed = numbers.iter();
        let renewed =
            renewed.map(|number| Change::Remove { table: TRIES, key: key(*number).to_vec() });
        self.store.write(renewed.chain([ends]).collect())?;
        self.change(hold, |state| {
            state.rests = None;
            for number in numbers {
                if let Some(held) = state.messages.get_mut(number) {
                    held.tries = Tries::default();
                }
            }
        })
    }

    /// Makes all dead messages as new, and ends the rest; returns their ids. It blocks.
    pub(super) fn renew_dead(&self) -> io::Result<Vec<String>> {
        let hold = self.held()?;
        let dead: Vec<(u64, String)> = {
            let state = self.state();
            let dead = state.messages.iter().filter(|(_, held)| held.tries.dead);
            dead.map(|(number, held)| (*number, held.id.clone())).collect()
        };
        let (numbers, ids): (Vec<_>, Vec<_>) = dead.into_iter().unzip();
        if !numbers.is_empty() {
            self.renew_all(hold, &numbers)?;
        }
        Ok(ids)
    }

    /// The message of that id.
    pub(super) fn find(&self, id: &str) -> Option<u64> {
        let state = self.state();
        state.messages.iter().find(|(_, held)| held.id == id).map(|(number, _)| *number)
    }

    /// All messages in their order, with their tries.
    pub(super) fn all(&self) -> Vec<(u64, Tries)> {
        let state = self.state();
        state.messages.iter().map(|(number, held)| (*number, held.tries.clone())).collect()
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts()
    }

    pub(super) fn disabled(&self) -> Option<Disabled> {
        self.state().disabled.clone()
    }

    /// The rest that the receiver has asked for, unless it is over.
    pub(super) fn rests(&self) -> Option<Rests> {
        let now = now_ms();
        self.state().rests.clone().filter(|rests| rests.left(now) > 0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, limits: Limits, length: u64) -> bool {
        let counts = self.counts();
        counts.waiting < limits.messages
            && (counts.waiting == 0 || counts.bytes.saturating_add(length) <= limits.bytes)
    }

    /// The milliseconds that are left of a rest.
    fn rest(&self, now: u64) -> u64 {
        self.rests.as_ref().map_or(0, |rests| rests.left(now))
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for held in self.messages.values() {
            match held.tries.dead {
                true => {
                    counts.dead += 1;
                    counts.dead_bytes += held.bytes;
                }
                false => {
                    counts.waiting += 1;
                    counts.bytes += held.bytes;
                }
            }
        }
        counts
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
