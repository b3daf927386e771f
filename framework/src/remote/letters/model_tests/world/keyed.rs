//! Keys of letters: whoever posts under them, and what they are answered.

use super::*;
use crate::remote::letter_id::LetterId;
use crate::remote::letters::keyed::Found;
use crate::remote::letters::record::{KEYS, Keyed};
use crate::store::{MemoryStore, Store};
use crate::wire::PeerId;
use crate::wire::codec::decode_message;

const PEER: PeerId = PeerId::from_bytes([1; 32]);

impl SenderSpool {
    pub(super) fn apply(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            match change {
                Change::Put { key, value, .. } => _ = self.keys.insert(key, value),
                Change::Remove { key, .. } => _ = self.keys.remove(&key),
            }
        }
    }
}

impl World {
    /// The letters that somebody may post again.
    pub(super) fn letters_under_keys(&self) -> impl Iterator<Item = Letter> {
        let count = if self.left.keys { self.fates.len() as Letter } else { 0 };
        (0..count).filter(|&letter| self.fates[usize::from(letter)].of == letter)
    }

    /// The keys whose time is not over.
    pub(super) fn keys_in_time(&self) -> usize {
        let is_in_time = |value: &&Vec<u8>| {
            decode_message::<Keyed>(value).is_ok_and(|keyed| keyed.until > self.now)
        };
        self.sender_spool.keys.values().filter(is_in_time).count()
    }

    pub(super) fn load_keys(&self) -> Keys {
        let spool = MemoryStore::default();
        for (key, value) in &self.sender_spool.keys {
            spool.put(KEYS, key, value).expect("it is in memory");
        }
        Keys::load(&spool, 0).expect("it is in memory")
    }

    /// Notes a letter that is to be stored, and its key, if it has one.
    pub(super) fn remember(&mut self, of: Letter, number: u64) -> Option<Change> {
        if !self.left.keys {
            self.fates.push(Fate::default());
            return None;
        }
        let (now, life) = (self.now, LIFE.saturating_sub(self.now));
        let until = now + life + KEPT;
        let second = self.letter_of(of).is_some_and(|earlier| now < earlier.until);
        self.fates.push(Fate { of, number, until, second, ..Fate::default() });
        let sender = self.sender.as_mut().expect("it lives");
        let id = LetterId::new(sender.log, number);
        Some(sender.keys.remember([of; 32], PEER, id, [of; 32], (now, life)))
    }

    /// The last letter of a key that was stored, or is to be.
    fn letter_of(&self, of: Letter) -> Option<&Fate> {
        let was_there = |end| !matches!(end, Some(End::NotStored | End::Lost));
        self.fates.iter().rev().find(|fate| fate.of == of && was_there(fate.end))
    }

    pub(super) fn post_again(&mut self, of: Letter) {
        self.left.repeats -= 1;
        let sender = self.sender.as_mut().expect("it lives");
        match sender.keys.has(&[of; 32], PEER, &[of; 32]) {
            Ok(true) if self.broken == Some(Break::AnsweredEarly) => self.answer(of),
            Ok(true) => sender.writes.push_back(SenderWrite::Again(of)),
            Ok(false) => self.post_new(of),
            Err(_) => self.fault = Some("a letter is taken for another one"),
        }
    }

    /// Whoever posted a letter again is told of it: of the first one, and what is true.
    pub(super) fn answer(&mut self, of: Letter) {
        let sender = self.sender.as_ref().expect("it lives");
        let kept = |_, LetterId { log, number }: LetterId| {
            let is_open = sender.log == log && sender.offers.get(number).is_some();
            let is_told = self.broken == Some(Break::AnsweredEarly);
            let is_stored = || is_told || sender.offers.find(number).is_some();
            let open = is_open.then(|| is_stored().then_some(false));
            let handled = sender.handled.contains(&number).then_some(Some(false));
            let dead = sender.dead.contains(&number).then_some(Some(true));
            open.or(handled).or(dead)
        };
        let found = sender.keys.find(&[of; 32], kept);
        let Some(first) = self.letter_of(of) else {
            if found.is_some() {
                self.fault = Some("a letter is known that was not stored");
            }
            return;
        };
        let is_true = match found {
            // It can't be stored, or is forgotten: whoever posted it hears that it was not.
            None => !first.stored || first.until <= self.now,
            Some((id, _)) if id.number != first.number || !first.stored => false,
            Some((_, Found::Kept(false))) => first.end.is_none(),
            // That it is dead is told when that is durable.
            Some((_, Found::Kept(true))) => {
                matches!(first.end, None | Some(End::Refused | End::GivenUp))
            }
            Some((_, Found::Processed)) => first.end == Some(End::Processed),
            Some((_, Found::Lost)) => false,
        };
        if !is_true {
            self.fault = Some("who posts again is not told what is true of the first letter");
        }
    }

    /// A dead letter is forgotten, with its key, which may be used anew.
    pub(super) fn forget(&mut self, number: u64) {
        self.left.forgets -= 1;
        let sender = self.sender.as_mut().expect("it lives");
        sender.dead.remove(&number);
        let key = sender.keys.without(LetterId::new(sender.log, number));
        let change = key.map(|(key, _)| Change::Remove { table: KEYS, key: key.to_vec() });
        sender.writes.push_back(SenderWrite::Forgotten(number, change));
        for fate in self.fates.iter_mut().filter(|fate| fate.number == number) {
            fate.until = 0;
        }
    }

    pub(super) fn keys_expire(&mut self) {
        let early = self.broken == Some(Break::KeysOverEarly);
        let now = if early { self.now + KEPT } else { self.now };
        if self.broken == Some(Break::KeysForEver) {
            return;
        }
        let sender = self.sender.as_mut().expect("it lives");
        let over = sender.keys.expire(now);
        if !over.is_empty() {
            sender.writes.push_back(SenderWrite::Expired(over));
        }
    }
}
