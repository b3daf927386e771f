//! A caller, and a way of the link.

use std::collections::VecDeque;

use super::super::side::Live;
use super::End;
use crate::remote::exchange::Owed;
use crate::wire::message::{Item, Items};

/// A call, as its caller has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Caller {
    pub(super) epoch: u64,
    pub(super) requested: u8,
    /// It has said that there are no more requests.
    pub(super) said_all: bool,
    /// Replies that came, and that it has not read yet.
    pub(super) came: u8,
    pub(super) unread: VecDeque<usize>,
    pub(super) owed: Owed,
    pub(super) end: Option<End>,
    pub(super) gave_up: bool,
}

/// Batches that travel one way, and what is read of them so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Way {
    pub(super) batches: VecDeque<Vec<u8>>,
    /// An item that comes in parts, and how long it is.
    partial: Option<(usize, Vec<u8>)>,
}

impl Caller {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            requested: 0,
            said_all: false,
            came: 0,
            unread: VecDeque::new(),
            owed: Owed::default(),
            end: None,
            gave_up: false,
        }
    }

    pub(super) fn comes(&mut self, number: u8, length: usize) -> Option<&'static str> {
        let is_next = self.came == number && self.end.is_none();
        self.came += 1;
        // Whoever gave up reads nothing.
        if !self.gave_up {
            self.unread.push_back(length);
        }
        (!is_next).then_some("a reply comes twice, out of its turn, or after the end")
    }

    pub(super) fn ends(&mut self, end: End) -> Option<&'static str> {
        self.end.replace(end).map(|_| "a call ends twice")
    }
}

impl Way {
    pub(super) fn take(&mut self, from: &Live, epoch: Option<u64>) {
        let batch = epoch.and_then(|epoch| from.exchange.take_batch(epoch, <[u8]>::to_vec));
        self.batches.extend(batch);
    }

    /// The items of the next batch, each by itself; those that come in parts, when they are whole.
    pub(super) fn items(&mut self) -> Vec<Vec<u8>> {
        let Some(batch) = self.batches.pop_front() else { return Vec::new() };
        let (mut items, mut all) = (Items::new(&batch), Vec::new());
        while let Some((item, _)) = items.next_item().expect("it was written here") {
            match item {
                Item::Begin { total } => self.partial = Some((total as usize, Vec::new())),
                Item::Part { bytes } => {
                    let (total, mut so_far) = self.partial.take().expect("it has begun");
                    so_far.extend_from_slice(bytes);
                    if so_far.len() == total {
                        all.push(so_far);
                    } else {
                        self.partial = Some((total, so_far));
                    }
                }
                item => {
                    let mut bytes = Vec::new();
                    item.encode(None, &mut bytes);
                    all.push(bytes);
                }
            }
        }
        all
    }
}

pub(super) fn read(item: &[u8]) -> Item<'_> {
    Items::new(item).next_item().expect("it was written here").expect("there is one").0
}

/// The body of a reply to this call, if it is one.
pub(super) fn reply_of(call: u64, item: &[u8]) -> Option<&[u8]> {
    match read(item) {
        Item::Reply { call: of, body } if of == call => Some(body),
        _ => None,
    }
}
