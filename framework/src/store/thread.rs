//! Threads that an actix system may not have.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use actix::Arbiter;
use tokio::runtime::Runtime;

/// A thread with a runtime of its own, where an actix system runs.
///
/// # Errors
/// When the system has no descriptors or no threads left: that passes.
pub fn start_thread() -> io::Result<Arbiter> {
    // An arbiter panics where there is no thread: whether there is one is asked before, of who says
    // so.
    drop(std::thread::Builder::new().spawn(|| {})?.join());
    // Made here, where it may fail: descriptors are what runs out first. An arbiter would panic on
    // its own thread.
    let mut runtime =
        Unused(Some(tokio::runtime::Builder::new_current_thread().enable_all().build()?));
    let started = catch_unwind(AssertUnwindSafe(|| {
        Arbiter::with_tokio_rt(move || runtime.0.take().expect("it is taken once"))
    }));
    started.map_err(|_| io::Error::new(io::ErrorKind::WouldBlock, "the system gave no thread"))
}

/// A runtime that may be dropped where blocking is not allowed.
struct Unused(Option<Runtime>);

impl Drop for Unused {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
