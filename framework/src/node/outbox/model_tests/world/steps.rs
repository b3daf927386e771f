//! Each step of the world, one by one.

use super::{
    Attempt, Back, Break, Coming, Desk, EXPIRES, End, LATER, PROCESSED, RECEIVER, RELAY, Relay,
    Step, Whose, World, failed, kept, word,
};
use crate::delivery::{FailureKind, TransferId};
use crate::node::outbox::model_tests::desk::Out;
use crate::node::outbox::stored::{Action, Clash, Ended, Obeyed, OrderKind, Said, Stored, gone};
use crate::node::outbox::{OutboxEntry, OutboxState};
use crate::wire::WordKind;

impl World {
    pub(in super::super) fn after(&self, step: Step) -> Self {
        let mut world = self.clone();
        match step {
            Step::NearLink => world.near_link(),
            Step::NearCut => {
                world.left.cuts = world.left.cuts.saturating_sub(1);
                world.cut_near();
            }
            Step::FarLink => world.far = true,
            Step::FarCut => (world.left.cuts, world.far) = (world.left.cuts - 1, false),
            Step::SenderCrash => {
                world.left.sender_crashes -= 1;
                world.sender = None;
                world.fate.recalling = false;
                if world.sender_disk.record.is_none() {
                    // Nobody has been told that it is stored.
                    world.fate.end = world.fate.end.or(Some(End::Unstored));
                }
                world.cut_near();
                world.origin.cut();
            }
            Step::Turn => world.turn(),
            Step::TakenDirectly { lost } => world.take_directly(lost),
            Step::RefusedDirectly => world.refuse_directly(),
            Step::RefusedByRelay => world.refuse_by_relay(),
            Step::OriginLink => world.origin_link(),
            Step::OriginCut => {
                world.left.cuts = world.left.cuts.saturating_sub(1);
                world.origin.cut();
            }
            Step::OriginAsks => world.origin_asks(),
            Step::ToOrigin => world.tell_origin(),
            Step::FromOrigin => world.origin_answers(),
            Step::SenderStart => world.sender = Some(world.sender_disk.start()),
            Step::RelayCrash => {
                world.left.relay_crashes -= 1;
                (world.relay, world.far) = (None, false);
                world.cut_near();
            }
            Step::RelayStart => {
                let desk = world.relay_disk.start();
                let remembers = world.remembered;
                world.relay = Some(Relay { desk, coming: None, remembers });
            }
            Step::Expire(Whose::Sender) => world.sender_expired = true,
            Step::Expire(Whose::Relay) => world.relay_expired = true,
            Step::ToSender => world.tell_sender(),
            Step::ToRelay => world.tell_relay(),
            Step::Revoke => world.revoke(),
            Step::Arrive => {
                world.sent = true;
                world.set_coming(Some(Coming::Whole));
            }
            Step::Deposit => world.deposit(),
            Step::Remember => world.remember(),
            Step::Repeat => world.repeat(),
            Step::Forget => world.remembered = false,
            Step::Commit => world.commit(),
            Step::Refuse => world.refuse(),
            Step::Process => (world.processed, world.left.processed) = (true, 0),
            Step::SayProcessed => {
                let at = world.at(Whose::Relay);
                let said = Said::Processed(PROCESSED);
                if world.desk(Whose::Relay).is_some_and(|desk| desk.stored.is_none()) {
                    world.processed_heard = true;
                }
                world.happen(Whose::Relay, |stored| stored.hear(RECEIVER, said, at));
            }
            Step::Moved(whose)
            | Step::Recorded(whose)
            | Step::CantRecord(whose)
            | Step::Due(whose)
            | Step::Counted(whose)
            | Step::CantCount(whose)
            | Step::Offer(whose)
            | Step::Stopped(whose)
            | Step::Patience(whose)
            | Step::Over(whose)
            | Step::Written(whose)
            | Step::CantWrite(whose)
            | Step::Sweep(whose)
            | Step::Order(whose, _) => world.at_desk(whose, step),
        }
        world
    }

