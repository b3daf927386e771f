//! Turns at computing key exchanges: each takes hundreds of microseconds, and one thread does them
//! all.
//!
//! Invariant: one at a time, and between two of them whatever else the thread has to do gets its
//! turn. Sources take turns, however many connections each of them has waiting; at most one turn is
//! asked for by each connection in its handshake.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::half_open::Source;

/// The queue for the thread of handshakes. Cloning it shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    busy: bool,
    waiting: VecDeque<(Source, VecDeque<oneshot::Sender<Turn>>)>,
    #[cfg(feature = "test-util")]
    taken: u64,
}

/// Passes the turn on when it is dropped.
#[derive(Debug)]
struct Turn(Option<Turns>);

impl Turns {
    /// Computes when it is this source's turn. May be dropped while it waits.
    pub(crate) async fn compute<T>(&self, source: &Source, work: impl FnOnce() -> T) -> T {
        let turn = self.take(source).await;
        let done = work();
        // Sockets are looked at before the next one begins, wherever the runtime stands.
        tokio::task::yield_now().await;
        drop(turn);
        done
    }

    async fn take(&self, source: &Source) -> Turn {
        let turn = {
            let mut queue = self.queue();
            if queue.busy {
                Err(queue.wait(source))
            } else {
                queue.busy = true;
                Ok(Turn(Some(self.clone())))
            }
        };
        let turn = match turn {
            Ok(turn) => turn,
            Err(waiting) => waiting.await.expect("whoever waits is given a turn"),
        };
        #[cfg(feature = "test-util")]
        {
            self.queue().taken += 1;
        }
        turn
    }

    /// Returns how often something was computed.
    #[cfg(feature = "test-util")]
    pub(crate) fn taken(&self) -> u64 {
        self.queue().taken
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn wait(&mut self, source: &Source) -> oneshot::Receiver<Turn> {
        let (grant, granted) = oneshot::channel();
        match self.waiting.iter_mut().find(|(waiting, _)| waiting == source) {
            Some((_, grants)) => grants.push_back(grant),
            None => self.waiting.push_back((source.clone(), [grant].into())),
        }
        granted
    }

    /// The next source's oldest; the source goes to the end.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some((source, mut grants)) = self.waiting.pop_front() {
            // Whoever has gone meanwhile costs nothing.
            let next = std::iter::from_fn(|| grants.pop_front()).find(|grant| !grant.is_closed());
            if !grants.is_empty() {
                self.waiting.push_back((source, grants));
            }
            if next.is_some() {
                return next;
            }
        }
        self.busy = false;
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.0.take() else { return };
        loop {
            let Some(next) = turns.queue().next() else { return };
            match next.send(Turn(Some(turns.clone()))) {
                Ok(()) => return,
                // It went in between: the turn is still here to give.
                Err(mut back) => back.0 = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::task::{JoinHandle, LocalSet, yield_now};

    use super::*;

    fn local<F: Future>(test: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        LocalSet::new().block_on(&runtime, test)
    }

    #[derive(Clone, Default)]
    struct Bench {
        turns: Turns,
        order: Rc<RefCell<Vec<u8>>>,
    }

    impl Bench {
        /// A connection of this source wants to compute.
        fn wants(&self, source: u8) -> JoinHandle<()> {
            let Self { turns, order } = self.clone();
            tokio::task::spawn_local(async move {
                turns.compute(&Source::V4([source; 4]), || order.borrow_mut().push(source)).await;
            })
        }

        fn idle(&self) -> bool {
            !self.turns.queue().busy && self.turns.queue().waiting.is_empty()
        }
    }

    #[test]
    fn a_source_with_many_waiting_delays_another_by_one_turn_at_most() {
        local(async {
            let bench = Bench::default();
            let flood: Vec<_> = (0..100).map(|_| bench.wants(1)).collect();
            yield_now().await;
            let honest = [bench.wants(2), bench.wants(3), bench.wants(2)];
            for waiting in flood.into_iter().chain(honest) {
                waiting.await.unwrap();
            }
            let order = bench.order.borrow();
            let position = |source| order.iter().position(|&of| of == source).unwrap();
            assert!(position(2) <= 3 && position(3) <= 4, "{order:?}");
            assert_eq!(order.len(), 103);
            assert!(bench.idle());
        });
    }

    #[test]
    fn who_is_gone_takes_no_turn_and_keeps_none() {
        local(async {
            let bench = Bench::default();
            let waiting: Vec<_> = (0..50).map(|number| bench.wants(number % 5)).collect();
            yield_now().await;
            // The one whose turn it is, some that wait, and whoever is granted next.
            for (number, waiting) in waiting.iter().enumerate() {
                if number % 3 == 0 {
                    waiting.abort();
                }
                if number % 7 == 0 {
                    yield_now().await;
                }
            }
            for waiting in waiting {
                // An error is that of the abort.
                let _ = waiting.await;
            }
            bench.wants(9).await.unwrap();
            assert_eq!(bench.order.borrow().last(), Some(&9));
            assert!(bench.idle());
        });
    }

    #[test]
    fn a_turn_that_is_granted_to_somebody_who_goes_is_passed_on() {
        local(async {
            let bench = Bench::default();
            let held = bench.turns.take(&Source::Own).await;
            let (first, second) = (bench.wants(1), bench.wants(2));
            yield_now().await;
            // Granted, and aborted before it can look.
            drop(held);
            first.abort();
            second.await.unwrap();
            assert_eq!(*bench.order.borrow(), [2]);
            assert!(bench.idle());
        });
    }

    #[test]
    fn work_that_panics_passes_its_turn_on() {
        local(async {
            let bench = Bench::default();
            let turns = bench.turns.clone();
            let panics = tokio::task::spawn_local(async move {
                turns.compute(&Source::Own, || panic!("in a test")).await
            });
            assert!(panics.await.is_err());
            bench.wants(1).await.unwrap();
            assert!(bench.idle());
        });
    }
}
