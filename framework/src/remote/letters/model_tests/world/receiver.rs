//! The receiver's process and spool, and its actor.

use super::*;

impl World {
    pub(super) fn start_receiver(&mut self) {
        let most = match self.far {
            _ if self.broken == Some(Break::RefusalsOverEarly) => 0,
            0 => usize::from(Letter::MAX),
            far if self.broken == Some(Break::RefusalsOfFar) => far.into(),
            // Twice as many may be held whose sender has given them up.
            far => 3 * usize::from(far),
        };
        let mut logs = Logs::default().remembering(most);
        let ReceiverSpool { logs: taken, mail, refused } = &self.receiver_spool;
        taken.iter().for_each(|(&log, &taken)| logs.restore(log, taken));
        for (&(log, number), why) in refused {
            let known = logs.known(log, number).expect("a refusal is in the spool with its log");
            known.restore_refusal(number, why.clone());
        }
        for (&(log, number), &letter) in mail {
            if logs.known(log, number).is_none() {
                self.fault = Some("a letter is in the spool without its log");
                continue;
            };
            logs.restore_letter((log, number), about(self.name_there(letter)), letter);
        }
        logs.begin_life();
        let (writes, handing) = (VecDeque::new(), [Handing::Nothing; 2]);
        self.receiver = Some(Receiver { logs, writes, handing, handled: [None; 2] });
        (0..NAMES.len()).for_each(|name| self.hand_over(name));
    }

