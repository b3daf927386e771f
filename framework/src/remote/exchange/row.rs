//! Tells in a row, from the thread that the link runs on: they are put in together, without a lock
//! for each.
//!
//! A thread has one row at most, for one target, of what its credit was taken for beforehand. The
//! link's pump runs on the same thread and is awake while a row is open; it, and whoever else on
//! this thread looks into the exchange, has the row put in first, so that nothing from this thread
//! is overtaken. What another thread puts in for that target meanwhile goes in behind the row,
//! which takes no more.
//!
//! Invariant: a row is put in by the exchange and for the link it was opened for, or what is in it
//! is undelivered.

use std::cell::{Cell, RefCell};
use std::sync::Weak;

use super::*;

/// Credit that is taken for a row: enough that the lock costs little, and little enough to stay in
/// the nearest cache.
const ROW: u64 = 8 << 10;

thread_local! {
    /// Where the exchange is that a row is open for; 0 where none is.
    static OPEN: Cell<usize> = const { Cell::new(0) };
    /// Where the target is that was told something last. Only who tells twice in a row gets a row.
    static LAST: Cell<usize> = const { Cell::new(0) };
    static KEPT: RefCell<Row> = const { RefCell::new(Row::NONE) };
}

/// An open row, as other threads see it: what they put in for its target goes in behind it, and has
/// it closed.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) number: u32,
    /// What was taken of the credit.
    pub(super) room: u64,
}

struct Row {
    /// Kept when it is closed, so that nothing else gets its address.
    exchange: Weak<Exchange>,
    target: Option<Arc<Target>>,
    epoch: u64,
    number: u32,
    tells: u64,
    /// Credit that is left.
    room: u64,
    bytes: Vec<u8>,
}

impl Row {
    const NONE: Self = Self {
        exchange: Weak::new(),
        target: None,
        epoch: 0,
        number: 0,
        tells: 0,
        room: 0,
        bytes: Vec::new(),
    };

    fn put(&mut self, target: &Arc<Target>, body: &[u8]) -> bool {
        let cost = cost(body.len());
        if cost > self.room || !self.target.as_ref().is_some_and(|known| Arc::ptr_eq(known, target))
        {
            return false;
        }
        self.room -= cost;
        self.tells += 1;
        Item::encode_tell(self.number, body, &mut self.bytes);
        true
    }
}

fn address<T>(of: &T) -> usize {
    std::ptr::from_ref(of).addr()
}

/// The number of the thread that this runs on. The standard library's takes longer to find, and is
/// asked for with each tell.
pub(super) fn here() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(1);
    thread_local!(static HERE: Cell<u64> = const { Cell::new(0) });
    if HERE.get() == 0 {
        HERE.set(THREADS.fetch_add(1, Ordering::Relaxed));
    }
    HERE.get()
}

/// Puts a tell into the row, where one is open for its target and has room.
#[inline]
pub(super) fn put(exchange: &Exchange, target: &Arc<Target>, body: &[u8]) -> bool {
    OPEN.get() == address(exchange)
        && !exchange.disturbed.load(Ordering::Acquire)
        && KEPT.try_with(|row| row.borrow_mut().put(target, body)).unwrap_or(false)
}

/// A target was told something, not in a row. What is told next may open one.
pub(super) fn follows(
    exchange: &Arc<Exchange>,
    state: &mut State,
    target: &Arc<Target>,
    number: u32,
) {
    if LAST.replace(address(&**target)) != address(&**target)
        || OPEN.get() != 0
        || state.home != Some(here())
    {
        return;
    }
    // It would overtake what is cut.
    if state.queue.holds_up(Key::Target(number)) {
        return;
    }
    let (Some(epoch), Some(bound)) = (state.epoch, state.bound.get_mut(number as usize)) else {
        return;
    };
    let room = ROW
        .min(TARGET_WINDOW.saturating_sub(bound.in_flight))
        .min(LINK_WINDOW.saturating_sub(state.in_flight));
    let is_open = KEPT.try_with(|row| {
        let row = &mut *row.borrow_mut();
        if !std::ptr::eq(row.exchange.as_ptr(), Arc::as_ptr(exchange)) {
            row.exchange = Arc::downgrade(exchange);
        }
        if !row.target.as_ref().is_some_and(|known| Arc::ptr_eq(known, target)) {
            row.target = Some(Arc::clone(target));
        }
        (row.epoch, row.number, row.room) = (epoch, number, room);
    });
    if is_open.is_ok() {
        bound.in_flight += room;
        state.in_flight += room;
        state.row = Some(Opened { number, room });
        OPEN.set(address(&**exchange));
    }
}

/// Puts in what is in the row, if one is open for this exchange, and closes it. Given back: what
/// can't be put in any more.
#[inline]
pub(super) fn close(exchange: &Exchange, state: &mut State) -> Option<(Arc<Target>, u64)> {
    if OPEN.get() == address(exchange) { put_in(exchange, state) } else { None }
}

fn put_in(exchange: &Exchange, state: &mut State) -> Option<(Arc<Target>, u64)> {
    OPEN.set(0);
    exchange.disturbed.store(false, Ordering::Release);
    let put_in = |row: &RefCell<Row>| {
        let row = &mut *row.borrow_mut();
        let (tells, left) = (std::mem::take(&mut row.tells), std::mem::take(&mut row.room));
        let is_over = state.epoch != Some(row.epoch);
        if let Some(bound) = state.bound.get_mut(row.number as usize).filter(|_| !is_over) {
            // The peer may have given back what it was never given.
            bound.in_flight = bound.in_flight.saturating_sub(left);
            bound.tells += tells;
            state.in_flight = state.in_flight.saturating_sub(left);
            state.queue.put_row(&row.bytes);
        }
        row.bytes.clear();
        row.target.clone().filter(|_| is_over && tells > 0).map(|target| (target, tells))
    };
    let lost = KEPT.try_with(put_in).ok().flatten();
    if lost.is_none() {
        state.row = None;
        for (keys, item) in std::mem::take(&mut state.after_row) {
            state.queue.put_written(keys, item);
        }
    }
    lost
}
