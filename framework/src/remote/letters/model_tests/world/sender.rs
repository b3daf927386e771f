//! The sender's process and spool.

use super::*;
use crate::remote::letter_id::LetterId;

impl World {
    pub(super) fn start_sender(&mut self) {
        let is_new = self.sender_spool.log.is_none();
        self.logs += u8::from(is_new);
        let (log, last) = self.sender_spool.log.unwrap_or(([self.logs; 16], 0));
        let mut offers = Offers::new(if is_new { 0 } else { last + LEFT_OUT });
        if self.broken == Some(Break::NumbersAgain) {
            offers = Offers::new(last.saturating_sub(1));
        }
        offers = offers.within(self.windows());
        for (&number, &letter) in &self.sender_spool.letters {
            offers.restore(number, letter, NAMES[self.name_of(letter)].into(), (COST, LIFE));
        }
        let (keys, dead) = (self.load_keys(), self.sender_spool.dead.clone());
        let (handled, writes) = (BTreeSet::new(), VecDeque::new());
        self.sender = Some(Sender { log, offers, keys, handled, dead, writes });
    }

    pub(super) fn sender_crash(&mut self) {
        self.cut();
        for write in self.sender.take().into_iter().flat_map(|sender| sender.writes) {
            if let SenderWrite::Posted(_, letter, _) = write {
                self.fates[usize::from(letter)].end = Some(End::NotStored);
            }
        }
    }

    pub(super) fn lose_spool(&mut self) {
        self.sender_spool = SenderSpool::default();
        self.fates.iter_mut().for_each(|fate| fate.until = 0);
        for fate in self.fates.iter_mut().filter(|fate| fate.end.is_none()) {
            fate.end = Some(End::Lost);
        }
    }

    pub(super) fn post(&mut self) {
        self.left.letters -= 1;
        self.post_new(self.fates.len() as Letter);
    }

    /// A letter that is the same as `of` to whoever posts it.
    pub(super) fn post_new(&mut self, of: Letter) {
        let letter = self.fates.len() as Letter;
        let name = NAMES[self.name_of(letter)].into();
        let sender = self.sender.as_mut().expect("it lives");
        let number = sender.offers.post(letter, name, COST, LIFE);
        let key = self.remember(of, number);
        let sender = self.sender.as_mut().expect("it lives");
        sender.writes.push_back(SenderWrite::Posted(number, letter, key));
    }

    pub(super) fn sender_writes(&mut self) {
        let sender = self.sender.as_mut().expect("it lives");
        match sender.writes.pop_front().expect("it has something to write") {
            SenderWrite::Posted(number, letter, key) => {
                self.sender_spool.letters.insert(number, letter);
                self.sender_spool.log = Some((sender.log, number));
                self.fates[usize::from(letter)].stored = true;
                sender.offers.stored(number);
                let key = key.filter(|_| self.broken != Some(Break::KeyNotStored));
                self.sender_spool.apply(key);
            }
            SenderWrite::Ended(number, letter, end, key) => {
                self.sender_spool.letters.remove(&number);
                self.fates[usize::from(letter)].end.get_or_insert(end);
                sender.offers.ended(number);
                sender.handled.remove(&number);
                if self.left.keys && end != End::Processed {
                    self.sender_spool.dead.insert(number);
                }
                let key = key.filter(|_| self.broken != Some(Break::ProcessedNotNoted));
                self.sender_spool.apply(key);
            }
            SenderWrite::Again(of) => self.answer(of),
            SenderWrite::Forgotten(number, key) => {
                self.sender_spool.dead.remove(&number);
                self.sender_spool.apply(key);
            }
            SenderWrite::Expired(keys) => self.sender_spool.apply(keys),
        }
        self.send();
    }

    pub(super) fn sender_cant_write(&mut self) {
        self.left.failed_writes -= 1;
        let sender = self.sender.as_mut().expect("it lives");
        if let Some(SenderWrite::Posted(number, letter, _)) = sender.writes.pop_front() {
            sender.offers.not_stored(number);
            let of = self.fates[usize::from(letter)].of;
            sender.keys.forget(&[of; 32]);
            self.fates[usize::from(letter)].end = Some(End::NotStored);
        }
    }

    /// Says what may be said.
    pub(super) fn send(&mut self) {
        let Some(sender) = &mut self.sender else { return };
        while let Some(Next { epoch, number, before, letter, is_asked }) = sender.offers.next() {
            if self.link != Some(epoch) {
                self.fault = Some("a letter is said on a link that is over");
                return;
            }
            let (log, letter) = (sender.log, *letter);
            self.to_receiver.push_back(Said { log, number, before, letter, is_asked });
            sender.offers.said(number);
            if self.broken == Some(Break::AskedEarly) {
                sender.offers.is_there(number);
            }
        }
    }

    /// A word of the receiver has come.
    pub(super) fn word_comes(&mut self) {
        let (log, number, told) = self.to_sender.pop_front().expect("there is one");
        let (Some(sender), Some(epoch)) = (&mut self.sender, self.link) else { return };
        if log != sender.log || sender.offers.hears(epoch, number) != Ok(true) {
            if !self.spoilt {
                self.fault = Some("an honest receiver is taken for one that breaks the protocol");
            }
            return self.cut();
        }
        match told {
            Told::Stored => _ = sender.offers.is_there(number),
            Told::Gone => {
                sender.offers.are_gone();
                return self.cut();
            }
            Told::Handled => self.finish(vec![number], End::Processed),
            Told::Refused => self.finish(vec![number], End::Refused),
        }
        if self.broken == Some(Break::AllBefore) && told == Told::Handled {
            self.finish((1..number).collect(), End::Processed);
        }
        self.send();
    }

    fn finish(&mut self, numbers: Vec<u64>, end: End) {
        let sender = self.sender.as_mut().expect("it lives");
        for number in numbers {
            let Some(letter) = sender.offers.end(number) else { continue };
            let id = LetterId::new(sender.log, number);
            let key = if end == End::Processed {
                if self.broken == Some(Break::KeyGoesWithLetter) {
                    sender.keys.without(id);
                }
                let is_told = !self.left.keys || self.broken == Some(Break::ProcessedToldEarly);
                sender.handled.extend((!is_told).then_some(number));
                sender.keys.processed(id)
            } else {
                sender.dead.extend(self.left.keys.then_some(number));
                None
            };
            sender.writes.push_back(SenderWrite::Ended(number, letter, end, key));
            if self.broken == Some(Break::WindowMovesEarly) {
                sender.offers.ended(number);
            }
        }
    }

    pub(super) fn sender_clock(&mut self) {
        self.keys_expire();
        let now = self.now;
        let sender = self.sender.as_mut().expect("it lives");
        let expired = sender.offers.expired(now);
        self.finish(expired, End::GivenUp);
        self.sender.as_mut().expect("it lives").offers.look_later();
        self.send();
    }

    /// The receiver is trusted no more, and then again.
    pub(super) fn sender_revokes(&mut self) {
        self.cut();
        let sender = self.sender.as_mut().expect("it lives");
        let all = sender.offers.durable().map(|(number, _)| number).collect();
        self.finish(all, End::GivenUp);
    }
}
