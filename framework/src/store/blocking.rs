//! Threads for what blocks and has no thread of its own: stores, sources that are opened, names
//! that are looked up.
//!
//! tokio's own threads for that panic when the system gives none, and may do the work later all the
//! same. Invariant: what is given to these is done once, or comes back at once; a panic costs its
//! own work alone.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Threads of all nodes of the process together. What comes when all have something to do waits.
const LIMIT: usize = 128;
/// A thread that has had nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(1);

type Work = Box<dyn FnOnce() + Send>;

/// The reason that there is no outcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undone {
    /// Nothing was done. That passes.
    #[error("the system gives no thread for it now: {0}")]
    NoThread(io::Error),
    #[error("it panicked; see the log")]
    Panicked,
}

impl From<Undone> for io::Error {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::NoThread(ref error) => Self::new(error.kind(), undone),
            Undone::Panicked => Self::other(undone),
        }
    }
}

/// Begins `work` at once, on a thread where blocking blocks nobody else, and returns its result.
///
/// # Errors
/// When it panics; and when the system gives no thread, so that nothing was done: that passes.
pub fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = io::Result<T>> + Send {
    let outcome = apart(work);
    async { Ok(outcome.await?) }
}

/// The same, for who tells the two errors apart.
pub(crate) fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, Undone>> + Send {
    let (done, is_done) = oneshot::channel();
    let work = in_the_runtime_of_who_asks(work);
    // Whoever asked may be gone.
    let begun = THREADS
        .begin(Box::new(move || drop(done.send(work()))))
        .map_err(|(error, _)| Undone::NoThread(error));
    async {
        begun?;
        is_done.await.map_err(|_| Undone::Panicked)
    }
}

/// The same, for what must not be left out: where the system gives no thread it is done on this
/// one.
pub(crate) fn surely<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, Undone>> + Send {
    let (done, is_done) = oneshot::channel();
    let work = in_the_runtime_of_who_asks(work);
    if let Err((_, work)) = THREADS.begin(Box::new(move || drop(done.send(work())))) {
        do_it(work);
    }
    async { is_done.await.map_err(|_| Undone::Panicked) }
}

/// As on tokio's own threads for blocking: what is opened there may be a socket or a pipe of
/// tokio's.
fn in_the_runtime_of_who_asks<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let runtime = Handle::try_current().ok();
    move || {
        let _entered = runtime.as_ref().map(Handle::enter);
        work()
    }
}

fn do_it(work: Work) {
    // Whoever waits for it hears of it, and the panic is in the log.
    let _ = catch_unwind(AssertUnwindSafe(work));
}

struct Threads {
    state: Mutex<State>,
    filled: Condvar,
}

struct State {
    waiting: VecDeque<Work>,
    idle: usize,
    threads: usize,
}

static THREADS: Threads = Threads {
    state: Mutex::new(State { waiting: VecDeque::new(), idle: 0, threads: 0 }),
    filled: Condvar::new(),
};

impl Threads {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it back where there is nobody to do it.
    fn begin(&'static self, work: Work) -> Result<(), (io::Error, Work)> {
        let mut state = self.state();
        if state.waiting.len() < state.idle || state.threads == LIMIT {
            state.waiting.push_back(work);
            self.filled.notify_one();
            return Ok(());
        }
        match Builder::new().name("estafette-block".into()).spawn(|| self.serve()) {
            Ok(_) => state.threads += 1,
            Err(error) if state.threads == 0 => return Err((error, work)),
            // Those there are come to it in time.
            Err(_) => {}
        }
        state.waiting.push_back(work);
        Ok(())
    }

    fn serve(&self) {
        let mut state = self.state();
        loop {
            if let Some(work) = state.waiting.pop_front() {
                drop(state);
                do_it(work);
                state = self.state();
                continue;
            }
            state.idle += 1;
            let (again, waited) =
                self.filled.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = again;
            state.idle -= 1;
            if waited.timed_out() && state.waiting.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::sync::mpsc;

    use super::*;

    #[actix::test]
    async fn whatever_is_given_is_done_once_and_a_panic_costs_nothing_else() {
        let done: Vec<_> = (0..1000).map(|number| surely(move || number)).collect();
        assert!(matches!(apart(|| panic!("on purpose")).await, Err(Undone::Panicked)));
        for (number, done) in done.into_iter().enumerate() {
            assert_eq!(done.await.unwrap(), number);
        }
    }

    #[actix::test]
    async fn what_is_opened_there_may_be_of_the_runtime_of_who_asks() {
        // One that is made where there is no runtime panics.
        let sleep = blocking(|| tokio::time::sleep(Duration::ZERO)).await.unwrap();
        sleep.await;
    }

    #[actix::test]
    async fn what_waits_for_others_is_done_beside_them_and_threads_that_have_nothing_to_do_end() {
        let (said, heard) = mpsc::channel();
        let first = surely(move || heard.recv().unwrap());
        blocking(move || said.send(7).unwrap()).await.unwrap();
        assert_eq!(first.await.unwrap(), 7);
        while THREADS.state().threads > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(blocking(|| 8).await.unwrap(), 8);
    }
}