    fn at_desk(&mut self, whose: Whose, step: Step) {
        let (at, broken) = (self.at(whose), self.broken);
        let forgets = broken == Some(Break::CountForgotten);
        let Some((desk, disk)) = self.desk_mut(whose) else { return };
        match step {
            Step::Moved(_) => (desk.storing, disk.file) = (Some(true), true),
            Step::Recorded(_) => {
                desk.storing = None;
                disk.record = desk.stored.as_ref().map(|stored| stored.entry.clone());
                if let Some(entry) = disk.record.clone() {
                    self.happen(whose, |stored| stored.recorded(entry, false, at));
                }
            }
            Step::CantRecord(_) => {
                desk.storing = None;
                self.left.failed_writes -= 1;
                self.happen(whose, |stored| stored.unrecorded(at));
            }
            Step::Due(_) => {
                desk.waits = false;
                let is_here = self.link(whose);
                self.happen(whose, |stored| stored.due(false, is_here, at));
            }
            Step::Counted(_) => {
                if let Some(Attempt::Counting(entry)) = desk.attempt.replace(Attempt::Ready)
                    && !forgets
                {
                    disk.record = Some(*entry);
                }
            }
            Step::CantCount(_) => {
                let before = desk.stored.as_ref().is_some_and(Stored::is_unsure);
                desk.attempt = Some(Attempt::Over(Box::new(failed(FailureKind::Io, before))));
                self.left.failed_writes -= 1;
            }
            Step::Offer(_) => {
                desk.attempt = Some(Attempt::Offered);
                match whose {
                    Whose::Sender => self.sent = false,
                    Whose::Relay => self.in_the_air = true,
                }
            }
            Step::Stopped(_) => self.stopped(whose),
            Step::Patience(_) => {
                let unsure = desk.next_may_have_it();
                desk.attempt =
                    Some(Attempt::Over(Box::new(failed(FailureKind::Unreachable, unsure))));
                self.left.patience = self.left.patience.saturating_sub(1);
                self.forget_answer(whose);
            }
            Step::Over(_) => {
                if let Some(Attempt::Over(ended)) = desk.attempt.take() {
                    self.happen(whose, |stored| stored.tried(*ended, at));
                }
            }
            Step::Written(_) | Step::CantWrite(_) => {
                let is_durable = matches!(step, Step::Written(_));
                let out = desk.written(disk, is_durable, at, broken);
                if !is_durable && whose == Whose::Sender {
                    self.fate.recalling = false;
                }
                if !is_durable {
                    (self.left.failed_writes, self.ahead) = (self.left.failed_writes - 1, true);
                }
                self.listen(whose, out);
            }
            // Whatever time a connected relay is given is over.
            Step::Sweep(_) => self.happen(whose, |stored| stored.sweep(false, at)),
            Step::Order(_, what) => self.order(whose, what),
            _ => {}
        }
    }

    /// Returns `true` if a try that was offered can be ended: nobody is about to commit it.
    pub(super) fn may_stop(&self, whose: Whose) -> bool {
        let coming = self.relay.as_ref().and_then(|relay| relay.coming);
        let answers = self.answered || self.relay.as_ref().is_some_and(|relay| relay.remembers);
        !self.link(whose)
            || match whose {
                // The word of who has it is waited for.
                Whose::Sender if self.is_direct() => !self.committed,
                Whose::Sender if answers && self.broken != Some(Break::AnswerIgnored) => false,
                Whose::Sender => coming.is_none_or(|coming| coming == Coming::Whole),
                Whose::Relay => !self.committed,
            }
    }

    /// The try under way is ended, as its sender wants; whoever was offered it may be about to
    /// take it, if they can't be told.
    fn stopped(&mut self, whose: Whose) {
        let is_told = self.link(whose);
        let Some((desk, _)) = self.desk_mut(whose) else { return };
        let was_offered = desk.attempt == Some(Attempt::Offered);
        let unsure =
            desk.stored.as_ref().is_some_and(Stored::is_unsure) || (was_offered && !is_told);
        desk.attempt = Some(Attempt::Over(Box::new(failed(FailureKind::Cancelled, unsure))));
        self.forget_answer(whose);
        if was_offered && is_told {
            match whose {
                Whose::Sender => self.set_coming(None),
                Whose::Relay => self.in_the_air = false,
            }
        }
    }

    /// Forgets what is said of a try that is over.
    fn forget_answer(&mut self, whose: Whose) {
        if whose == Whose::Sender {
            self.answered = false;
            self.to_sender.retain(|back| matches!(back, Back::Word(_)));
        }
    }

