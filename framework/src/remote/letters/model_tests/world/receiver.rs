//! The receiver's process and spool, and its actor.

use super::*;

impl World {
    pub(super) fn start_receiver(&mut self) {
        let mut logs = Logs::default();
        let ReceiverSpool { logs: taken, mail, refused } = &self.receiver_spool;
        taken.iter().for_each(|(&log, &taken)| logs.restore(log, taken));
        for (&(log, number), why) in refused {
            let known = logs.known(log, number).expect("a refusal is in the spool with its log");
            known.restore_refusal(number, why.clone());
        }
        for (&(log, number), &letter) in mail {
            let Some(known) = logs.known(log, number) else {
                self.fault = Some("a letter is in the spool without its log");
                continue;
            };
            known.restore(number, letter, COST);
        }
        let (writes, handing) = (VecDeque::new(), Handing::Nothing);
        self.receiver = Some(Receiver { logs, writes, handing, handled: None });
        self.hand_over();
    }

    pub(super) fn receiver_crash(&mut self) {
        self.cut();
        self.receiver = None;
        let kept: Vec<Letter> = self.receiver_spool.mail.values().copied().collect();
        for letter in kept {
            let fate = &mut self.fates[usize::from(letter)];
            fate.died_with = fate.handled;
        }
    }

    /// A letter has come.
    pub(super) fn letter_comes(&mut self, refused: bool) {
        let Said { log, number, mut before, letter } =
            self.to_receiver.pop_front().expect("there is one");
        let (Some(receiver), Some(epoch)) = (&mut self.receiver, self.link) else { return };
        if self.broken == Some(Break::NoPredecessor) {
            // Whatever came before it.
            before = receiver.last_seen(before, epoch, log, number);
        }
        match receiver.logs.arrive(epoch, (log, number, before), COST) {
            Err(_) => {
                if !self.spoilt {
                    self.fault = Some("an honest sender is taken for one that breaks the protocol");
                }
                self.cut();
            }
            Ok(Arrival::OfNoLink | Arrival::NoRoom) => {
                self.fault = Some("a letter of the link there is finds no log");
            }
            Ok(Arrival::Before) => self.tell(log, number),
            Ok(Arrival::New { mut notes, .. }) => {
                if self.broken == Some(Break::HighestForgotten) {
                    let known = self.receiver_spool.logs.get(&log).map_or(0, |log| log.highest);
                    for note in &mut notes {
                        if let Note::Log(_, taken) = note {
                            taken.highest = known.max(1);
                        }
                    }
                }
                let outcome = if refused { Err(refusal()) } else { Ok(letter) };
                let why = outcome.clone().err();
                let mut notes = receiver.logs.take((log, number), COST, outcome, notes);
                if self.broken == Some(Break::RefusalForgotten) {
                    notes.retain(|note| !matches!(note, Note::Refused(..)));
                }
                receiver.writes.push_back((notes, Then::Stored(log, number, why.clone())));
                if self.broken == Some(Break::SaidBeforeStored) {
                    receiver.logs.stored((log, number), why);
                    self.tell(log, number);
                }
            }
        }
    }

    pub(super) fn receiver_writes(&mut self) {
        let receiver = self.receiver.as_mut().expect("it lives");
        let (notes, then) = receiver.writes.pop_front().expect("it has something to write");
        let early = self.broken == Some(Break::SaidBeforeStored);
        let too_early = self.broken == Some(Break::HandledBeforeNoted);
        notes.into_iter().for_each(|note| self.receiver_spool.apply(note));
        match then {
            Then::Stored(log, number, why) => {
                if !early {
                    receiver.logs.stored((log, number), why);
                }
                self.tell(log, number);
                self.hand_over();
            }
            Then::Ended(log, number, why) => {
                if !too_early {
                    receiver.logs.ended((log, number), why);
                    self.tell(log, number);
                }
                let receiver = self.receiver.as_mut().expect("it lives");
                if receiver.handing == Handing::Noting(log, number) {
                    self.turn();
                }
            }
        }
    }

    /// Says what has become of a letter; it must have its cause.
    fn tell(&mut self, log: LogId, number: u64) {
        let Some(receiver) = &self.receiver else { return };
        let Some((epoch, word)) = receiver.logs.word(log, number) else { return };
        if self.link != Some(epoch) {
            self.fault = Some("something is said on a link that is over");
            return;
        }
        let spool = &self.receiver_spool;
        let was_taken = spool.logs.get(&log).is_some_and(|log| log.highest >= number);
        let is_held = spool.mail.contains_key(&(log, number));
        let (told, is_so) = match word {
            Word::Stored => (Told::Stored, was_taken),
            Word::Handled => (Told::Handled, was_taken && !is_held),
            Word::Refused(_) => {
                (Told::Refused, was_taken && spool.refused.contains_key(&(log, number)))
            }
        };
        if !is_so {
            self.fault = Some("something is said before it is durable");
        }
        self.to_sender.push_back((log, number, told));
    }

