//! The order of what goes out on the link there is, and whether the peer has room for it.
//!
//! It decides, and does nothing: no lock, no thread, no link. `exchange/model_tests` takes it through
//! every order of what may befall it.
//!
//! Invariant: what is on its way to a target, and to the peer, takes no more than its window and
//! what an open row has taken beforehand, or is one message.

use super::super::queue::{Key, Queue};
use super::{LINK_WINDOW, ROW, TARGET_WINDOW, cost};
use crate::wire::Along;
use crate::wire::message::Item;

/// The most that may be on its way, in units of credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Windows {
    /// To one target.
    pub(super) target: u64,
    /// To the peer.
    pub(super) link: u64,
    /// The credit that is taken for a row beforehand.
    pub(super) row: u64,
}

impl Default for Windows {
    fn default() -> Self {
        Self { target: TARGET_WINDOW, link: LINK_WINDOW, row: ROW }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Outbound {
    pub(super) queue: Queue,
    windows: Windows,
    in_flight: u64,
    targets: Vec<Spent>,
    /// The row that is open on the thread of the link.
    row: Option<Opened>,
    /// The items that other threads have put in since, and that may not overtake it.
    after_row: Vec<([Option<Key>; 2], Vec<u8>)>,
}

/// The messages on their way to one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Spent {
    in_flight: u64,
    tells: u64,
}

/// An open row, as other threads see it: what they put in for its target goes in behind it, and has
/// it closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Opened {
    number: u32,
    /// The credit that was taken for it.
    room: u64,
}

/// The contents of a row, on its thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Row {
    pub(super) number: u32,
    pub(super) tells: u64,
    /// Credit that is left.
    pub(super) room: u64,
    pub(super) bytes: Vec<u8>,
}

impl Row {
    /// Puts a tell in, where there is room.
    #[inline]
    pub(super) fn put(&mut self, body: &[u8]) -> bool {
        let cost = cost(body.len());
        if cost > self.room {
            return false;
        }
        self.room -= cost;
        self.tells += 1;
        Item::encode_tell(self.number, body, &mut self.bytes);
        true
    }
}

impl Outbound {
    pub(super) fn new(windows: Windows, queue: Queue) -> Self {
        Self { windows, queue, ..Self::default() }
    }

    /// One more target, which is named before all that waits.
    pub(super) fn name(&mut self, name: &str, message: &str, version: u32) -> u32 {
        let number = u32::try_from(self.targets.len()).unwrap_or(u32::MAX);
        self.targets.push(Spent::default());
        let bind = Item::Bind { target: number, name, message, version };
        self.queue.put_name(&bind, name.len() + message.len());
        number
    }

    /// Returns `true` if the peer has room for a message that costs so much.
    #[inline]
    pub(super) fn has_room(&self, number: u32, cost: u64) -> bool {
        let Some(target) = self.targets.get(number as usize) else { return false };
        // What an open row has taken beforehand keeps nobody waiting.
        let of_row = self.row.as_ref().map_or(0, |row| row.room);
        let of_target =
            self.row.as_ref().filter(|row| row.number == number).map_or(0, |row| row.room);
        let fits = |in_flight: u64, window: u64| in_flight == 0 || in_flight + cost <= window;
        fits(target.in_flight.saturating_sub(of_target), self.windows.target)
            && fits(self.in_flight.saturating_sub(of_row), self.windows.link)
    }

    /// A tell that costs so much is put in.
    #[inline]
    pub(super) fn tells(&mut self, number: u32, cost: u64) {
        self.begins(number, cost);
        if let Some(target) = self.targets.get_mut(number as usize) {
            target.tells += 1;
        }
    }

    /// A call that costs so much begins.
    #[inline]
    pub(super) fn begins(&mut self, number: u32, cost: u64) {
        if let Some(target) = self.targets.get_mut(number as usize) {
            target.in_flight += cost;
            self.in_flight += cost;
        }
    }

    /// A call is over.
    pub(super) fn ends(&mut self, number: u32, cost: u64) {
        self.gives_back(number, 0, cost);
    }

    /// The peer gives credit back; it may give back what it was never given. `false`: there is no
    /// such target.
    pub(super) fn gives_back(&mut self, number: u32, tells: u64, cost: u64) -> bool {
        let Some(target) = self.targets.get_mut(number as usize) else { return false };
        target.in_flight = target.in_flight.saturating_sub(cost);
        target.tells = target.tells.saturating_sub(tells);
        self.in_flight = self.in_flight.saturating_sub(cost);
        true
    }

    #[cfg(test)]
    pub(super) fn is_paid_back(&self) -> bool {
        self.in_flight == 0 && self.targets.iter().all(|target| target.in_flight == 0)
    }

    /// Puts in what is to be said. `true`: it waits for the row that is open, which takes no more.
    pub(super) fn put(
        &mut self,
        keys: [Option<Key>; 2],
        item: &Item<'_>,
        along: Option<&Along>,
        body: usize,
    ) -> bool {
        let waits = self.waits_for_row(&keys);
        if waits {
            let mut bytes = Vec::new();
            item.encode(along, &mut bytes);
            self.after_row.push((keys, bytes));
        } else {
            self.queue.put(keys, item, along, body);
        }
        waits
    }

    /// Returns `true` if what another thread puts in must not overtake the row that is open.
    fn waits_for_row(&self, keys: &[Option<Key>; 2]) -> bool {
        let Some(row) = &self.row else { return false };
        match keys[0] {
            Some(Key::Target(number)) => number == row.number || !self.after_row.is_empty(),
            Some(Key::Call(_)) => !self.after_row.is_empty(),
            _ => false,
        }
    }

    /// Opens a row; what was taken of the credit for it. `None`: it would overtake something.
    pub(super) fn open_row(&mut self, number: u32) -> Option<u64> {
        if self.queue.holds_up(Key::Target(number)) {
            return None;
        }
        let target = self.targets.get_mut(number as usize)?;
        let Windows { target: of_target, link, row } = self.windows;
        let room = row
            .min(of_target.saturating_sub(target.in_flight))
            .min(link.saturating_sub(self.in_flight));
        target.in_flight += room;
        self.in_flight += room;
        self.row = Some(Opened { number, room });
        Some(room)
    }

    /// Puts in what is in the row that is open, and what has waited for it.
    pub(super) fn close_row(&mut self, row: &mut Row) {
        let (tells, left) = (std::mem::take(&mut row.tells), std::mem::take(&mut row.room));
        if let Some(target) = self.targets.get_mut(row.number as usize) {
            // The peer may have given back what it was never given.
            target.in_flight = target.in_flight.saturating_sub(left);
            target.tells += tells;
            self.in_flight = self.in_flight.saturating_sub(left);
            self.queue.put_row(&row.bytes);
        }
        row.bytes.clear();
        self.row = None;
        for (keys, item) in std::mem::take(&mut self.after_row) {
            self.queue.put_written(keys, item);
        }
    }

    /// The link is over, with all that was to be said on it: the tells of each target of which
    /// nobody knows whether they were handled.
    pub(super) fn down(&mut self) -> Vec<u64> {
        let another = Self::new(self.windows, self.queue.another());
        let over = std::mem::replace(self, another);
        over.targets.into_iter().map(|target| target.tells).collect()
    }

    /// Returns what is on its way: in all, and to each target with how many tells.
    #[cfg(test)]
    pub(super) fn in_flight(&self) -> (u64, Vec<(u64, u64)>) {
        let targets = self.targets.iter().map(|target| (target.in_flight, target.tells));
        (self.in_flight, targets.collect())
    }
}
