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

use super::outbound::Row;
use super::*;

thread_local! {
    /// The address of the exchange that a row is open for; 0 where none is.
    static OPEN: Cell<usize> = const { Cell::new(0) };
    /// The address of the last target that was told. Only who tells twice in a row gets a row.
    static LAST: Cell<usize> = const { Cell::new(0) };
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept::NONE) };
}

struct Kept {
    /// Kept when it is closed, so that nothing else gets its address.
    exchange: Weak<Exchange>,
    target: Option<Arc<Target>>,
    epoch: u64,
    row: Row,
}

impl Kept {
    const NONE: Self = Self {
        exchange: Weak::new(),
        target: None,
        epoch: 0,
        row: Row { number: 0, tells: 0, room: 0, bytes: Vec::new() },
    };

    fn put(&mut self, target: &Arc<Target>, body: &[u8]) -> bool {
        self.target.as_ref().is_some_and(|known| Arc::ptr_eq(known, target)) && self.row.put(body)
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
        && KEPT.try_with(|kept| kept.borrow_mut().put(target, body)).unwrap_or(false)
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
    let Some(epoch) = state.epoch else { return };
    let is_open = KEPT.try_with(|kept| {
        let kept = &mut *kept.borrow_mut();
        let Some(room) = state.out.open_row(number) else { return false };
        if !std::ptr::eq(kept.exchange.as_ptr(), Arc::as_ptr(exchange)) {
            kept.exchange = Arc::downgrade(exchange);
        }
        if !kept.target.as_ref().is_some_and(|known| Arc::ptr_eq(known, target)) {
            kept.target = Some(Arc::clone(target));
        }
        (kept.epoch, kept.row.number, kept.row.room) = (epoch, number, room);
        true
    });
    if is_open == Ok(true) {
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
    let put_in = |kept: &RefCell<Kept>| {
        let Kept { target, epoch, row, .. } = &mut *kept.borrow_mut();
        if state.epoch == Some(*epoch) {
            state.out.close_row(row);
            return None;
        }
        let tells = std::mem::take(&mut row.tells);
        row.bytes.clear();
        target.clone().filter(|_| tells > 0).map(|target| (target, tells))
    };
    KEPT.try_with(put_in).ok().flatten()
}
