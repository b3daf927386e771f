//! Whoever handles a call.

use std::collections::VecDeque;

use super::super::Break;
use super::super::side::Live;
use super::{Budget, End, LONG, SHORT};
use crate::remote::error::{RemoteError, RemoteErrorKind};
use crate::remote::exchange::{Blocked, Owed};
use crate::wire::message::Shape;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Handler {
    epoch: u64,
    /// Requests that came, and that it has not taken yet.
    pub(super) came: u8,
    waiting: VecDeque<usize>,
    owed: Owed,
    /// The end of its requests.
    pub(super) end: Option<End>,
    /// Replies.
    pub(super) said: u8,
    is: Is,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Is {
    Running,
    Finished,
    /// Dead, or told that nobody waits.
    Gone,
}

impl Handler {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            came: 0,
            waiting: VecDeque::new(),
            owed: Owed::default(),
            end: None,
            said: 0,
            is: Is::Running,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is != Is::Running
    }

    pub(super) fn is_finished(&self) -> bool {
        self.is == Is::Finished
    }

    pub(super) fn has_some(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn may_reply(&self, left: &Budget) -> bool {
        left.shape.streams_replies() && self.said < left.replies
    }

    /// It sees all requests and says all replies, but where it may end early, or where there are no
    /// more.
    pub(super) fn may_finish(&self, left: &Budget) -> bool {
        left.early > 0 || !self.is_early(left)
    }

    pub(super) fn is_early(&self, left: &Budget) -> bool {
        let has_all = !left.shape.streams_requests() || self.end.is_some();
        let is_broken = matches!(self.end, Some(End::Broken(_)));
        !is_broken && (!has_all || self.may_reply(left))
    }

    pub(super) fn comes(&mut self, number: u8, length: usize) -> Option<&'static str> {
        let is_next = self.came == number && self.end.is_none();
        self.came += 1;
        self.waiting.push_back(length);
        (!is_next).then_some("a request comes twice, out of its turn, or after the end")
    }

    pub(super) fn ends(&mut self, end: End) -> Option<&'static str> {
        match (self.end, end) {
            // It follows the error.
            (Some(_), End::Whole) => None,
            (None, _) => {
                self.end = Some(end);
                None
            }
            (Some(_), End::Broken(_)) => Some("requests end twice"),
        }
    }

    pub(super) fn take(&mut self, call: u64, b: &Live) {
        let Some(length) = self.waiting.pop_front() else { return };
        if let Some(cost) = self.owed.read(length, self.waiting.is_empty()) {
            b.exchange.credit_requests(self.epoch, call, cost);
        }
    }

    pub(super) fn reply(&mut self, call: u64, b: &Live, long: bool) {
        let body = vec![self.said; if long && self.said == 0 { LONG } else { SHORT }];
        match b.exchange.reply(self.epoch, call, &body) {
            Ok(()) => self.said += 1,
            Err(Blocked::Full | Blocked::NoLink) => {}
            Err(Blocked::Never(_)) => self.is = Is::Gone,
        }
    }

    pub(super) fn finish(&mut self, call: u64, b: &Live, shape: Shape) {
        self.is = Is::Finished;
        if shape.streams_replies() {
            return b.exchange.end_replies(self.epoch, call);
        }
        b.exchange.answer(self.epoch, call, Ok(&[0]));
        self.said = 1;
    }

    pub(super) fn die(&mut self, call: u64, b: &Live, broken: Option<Break>) {
        self.is = Is::Gone;
        if broken != Some(Break::DeathUnsaid) {
            let died = RemoteError::new(RemoteErrorKind::Died, "");
            b.exchange.answer(self.epoch, call, Err(&died));
        }
    }
}
