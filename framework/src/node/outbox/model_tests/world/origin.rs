//! The origin of a chain: the node that a relay in the middle keeps the package for. Whether that
//! one packed it, or is a relay, too, it hears what has become of it in words, and answers them.

use std::collections::VecDeque;

use super::{Break, Step, Whose, World};
use crate::delivery::FailureKind;
use crate::node::outbox::OutboxEntry;
use crate::node::outbox::stored::{Stored, gone};
use crate::wire::{Word, WordKind};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    is_linked: bool,
    /// The last word that it has noted.
    knows: Option<WordKind>,
    /// It was told as not delivered.
    pub(super) denied: bool,
    /// Words on their way to it, and back.
    to: VecDeque<Word>,
    from: VecDeque<WordKind>,
}

impl Origin {
    /// Its link to the middle is down.
    pub(super) fn cut(&mut self) {
        self.is_linked = false;
        self.to.clear();
        self.from.clear();
    }
}

impl World {
    /// Tells what may happen between the origin and the middle.
    pub(super) fn origin_steps(&self, may: &mut impl FnMut(bool, Step)) {
        if !self.left.chain {
            return;
        }
        let Origin { is_linked, knows, to, from, .. } = &self.origin;
        may(!is_linked && self.sender.is_some(), Step::OriginLink);
        // What could not be noted is said again on the next link.
        may(*is_linked && (self.left.cuts > 0 || self.ahead), Step::OriginCut);
        may(!to.is_empty(), Step::ToOrigin);
        may(!from.is_empty(), Step::FromOrigin);
        // It looks now and then whether the middle has it still.
        let is_gone = self.sender.as_ref().is_some_and(|desk| desk.stored.is_none());
        let must_ask = is_gone && knows.is_none() && to.is_empty() && self.fate.is_stored;
        let may_ask = self.fate.is_stored && self.left.asks > 0;
        may(*is_linked && (must_ask || may_ask), Step::OriginAsks);
    }

    /// Returns `true` if the origin knows how what the middle took has ended.
    pub(super) fn origin_knows(&self) -> bool {
        let Origin { knows, to, from, .. } = &self.origin;
        let is_told = knows.is_some() || !self.fate.is_stored;
        !self.left.chain || (is_told && to.is_empty() && from.is_empty())
    }

    /// Returns `true` if what the origin knows is what happened.
    pub(super) fn origin_is_right(&self) -> bool {
        let is_delivered = |word| matches!(word, WordKind::Delivered | WordKind::Processed);
        let is_delivered = self.origin.knows.is_some_and(is_delivered);
        !self.left.chain || !self.fate.is_stored || self.committed == is_delivered
    }

    /// Returns `true` if what the middle has said it keeps has a record there until the origin
    /// knows how it ended, unless somebody wanted it out, or a time is over.
    pub(in super::super) fn is_in_the_middle(&self) -> bool {
        !self.left.chain
            || !self.fate.is_stored
            || self.fate.cancelled
            || self.sender_expired
            || self.origin.knows.is_some()
            || self.sender_disk.record.is_some()
    }

    pub(super) fn origin_link(&mut self) {
        self.origin.is_linked = true;
        if self.broken != Some(Break::SaidOnce) {
            self.happen(Whose::Sender, |stored| stored.say());
        }
    }

    /// The origin offers the package again.
    pub(super) fn origin_asks(&mut self) {
        self.left.asks = self.left.asks.saturating_sub(1);
        if self.sender.as_ref().is_some_and(|desk| desk.stored.is_none()) {
            return self.origin.to.push_back(gone());
        }
        self.happen(Whose::Sender, Stored::asked_again);
    }

    /// The middle says what has become of it.
    pub(super) fn pass_to_origin(&mut self, said: Word) {
        self.must_be_durable(&self.sender_disk.record.clone(), &said);
        if self.origin.is_linked {
            self.origin.to.push_back(said);
        }
    }

    /// Notes a fault if a relay says what is not on its disk.
    pub(super) fn must_be_durable(&mut self, record: &Option<OutboxEntry>, said: &Word) {
        let is_over = |entry: &OutboxEntry| !entry.is_open();
        let is_durable = match said {
            // Of what was taken out, or has ended.
            Word::Failed(_) | Word::Lapsed(_) => record.as_ref().is_none_or(is_over),
            _ => record.as_ref().is_some_and(is_over),
        };
        if !is_durable && !self.ahead {
            self.fault = Some("a word is passed on before it is durable");
        }
    }

    /// A word has come to the origin, which notes it. A proof counts whatever was said before.
    pub(super) fn tell_origin(&mut self) {
        let Some(said) = self.origin.to.pop_front() else { return };
        let what = said.kind();
        let is_true = match what {
            WordKind::Delivered => self.committed,
            WordKind::Processed => self.processed,
            WordKind::Failed => true,
        };
        if !is_true {
            self.fault = Some("the origin is told what did not happen");
        }
        if let Word::Failed(failure) | Word::Lapsed(failure) = &said {
            self.origin.denied |= failure.kind != FailureKind::Unknown;
        }
        let knows = &mut self.origin.knows;
        if what != WordKind::Failed || knows.is_none() {
            *knows = Some(what);
        }
        self.origin.from.push_back(what);
    }

    pub(super) fn origin_answers(&mut self) {
        let Some(what) = self.origin.from.pop_front() else { return };
        if self.broken != Some(Break::HeardIgnored) {
            self.happen(Whose::Sender, |stored| stored.heard(what));
        }
    }
}
