//! A queue for what is scarce: the urgent go first, and nobody waits for ever.
//!
//! Invariant: of five turns that are given while somebody waits, one is given to whoever has waited
//! longest.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// The order of deliveries where room, places among the stages and turns to be tried are scarce.
///
/// It is no share of a line: where nothing is scarce, all go at once. At a relay, everything has
/// the same.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(into = "u8", try_from = "u8")]
pub enum Priority {
    /// After what is high, before what is low.
    #[default]
    Normal,
    /// First.
    High,
    /// Last; but each fifth turn is of whoever has waited longest.
    Low,
}

/// Turns in a row for which somebody who has waited longer is passed over.
const PASSED_OVER: u8 = 4;
/// After as many have come, those who have left meanwhile are taken out.
const SWEEP: u64 = 64;

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority as Self
    }
}

impl TryFrom<u8> for Priority {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        let all = [Self::Normal, Self::High, Self::Low];
        all.get(usize::from(number)).copied().ok_or_else(|| format!("{number} is no priority"))
    }
}

impl Priority {
    /// Its place, the first one first.
    pub(crate) fn rank(self) -> usize {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }
}

/// Decides whose turn it is: pure.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fair {
    passed_over: u8,
}

impl Fair {
    /// Returns `true` if the turn is of whoever has waited longest, rather than of the first by
    /// priority; `are_the_same` if these are one.
    pub(crate) fn is_of_the_oldest(&mut self, are_the_same: bool) -> bool {
        let is_due = are_the_same || self.passed_over >= PASSED_OVER;
        self.passed_over = if is_due { 0 } else { self.passed_over + 1 };
        is_due
    }
}

/// One who goes at a time, and those who wait. Cloning it shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    is_taken: bool,
    came: u64,
    fair: Fair,
    /// By rank; each with the number of those who came before it.
    waiting: [VecDeque<(u64, oneshot::Sender<Turn>)>; 3],
}

/// The turn of one. The next one has it when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Option<Queue>);

impl Queue {
    /// Waits for the turn.
    pub(crate) async fn enter(&self, priority: Priority) -> Turn {
        let turn = {
            let mut waiting = self.lock();
            if std::mem::replace(&mut waiting.is_taken, true) {
                Some(waiting.wait(priority))
            } else {
                None
            }
        };
        match turn {
            None => Turn(Some(self.clone())),
            // Its sender is in the queue, which is held here, until it is sent.
            Some(turn) => turn.await.unwrap_or(Turn(None)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn wait(&mut self, priority: Priority) -> oneshot::Receiver<Turn> {
        let (turn, is_due) = oneshot::channel();
        self.came += 1;
        if self.came.is_multiple_of(SWEEP) {
            self.waiting.iter_mut().for_each(|line| line.retain(|(_, turn)| !turn.is_closed()));
        }
        self.waiting[priority.rank()].push_back((self.came, turn));
        is_due
    }

    /// Returns who is next; nobody has the turn if nobody waits.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let first = self.waiting.iter().position(|line| !line.is_empty());
        let came = |line: &VecDeque<(u64, _)>| line.front().map_or(u64::MAX, |(came, _)| *came);
        let oldest = (0..self.waiting.len()).min_by_key(|&rank| came(&self.waiting[rank]));
        let (Some(first), Some(oldest)) = (first, oldest) else {
            self.is_taken = false;
            return None;
        };
        let rank = if self.fair.is_of_the_oldest(first == oldest) { oldest } else { first };
        self.waiting[rank].pop_front().map(|(_, turn)| turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(queue) = self.0.take() else { return };
        while let Some(next) = {
            let mut waiting = queue.lock();
            waiting.next()
        } {
            match next.send(Turn(Some(queue.clone()))) {
                Ok(()) => return,
                // It has left: the turn is still here.
                Err(mut turn) => turn.0 = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, poll};

    use super::*;

    /// The order in which they go who come in this one, while another one has its turn.
    async fn order(priorities: &[Priority]) -> Vec<usize> {
        let queue = Queue::default();
        let first = queue.enter(Priority::Low).await;
        let mut waiting: Vec<_> = Vec::new();
        for (number, priority) in priorities.iter().enumerate() {
            let queue = queue.clone();
            let mut turn = async move { queue.enter(*priority).await }.boxed();
            assert!(poll!(&mut turn).is_pending());
            waiting.push((number, turn));
        }
        drop(first);
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let mut gone = None;
            for (at, (_, turn)) in waiting.iter_mut().enumerate() {
                if let std::task::Poll::Ready(turn) = poll!(turn) {
                    assert!(gone.replace((at, turn)).is_none(), "two have their turn");
                }
            }
            let (at, turn) = gone.expect("somebody's turn");
            order.push(waiting.remove(at).0);
            drop(turn);
        }
        order
    }

    #[tokio::test]
    async fn the_urgent_go_first_and_those_of_one_kind_as_they_came() {
        use Priority::{High, Low, Normal};
        assert_eq!(order(&[Low, Normal, High, Normal, High]).await, [2, 4, 1, 3, 0]);
        assert_eq!(order(&[Normal; 4]).await, [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn who_waits_longest_has_each_fifth_turn() {
        let mut priorities = vec![Priority::Low; 2];
        priorities.extend([Priority::High; 12]);
        let order = order(&priorities).await;
        assert_eq!(order[..10], [2, 3, 4, 5, 0, 6, 7, 8, 9, 1]);
    }

    #[tokio::test]
    async fn who_leaves_while_it_waits_keeps_no_turn() {
        let queue = Queue::default();
        let first = queue.enter(Priority::Normal).await;
        let mut leaves = queue.enter(Priority::High).boxed();
        assert!(poll!(&mut leaves).is_pending());
        let mut has_turn = queue.enter(Priority::High).boxed();
        assert!(poll!(&mut has_turn).is_pending());
        let mut stays = queue.enter(Priority::Low).boxed();
        assert!(poll!(&mut stays).is_pending());
        drop(leaves);
        drop(first);
        // Its turn has come, and it leaves without having looked.
        drop(has_turn);
        stays.now_or_never().expect("its turn");
        assert!(queue.enter(Priority::Low).now_or_never().is_some());
    }
}
