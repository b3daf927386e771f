//! Decisions: what each of those that send one content does next, and whom it waits for. Nothing
//! here waits or reads: the time is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Cut, Made};
use crate::node::gate::Gate;
use crate::pipeline::Source;

/// The time that the readers of one content wait at one time, and for each of those behind them in
/// all.
const PATIENCE: Duration = Duration::from_secs(1);

/// The share that is added to that in all: one in so many parts of the time in which chunks moved,
/// so that those who are about equally fast stay together however long the content is.
const SHARE: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct State {
    /// Those that have no place yet have not begun. Who reads for itself has no seat.
    seats: BTreeMap<u64, Option<Place>>,
    last_number: u64,
    /// The cut of its chunks: those who want other ones read for themselves.
    cut: Option<Cut>,
    /// Lent by whoever read first; not here while somebody reads.
    source: Option<Box<dyn Source>>,
    being_read: bool,
    /// Since when more than a chunk is read.
    long: Option<Instant>,
    /// The chunk that is read next.
    next: u64,
    /// Chunks that were read, and are being made ready.
    making: BTreeSet<u64>,
    made: BTreeMap<u64, Made>,
    bytes: usize,
    /// The times that it was begun anew.
    round: u64,
    /// The time in which chunks moved, and since when they do.
    moving: Duration,
    moved: Option<Instant>,
    waiting: Option<Waiting>,
    /// Something failed: everybody reads for itself, and finds out what.
    over: bool,
}

/// The place of a delivery in the content.
#[derive(Debug)]
struct Place {
    /// The chunk that it is about to send.
    next: u64,
    /// The time that others have waited for it, and whether they do.
    waited: Duration,
    is_waited_for: bool,
    gate: watch::Receiver<Gate>,
}

/// Somebody waits for those behind.
#[derive(Debug)]
struct Waiting {
    by: u64,
    since: Instant,
    /// Up to when it was counted.
    counted: Instant,
}

/// The next step about a chunk.
#[derive(Debug)]
pub(super) enum Look {
    Made(Made),
    /// It is to be read: from this source, or, where there is none, from the delivery's own.
    Read {
        source: Option<Box<dyn Source>>,
        round: u64,
    },
    /// The delivery reads for itself from here on; from this source, if it stands at the chunk.
    Alone(Option<Box<dyn Source>>),
    Wait,
    WaitFor(Duration),
}

impl Place {
    /// Returns `true` if it does not want to go on.
    fn rests(&self) -> bool {
        let gate = self.gate.borrow();
        gate.paused || gate.stopped
    }
}

impl State {
    /// Somebody is about to begin: the number of its seat.
    pub(super) fn enter(&mut self) -> u64 {
        self.last_number += 1;
        self.seats.insert(self.last_number, None);
        self.last_number
    }

    pub(super) fn begin(&mut self, number: u64, cut: Cut, gate: watch::Receiver<Gate>) -> bool {
        // What is kept of another version is of use to nobody.
        if self.is_idle() && self.cut.is_some_and(|kept| kept != cut) {
            self.begin_anew();
        }
        // What those have made who are gone is there still.
        let is_alone = self.seats.len() < 2 && self.cut.is_none();
        if self.over || is_alone || *self.cut.get_or_insert(cut) != cut {
            return false;
        }
        let place = Place { next: 0, waited: Duration::ZERO, is_waited_for: false, gate };
        self.seats.insert(number, Some(place));
        true
    }

    /// A seat is given up. What is left of the source where nobody reads any more, and whether there
    /// is something to keep for those who have not begun.
    pub(super) fn leave(&mut self, number: u64) -> (Option<Box<dyn Source>>, bool) {
        self.seats.remove(&number);
        if self.waiting.as_ref().is_some_and(|waiting| waiting.by == number) {
            self.waiting = None;
        }
        if !self.is_idle() {
            return (None, false);
        }
        let source = self.source.take();
        if self.over || self.seats.is_empty() {
            self.begin_anew();
        }
        (source, self.bytes > 0)
    }

    /// Returns what the delivery with this seat does about the chunk `index`.
    pub(super) fn look(&mut self, number: u64, index: u64, window: usize, now: Instant) -> Look {
        let look = self.find(number, index, window, now);
        if let Look::Alone(_) = look {
            self.seats.remove(&number);
        }
        look
    }

