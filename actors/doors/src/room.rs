//! Room that requests hold together, of which each token has a share.
//!
//! Invariant: whoever has one token takes its share at most, a quarter unless another one is told,
//! so that several are needed to keep others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Room for so much.
#[derive(Debug)]
pub(crate) struct Room {
    most: usize,
    /// The most of one token.
    share: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    all: usize,
    tokens: HashMap<Arc<str>, usize>,
}

/// A part of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    room: Arc<Room>,
    token: Arc<str>,
    count: usize,
}

impl Room {
    pub(crate) fn of(most: usize) -> Arc<Self> {
        Self::shared(most, most / 4)
    }

    /// Room for so much, of which one token takes so much at most.
    pub(crate) fn shared(most: usize, share: usize) -> Arc<Self> {
        Arc::new(Self { most, share, used: Mutex::default() })
    }

    /// So much of it, for the token of this name; `None` if it, or all, would have too much.
    pub(crate) fn take(self: &Arc<Self>, token: &str, count: usize) -> Option<Held> {
        let mut held = Held { room: Arc::clone(self), token: token.into(), count: 0 };
        held.more(count).then_some(held)
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Takes more; `false`, and nothing is taken, if there is none.
    pub(crate) fn more(&mut self, count: usize) -> bool {
        let mut used = self.room.used();
        let own = used.tokens.get(&self.token).copied().unwrap_or_default();
        if used.all + count > self.room.most || own + count > self.room.share {
            return false;
        }
        used.all += count;
        *used.tokens.entry(Arc::clone(&self.token)).or_default() += count;
        drop(used);
        self.count += count;
        true
    }

    /// Gives a part of it to somebody else.
    #[cfg(any(test, feature = "http"))]
    pub(crate) fn part(&mut self, count: usize) -> Self {
        let count = count.min(self.count);
        self.count -= count;
        Self { room: Arc::clone(&self.room), token: Arc::clone(&self.token), count }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut used = self.room.used();
        used.all -= self.count;
        if let Some(own) = used.tokens.get_mut(&self.token) {
            *own -= self.count;
            if *own == 0 {
                used.tokens.remove(&self.token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    #[test]
    fn a_token_has_a_quarter_and_all_together_have_no_more_than_there_is() {
        let room = Room::of(100);
        let mut one = room.take("one", 20).unwrap();
        assert!(room.take("one", 6).is_none() && one.more(5) && !one.more(1));
        let others: Vec<_> =
            ["two", "three", "four"].iter().map(|token| room.take(token, 25).unwrap()).collect();
        assert!(room.take("five", 1).is_none());
        let part = one.part(10);
        drop(one);
        let five = room.take("five", 15).unwrap();
        assert!(room.take("six", 1).is_none());
        drop((part, five, others));
        assert_eq!(room.used().all, 0);
        assert!(room.used().tokens.is_empty());
    }
}