    fn order(&mut self, whose: Whose, what: OrderKind) {
        let at = self.at(whose);
        let left = &mut self.left;
        let budget = match (whose, what) {
            (Whose::Relay, _) => &mut left.relay_cancels,
            (_, OrderKind::Recall) => &mut left.recalls,
            (_, OrderKind::Retry) => &mut left.retries,
            _ => &mut left.cancels,
        };
        *budget -= 1;
        let Some((desk, _)) = self.desk_mut(whose) else { return };
        let (offered, mut obeyed) = (desk.is_offered(), Err(""));
        self.happen(whose, |stored| {
            let new = || TransferId::from_bytes([9; 24]);
            let (result, actions) = stored.obey(what, offered, new, at);
            obeyed = result;
            actions
        });
        match (whose, what, obeyed) {
            (_, _, Err(_)) => {}
            (Whose::Sender, OrderKind::Retry, Ok(_)) => {}
            (Whose::Sender, OrderKind::Recall, Ok(obeyed)) => {
                self.fate.cancelled = true;
                self.fate.recalling = obeyed != Obeyed::Done;
            }
            (Whose::Sender, _, Ok(_)) => self.fate.cancelled = true,
            (Whose::Relay, _, Ok(_)) => self.let_go = true,
        }
    }

    fn near_link(&mut self) {
        self.near = true;
        if self.broken == Some(Break::SaidOnce) {
            return;
        }
        self.happen(Whose::Relay, |stored| stored.say());
    }

    fn cut_near(&mut self) {
        (self.near, self.answered) = (false, false);
        self.to_sender.clear();
        self.to_relay.clear();
    }

    fn set_coming(&mut self, coming: Option<Coming>) {
        if let Some(relay) = &mut self.relay {
            relay.coming = coming;
        }
    }

    /// A package that has come whole is given to the relay's outbox.
    fn deposit(&mut self) {
        let Some(relay) = &mut self.relay else { return };
        relay.coming = Some(Coming::Deposited);
        if relay.desk.stored.is_none() {
            // How long it has to live is said by the clock of who brings it.
            let expires = if self.relay_expired { LATER + EXPIRES } else { EXPIRES };
            relay.desk.stored = Some(Stored::new(OutboxEntry { expires, ..kept() }));
            // Broken: its record is written without the package.
            relay.desk.storing = Some(self.broken == Some(Break::NoPackage));
            return;
        }
        let mut clash = Clash::Other;
        self.happen(Whose::Relay, |stored| {
            let (met, actions) = stored.meets(&kept());
            clash = met;
            actions
        });
        match clash {
            Clash::Same => self.set_coming(Some(Coming::Kept)),
            Clash::NotYet(_) => self.not_kept(),
            Clash::Other => self.fault = Some("it is taken for somebody else's"),
        }
    }

    /// The relay can't keep it for now.
    fn not_kept(&mut self) {
        self.set_coming(None);
        self.end_sending(failed(FailureKind::Busy, false));
    }

    /// The relay says how the try under way ended, if it is still under way.
    pub(super) fn end_sending(&mut self, ended: Ended) {
        let is_offered = |desk: &Desk| desk.attempt == Some(Attempt::Offered);
        if self.near && !self.is_direct() && self.sender.as_ref().is_some_and(is_offered) {
            self.answered = true;
            self.to_sender.push_back(Back::Ended(ended));
        }
    }

    fn remember(&mut self) {
        self.remembered = true;
        if let Some(relay) = &mut self.relay {
            (relay.coming, relay.remembers) = (None, true);
        }
        self.say_taken();
    }

    fn say_taken(&mut self) {
        let receipt = word();
        self.end_sending(Ended {
            outcome: Ok(receipt),
            enclosed: None,
            proof: [0; 32],
            unsure: false,
            sent: true,
        });
    }

    /// Offers again what it remembers: it is asked what has become of it.
    fn repeat(&mut self) {
        self.say_taken();
        if self.desk(Whose::Relay).is_some_and(|desk| desk.stored.is_none()) {
            return self.to_sender.push_back(Back::Word(gone()));
        }
        if self.broken != Some(Break::SaidOnce) {
            self.happen(Whose::Relay, Stored::asked_again);
        }
    }

    fn commit(&mut self) {
        (self.committed, self.in_the_air) = (true, false);
        let ended = Ended {
            outcome: Ok(word()),
            enclosed: Some(word()),
            proof: PROCESSED,
            unsure: false,
            sent: true,
        };
        self.answer_relay(ended);
    }

    fn refuse(&mut self) {
        (self.left.refusals, self.in_the_air) = (self.left.refusals - 1, false);
        self.answer_relay(failed(FailureKind::Refused, false));
    }

    fn answer_relay(&mut self, ended: Ended) {
        if let Some((desk, _)) = self.desk_mut(Whose::Relay)
            && desk.attempt == Some(Attempt::Offered)
        {
            desk.attempt = Some(Attempt::Over(Box::new(ended)));
        }
    }