    fn hand_over(&mut self) {
        let receiver = self.receiver.as_mut().expect("it lives");
        if receiver.logs.begin_handing() || self.broken == Some(Break::ManyHands) {
            self.turn();
        }
    }

    fn turn(&mut self) {
        let receiver = self.receiver.as_mut().expect("it lives");
        let before = receiver.handing;
        let next = receiver.logs.turn(false);
        receiver.handing = next
            .map_or(Handing::Nothing, |(log, number, letter)| Handing::With(log, number, letter));
        let Some((log, number, letter)) = next else { return };
        if !self.receiver_spool.mail.contains_key(&(log, number)) {
            self.fault = Some("a letter is handed over before it is durable");
        }
        // Two hand over: what the first of them was given is handled.
        if let Handing::With(..) = before {
            self.effect(letter);
        }
    }

    /// An actor handles a letter. Where a life has ended before it noted that, those that it
    /// handled come again, all of them, and in order again.
    fn effect(&mut self, letter: Letter) {
        let receiver = self.receiver.as_mut().expect("it lives");
        let is_noted = |letter: &usize| {
            !self.receiver_spool.mail.values().any(|&it| usize::from(it) == *letter)
        };
        let mut later = usize::from(letter) + 1..self.fates.len();
        let was_handled = |fate: &Fate| fate.handled > fate.died_with;
        let is_late = later.any(|later| was_handled(&self.fates[later]) && is_noted(&later));
        if receiver.handled.is_some_and(|last| last >= letter) || is_late {
            self.fault = Some("a letter is handled twice, or after a later one");
        }
        receiver.handled = Some(letter);
        self.fates[usize::from(letter)].handled += 1;
    }

    /// The actor is done with its letter, or it is refused.
    pub(super) fn given(&mut self, refusal: Option<RemoteError>) {
        let receiver = self.receiver.as_ref().expect("it lives");
        let Handing::With(log, number, letter) = receiver.handing else { return };
        let weight = receiver.logs.suspects(log).and_then(|log| log.weight(number));
        if refusal.is_none() {
            self.effect(letter);
        }
        self.over(log, number, refusal);
        let receiver = self.receiver.as_mut().expect("it lives");
        if weight.is_some() {
            receiver.handing = Handing::Noting(log, number);
        } else {
            receiver.handing = Handing::Nothing;
            self.turn();
        }
    }

    fn over(&mut self, log: LogId, number: u64, refusal: Option<RemoteError>) {
        let receiver = self.receiver.as_mut().expect("it lives");
        let Some((_, notes)) = receiver.logs.end((log, number), refusal.as_ref()) else { return };
        receiver.writes.push_back((notes, Then::Ended(log, number, refusal.clone())));
        if self.broken == Some(Break::HandledBeforeNoted) {
            receiver.logs.ended((log, number), refusal);
            self.tell(log, number);
        }
    }

    /// The sender is trusted no more, and then again.
    pub(super) fn receiver_revokes(&mut self) {
        self.cut();
        let waiting = self.receiver.as_ref().map(|receiver| receiver.logs.waiting());
        for (log, number, _) in waiting.unwrap_or_default() {
            self.over(log, number, Some(refusal()));
        }
    }
}

impl Receiver {
    /// The predecessor that is expected, found by asking.
    fn last_seen(&self, before: u64, epoch: u64, log: LogId, number: u64) -> u64 {
        let fits = |before: &u64| {
            let mut logs = self.logs.clone();
            logs.arrive(epoch, (log, number, *before), COST).is_ok()
        };
        (0..number.min(4)).chain([before]).find(fits).unwrap_or(before)
    }
}

impl ReceiverSpool {
    fn apply(&mut self, note: Note<Letter>) {
        match note {
            Note::Log(log, taken) => _ = self.logs.insert(log, taken),
            Note::NoLog(log) => _ = self.logs.remove(&log),
            Note::Mail(log, number, letter) => _ = self.mail.insert((log, number), letter),
            Note::NoMail(log, number) => _ = self.mail.remove(&(log, number)),
            Note::Refused(log, number, why) => _ = self.refused.insert((log, number), why),
            Note::NoRefused(log, number) => _ = self.refused.remove(&(log, number)),
            Note::NoTried(..) => {}
        }
    }
}