    fn find(&mut self, number: u64, index: u64, window: usize, now: Instant) -> Look {
        // Who was left behind has no place any more.
        let Some(Some(place)) = self.seats.get_mut(&number) else { return Look::Alone(None) };
        place.next = index;
        if let Some(made) = self.made.get(&index) {
            return Look::Made(made.clone());
        }
        if self.over {
            return Look::Alone(None);
        }
        if self.making.contains(&index) {
            return Look::Wait;
        }
        if index != self.next {
            return Look::Alone(None);
        }
        if self.being_read {
            return match self.long.map(|since| PATIENCE.saturating_sub(now - since)) {
                None => Look::Wait,
                Some(Duration::ZERO) => Look::Alone(None),
                Some(left) => Look::WaitFor(left),
            };
        }
        while self.seats.len() == 1 || self.is_full(window) {
            let mut others = self.seats.iter().filter(|(other, _)| **other != number);
            if others.all(|(_, place)| place.is_none()) {
                let source = self.source.take();
                // Who has not begun does so without this one.
                self.begin_anew();
                return Look::Alone(source);
            }
            let Some((&oldest, _)) = self.made.first_key_value() else { break };
            if let Some(left) = self.patience_with(oldest, number, now) {
                return Look::WaitFor(left);
            }
            self.let_go(oldest);
        }
        self.waiting = None;
        self.count_moving(now);
        self.moved = Some(now);
        self.being_read = true;
        Look::Read { source: self.source.take(), round: self.round }
    }

    /// Returns `true` if one chunk more is more than a window.
    fn is_full(&self, window: usize) -> bool {
        let chunk = self.cut.map_or(0, |cut| cut.chunk_size as usize);
        self.bytes + chunk * (self.making.len() + 1) > window
    }

    /// Drops the oldest chunk; who still wants it reads for itself.
    fn let_go(&mut self, oldest: u64) {
        self.seats.retain(|_, place| place.as_ref().is_none_or(|place| place.next > oldest));
        let made = self.made.remove(&oldest);
        self.bytes -= made.map_or(0, |made| made.bytes());
    }

    /// Returns how long those are waited for who still want this chunk; none if nobody is.
    fn patience_with(&mut self, oldest: u64, by: u64, now: Instant) -> Option<Duration> {
        if self.waiting.is_none() {
            // While somebody waits, nothing moves.
            self.count_moving(now);
        }
        let waiting = self.waiting.get_or_insert(Waiting { by, since: now, counted: now });
        let waited = now - std::mem::replace(&mut waiting.counted, now);
        let left_now = PATIENCE.saturating_sub(now - waiting.since);
        let most = PATIENCE + self.moving / SHARE;
        let left = self.seats.values_mut().flatten().filter_map(|place| {
            let waits = place.next <= oldest && !place.rests();
            // Who has moved meanwhile was waited for until it did.
            if std::mem::replace(&mut place.is_waited_for, waits) {
                place.waited += waited;
            }
            waits.then(|| left_now.min(most.saturating_sub(place.waited)))
        });
        left.filter(|left| !left.is_zero()).min()
    }

    /// However long nothing happened between two chunks, a second of it counts.
    fn count_moving(&mut self, now: Instant) {
        let since = self.moved.take();
        self.moving += since.map_or(Duration::ZERO, |since| PATIENCE.min(now - since));
    }
}

impl State {
    pub(super) fn takes_long(&mut self, round: u64, now: Instant) {
        if round == self.round {
            self.long.get_or_insert(now);
        }
    }

    /// A chunk was read; the source comes back where it is of no use here.
    pub(super) fn was_read(
        &mut self,
        round: u64,
        index: u64,
        source: Box<dyn Source>,
    ) -> Option<Box<dyn Source>> {
        if round != self.round {
            return Some(source);
        }
        (self.being_read, self.long) = (false, None);
        self.next += 1;
        self.making.insert(index);
        self.source.replace(source)
    }

    pub(super) fn was_made(&mut self, round: u64, index: u64, made: Made) {
        if round == self.round {
            self.making.remove(&index);
            self.bytes += made.bytes();
            self.made.insert(index, made);
        }
    }

    /// A turn ended early.
    pub(super) fn was_left(&mut self, round: u64, index: u64) {
        if round != self.round {
            return;
        }
        if self.making.remove(&index) {
            // A stage failed: each finds out for itself.
            self.over = true;
        } else {
            // Whoever is next reads it of its own source.
            (self.being_read, self.long) = (false, None);
        }
    }

    /// Returns `true` if nobody reads, though some may be about to.
    pub(super) fn is_idle(&self) -> bool {
        self.seats.values().all(Option::is_none)
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing of what was read is left; who has not begun may do so.
    pub(super) fn begin_anew(&mut self) {
        *self = Self {
            seats: std::mem::take(&mut self.seats),
            last_number: self.last_number,
            round: self.round + 1,
            over: self.over,
            ..Self::default()
        };
    }
}
