//! A thread for the disk work of one transfer: an arbiter where blocking blocks nobody else.

use std::sync::{Mutex, PoisonError};

use actix::{Arbiter, ArbiterHandle};
use tokio::sync::oneshot;

/// Stops when the last of those who share it is gone.
#[derive(Debug)]
pub(crate) struct DiskThread(Mutex<Arbiter>);

impl DiskThread {
    /// Must be called where an actix system runs.
    pub(crate) fn start() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self(Mutex::new(Arbiter::new())))
    }

    pub(crate) fn handle(&self) -> ArbiterHandle {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).handle()
    }

    /// Runs `work` on the thread; `None` if the thread is gone or `work` panicked.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, is_done) = oneshot::channel();
        self.handle().spawn_fn(move || {
            // Whoever asked may be gone.
            let _ = done.send(work());
        });
        is_done.await.ok()
    }
}

impl Drop for DiskThread {
    fn drop(&mut self) {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).stop();
    }
}
