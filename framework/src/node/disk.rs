//! The threads of bulk work: those of the workers, and one for the disk work of each transfer,
//! where blocking blocks nobody else.

use std::io;
use std::sync::{Mutex, PoisonError};

use actix::{Arbiter, ArbiterHandle};
use tokio::sync::oneshot;

use crate::delivery::{Failure, FailureKind};
use crate::store::start_thread;

/// A thread that steps back for those that carry messages. Must be called where an actix system
/// runs.
pub(crate) fn bulk_thread(niceness: u8) -> io::Result<Arbiter> {
    let arbiter = start_thread()?;
    #[cfg(target_os = "linux")]
    if niceness > 0 {
        arbiter.spawn_fn(move || {
            // On Linux, a niceness belongs to a thread. It is added to what the process was started
            // with.
            let thread = Some(rustix::thread::gettid());
            let nicer = rustix::process::getpriority_process(thread).and_then(|before| {
                rustix::process::setpriority_process(thread, (before + i32::from(niceness)).min(19))
            });
            if let Err(error) = nicer {
                tracing::debug!(
                    %error,
                    "the niceness of a thread could not be set: transfers may hold messages up"
                );
            }
        });
    }
    #[cfg(not(target_os = "linux"))]
    let _ = niceness;
    Ok(arbiter)
}

/// Stops when the last of those who share it is gone.
#[derive(Debug)]
pub(crate) struct DiskThread(Mutex<Arbiter>);

impl DiskThread {
    /// Must be called where an actix system runs.
    pub(crate) fn start(niceness: u8) -> Result<std::sync::Arc<Self>, Failure> {
        let thread = bulk_thread(niceness);
        let thread = thread.map_err(|error| {
            Failure::new(
                FailureKind::Busy,
                format!("this node can start no thread for it now: {error}"),
            )
        })?;
        Ok(std::sync::Arc::new(Self(Mutex::new(thread))))
    }

    pub(crate) fn handle(&self) -> ArbiterHandle {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).handle()
    }

    /// Runs `work` on the thread; `None` if the thread is gone or `work` panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
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
