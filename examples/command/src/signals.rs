//! SIGINT, SIGTERM and SIGHUP: the first asks to finish, the second insists.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CommandError;

#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal or the connection it was started from is gone.
    hang_up: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, CommandError> {
        let failed = |error| {
            CommandError::io(
                format!("signals can't be caught: {error}"),
                "free some file descriptors",
            )
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            hang_up: signal(SignalKind::hangup()).map_err(failed)?,
        })
    }

    /// Waits for the next one; may be dropped while it waits.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