    fn tell_sender(&mut self) {
        let said = match self.to_sender.pop_front() {
            Some(Back::Word(said)) => said,
            Some(Back::Ended(mut ended)) => {
                self.answered = false;
                // It was here, whole.
                ended.unsure |= matches!(&ended.outcome, Err(failure) if !failure.kind.denies());
                if let Some(sender) = &mut self.sender
                    && sender.attempt == Some(Attempt::Offered)
                {
                    sender.attempt = Some(Attempt::Over(Box::new(ended)));
                }
                return;
            }
            None => return,
        };
        let (at, what) = (self.at(Whose::Sender), said.kind());
        match self.desk(Whose::Sender) {
            Some(Desk { stored: Some(_), .. }) => {
                self.happen(Whose::Sender, |stored| stored.hear(RELAY, Said::Passed(said), at));
            }
            Some(_) => self.to_relay.push_back(what),
            None => {}
        }
    }

    fn tell_relay(&mut self) {
        let Some(what) = self.to_relay.pop_front() else { return };
        if self.broken != Some(Break::HeardIgnored) {
            self.happen(Whose::Relay, |stored| stored.heard(what));
        }
        if what == WordKind::Failed
            && let Some(relay) = &mut self.relay
        {
            relay.remembers = false;
        }
    }

    fn revoke(&mut self) {
        (self.left.revokes, self.revoked, self.let_go) = (self.left.revokes - 1, true, true);
        self.cut_near();
        self.happen(Whose::Relay, |stored| stored.revoke().1);
    }

    /// Lets something happen to the delivery in one outbox.
    pub(super) fn happen(&mut self, whose: Whose, event: impl FnOnce(&mut Stored) -> Vec<Action>) {
        let broken = self.broken;
        let Some((desk, disk)) = self.desk_mut(whose) else { return };
        let out = desk.happen(disk, event, broken);
        self.listen(whose, out);
    }

    /// Takes what the outbox says.
    fn listen(&mut self, whose: Whose, out: Result<Vec<Out>, &'static str>) {
        match out {
            Ok(out) => out.into_iter().for_each(|out| self.hear(whose, out)),
            Err(fault) => self.fault = Some(fault),
        }
    }

    fn hear(&mut self, whose: Whose, out: Out) {
        match whose {
            Whose::Sender => self.hear_sender(out),
            Whose::Relay => self.hear_relay(out),
        }
    }

    fn hear_sender(&mut self, out: Out) {
        let mut fault = |is: bool, what| {
            if is {
                self.fault = Some(what);
            }
        };
        match out {
            Out::Delivered { processed } => {
                fault(!self.committed, "it is said to be delivered, and is not");
                fault(processed && !self.processed, "it is said to be processed, and is not");
                self.fate.end = Some(if processed { End::Processed } else { End::Delivered });
            }
            Out::Dead { surely } => {
                (self.fate.end, self.fate.denied) = (Some(End::Dead), surely);
            }
            Out::Revived => {
                (self.fate.end, self.fate.retried, self.fate.denied) = (None, true, false);
            }
            Out::Removed { unsure } => {
                self.fate.taken_out |= self.fate.end.is_none() && !unsure;
                self.fate.end = self.fate.end.or(Some(End::Removed));
                self.fate.recalled |= std::mem::take(&mut self.fate.recalling);
            }
            Out::Answered(is_stored) => {
                self.fate.is_stored = is_stored;
                if !is_stored {
                    self.fate.end = Some(End::Unstored);
                }
            }
            Out::Noted(_, what) => {
                let state = self.sender_disk.record.as_ref().map(|entry| &entry.state);
                let is_open = state.is_some_and(|state| {
                    matches!(state, OutboxState::Stored | OutboxState::Relayed { .. })
                });
                let is_early = what != WordKind::Failed && is_open;
                fault(is_early && !self.ahead, "a word is answered before it is durable");
                self.to_relay.push_back(what);
            }
            Out::Pass(said) if self.left.chain => self.pass_to_origin(said),
            Out::Pass(_) => self.fault = Some("whoever packed it passes words on"),
        }
    }

    fn hear_relay(&mut self, out: Out) {
        match out {
            Out::Answered(true) => self.set_coming(Some(Coming::Kept)),
            Out::Answered(false) => self.not_kept(),
            Out::Noted(..) => self.processed_heard = true,
            Out::Pass(said) => {
                self.must_be_durable(&self.relay_disk.record.clone(), &said);
                if self.near {
                    self.to_sender.push_back(Back::Word(said));
                }
            }
            Out::Delivered { .. } | Out::Dead { .. } | Out::Removed { .. } | Out::Revived => {}
        }
    }
}