    /// Its process begins again without its spool: letters may be handled again.
    pub(super) fn lose_mail(&mut self) {
        self.has_lost_mail = true;
        self.receiver_spool = ReceiverSpool::default();
        self.fates.iter_mut().for_each(|fate| fate.died_with = fate.handled);
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
        let Said { log, number, mut before, letter, is_asked } =
            self.to_receiver.pop_front().expect("there is one");
        let (name, there) = (self.name_of(letter), self.name_there(letter));
        let (Some(receiver), Some(epoch)) = (&mut self.receiver, self.link) else { return };
        if self.broken == Some(Break::NoPredecessor) {
            // Whatever came before it.
            before = receiver.last_seen(before, epoch, log, number);
        }
        match receiver.logs.arrive(epoch, (log, number, before), is_asked, COST) {
            Err(_) => {
                if !self.spoilt {
                    self.fault = Some("an honest sender is taken for one that breaks the protocol");
                }
                self.cut();
            }
            Ok(Arrival::OfNoLink | Arrival::NoRoom) => {
                self.fault = Some("a letter of the link there is finds no log");
            }
            Ok(Arrival::Gone) if !self.has_lost_mail => {
                self.fault = Some("a letter is asked for that never came");
            }
            Ok(Arrival::Gone) => self.to_sender.push_back((log, number, Told::Gone)),
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
                let mut notes = receiver.logs.take((log, number), about(there), outcome, notes);
                if self.broken == Some(Break::RefusalForgotten) {
                    notes.retain(|note| !matches!(note, Note::Refused(..)));
                }
                receiver.writes.push_back((notes, Some(letter), Then::Stored(log, number, name)));
                if self.broken == Some(Break::SaidBeforeStored) {
                    receiver.logs.stored((log, number), COST);
                    self.tell(log, number);
                }
            }
        }
    }

    pub(super) fn receiver_writes(&mut self) {
        let receiver = self.receiver.as_mut().expect("it lives");
        let (notes, letter, then) = receiver.writes.pop_front().expect("it has something to write");
        let early = self.broken == Some(Break::SaidBeforeStored);
        let too_early = self.broken == Some(Break::HandledBeforeNoted);
        notes.into_iter().for_each(|note| self.receiver_spool.apply(note, letter));
        match then {
            Then::Stored(log, number, name) => {
                if !early {
                    receiver.logs.stored((log, number), COST);
                }
                self.tell(log, number);
                self.hand_over(name);
            }
            Then::Ended(log, number, there) => {
                if !too_early {
                    receiver.logs.ended((log, number), there);
                    self.tell(log, number);
                }
                for name in 0..NAMES.len() {
                    let receiver = self.receiver.as_mut().expect("it lives");
                    if receiver.handing[name] == Handing::Noting(log, number) {
                        self.turn(name);
                    } else if self.broken != Some(Break::ManyHands) {
                        self.hand_over(name);
                    }
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

    fn hand_over(&mut self, name: usize) {
        let (name, there) = self.queue(name);
        let receiver = self.receiver.as_mut().expect("it lives");
        if receiver.logs.begin_handing(there).is_some() || self.broken == Some(Break::ManyHands) {
            self.turn(name);
        }
    }

    /// The queue of a name.
    fn queue(&self, name: usize) -> (usize, &'static str) {
        let name = if self.broken == Some(Break::OneOrder) { 0 } else { name };
        (name, NAMES[name])
    }

    /// Somebody has the name that nobody had.
    pub(super) fn go_on(&mut self) {
        let (name, _) = self.queue(LATER);
        let is_parked =
            self.receiver.as_ref().is_some_and(|there| there.handing[name] == Handing::Parked);
        if is_parked {
            self.turn(name);
        }
    }

    fn turn(&mut self, name: usize) {
        let receiver = self.receiver.as_mut().expect("it lives");
        let before = receiver.handing[name];
        let next = receiver.logs.turn(NAMES[name], false);
        receiver.handing[name] = next
            .map_or(Handing::Nothing, |(log, number, letter)| Handing::With(log, number, letter));
        let Some((log, number, letter)) = next else { return };
        if !self.receiver_spool.mail.contains_key(&(log, number)) {
            self.fault = Some("a letter is handed over before it is durable");
        }
        if self.waits(letter) {
            let receiver = self.receiver.as_mut().expect("it lives");
            receiver.handing[name] = Handing::Parked;
            receiver.logs.watch(NAMES[name]);
            return;
        }
        // Two hand over: what the first of them was given is handled.
        if let Handing::With(..) = before {
            self.effect(letter);
        }
    }

    /// An actor handles a letter. Where a life has ended before it noted that, those that it
    /// handled come again, all of them, and in order again. Each name has an order of its own.
    fn effect(&mut self, letter: Letter) {
        let name = self.name_of(letter);
        let is_noted = |letter: &usize| {
            !self.receiver_spool.mail.values().any(|&it| usize::from(it) == *letter)
        };
        let of_name = |later: &usize| self.name_of(*later as Letter) == name;
        let mut later = (usize::from(letter) + 1..self.fates.len()).filter(of_name);
        let was_handled = |fate: &Fate| fate.handled > fate.died_with;
        let is_late = later.any(|later| was_handled(&self.fates[later]) && is_noted(&later));
        let receiver = self.receiver.as_mut().expect("it lives");
        if receiver.handled[name].is_some_and(|last| last >= letter) || is_late {
            self.fault = Some("a letter is handled twice, or after a later one");
        }
        receiver.handled[name] = Some(letter);
        self.fates[usize::from(letter)].handled += 1;
    }

    /// The actor is done with its letter, or it is refused.
    pub(super) fn given(&mut self, name: usize, refusal: Option<RemoteError>) {
        let receiver = self.receiver.as_ref().expect("it lives");
        let Handing::With(log, number, letter) = receiver.handing[name] else { return };
        let weight = receiver.logs.suspects(log).and_then(|log| log.weight(number));
        if refusal.is_none() {
            self.effect(letter);
        }
        self.over(log, number, refusal);
        let receiver = self.receiver.as_mut().expect("it lives");
        if weight.is_some() {
            receiver.handing[name] = Handing::Noting(log, number);
        } else {
            receiver.handing[name] = Handing::Nothing;
            self.turn(name);
        }
    }

    fn over(&mut self, log: LogId, number: u64, refusal: Option<RemoteError>) {
        let receiver = self.receiver.as_mut().expect("it lives");
        let Some((letter, notes)) = receiver.logs.end((log, number), refusal.as_ref()) else {
            return;
        };
        let there = self.name_there(letter);
        let receiver = self.receiver.as_mut().expect("it lives");
        receiver.writes.push_back((notes, None, Then::Ended(log, number, there)));
        if self.broken == Some(Break::HandledBeforeNoted) {
            receiver.logs.ended((log, number), there);
            self.tell(log, number);
        }
    }

    /// Those that have expired are ended, but for what may be with its actor.
    pub(super) fn receiver_sweeps(&mut self) {
        let (now, broken) = (self.now, self.broken);
        let receiver = self.receiver.as_mut().expect("it lives");
        let handing = &mut receiver.handing;
        let expired = receiver.logs.expired(now, SWEPT, |there| {
            let queue = NAMES.iter().position(|name| **name == **there);
            let of_name = queue.map(|name| &mut handing[name]);
            let parked = of_name.filter(|handing| **handing == Handing::Parked);
            let is_parked = parked.map(|handing| *handing = Handing::Nothing).is_some();
            is_parked || broken == Some(Break::SweptFromActor)
        });
        for (log, number, _) in expired {
            self.over(log, number, Some(refusal()));
        }
    }

    /// The sender is trusted no more, and then again.
    pub(super) fn receiver_revokes(&mut self) {
        self.cut();
        for (name, there) in NAMES.into_iter().enumerate() {
            if let Some(receiver) = &mut self.receiver
                && receiver.handing[name] == Handing::Parked
            {
                receiver.logs.end_handing(there);
                receiver.handing[name] = Handing::Nothing;
            }
        }
        let waiting = self.receiver.as_ref().map(|receiver| receiver.logs.waiting());
        for (log, number, _) in waiting.unwrap_or_default() {
            self.over(log, number, Some(refusal()));
        }
    }
}

/// The facts that are kept of any letter for a name.
fn about(name: &str) -> About<'_> {
    About { name, cost: COST, expires: LIFE }
}

impl Receiver {
    /// The predecessor that is expected, found by asking.
    fn last_seen(&self, before: u64, epoch: u64, log: LogId, number: u64) -> u64 {
        let fits = |before: &u64| {
            let mut logs = self.logs.clone();
            logs.arrive(epoch, (log, number, *before), false, COST).is_ok()
        };
        (0..number.min(4)).chain([before]).find(fits).unwrap_or(before)
    }
}

impl ReceiverSpool {
    fn apply(&mut self, note: Note, letter: Option<Letter>) {
        match note {
            Note::Log(log, taken) => _ = self.logs.insert(log, taken),
            Note::NoLog(log) => _ = self.logs.remove(&log),
            Note::Mail(log, number) => {
                self.mail.extend(letter.map(|letter| ((log, number), letter)));
            }
            Note::NoMail(log, number) => _ = self.mail.remove(&(log, number)),
            Note::Refused(log, number, why) => _ = self.refused.insert((log, number), why),
            Note::NoRefused(log, number) => _ = self.refused.remove(&(log, number)),
            Note::NoTried(..) => {}
        }
    }
}
