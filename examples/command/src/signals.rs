//! SIGINT, SIGTERM and SIGHUP: the first asks to finish, the second insists.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Once, mpsc};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::error::CommandError;
use crate::hang_up::HangUp;
use crate::streams;

/// Longer than a thread takes to begin.
const SOON: Duration = Duration::from_secs(5);

/// The number of signals that the thread has heard which listens for them.
static HEARD: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));

/// Signals from here on.
#[derive(Debug)]
pub(crate) enum Signals {
    /// The thread that listens hears them; so many were taken of those that it has heard.
    Heard(watch::Receiver<u64>, u64),
    /// There is no thread to be had.
    Own(Own),
}

impl Signals {
    /// Those that end a process.
    pub(crate) fn new() -> Result<Self, CommandError> {
        Self::with(false)
    }

    /// Those that end a process which reloads something at SIGHUP, and what says when it does.
    pub(crate) fn of_reloading() -> Result<(Self, HangUp), CommandError> {
        let hang_up = HangUp::listen().map(HangUp::reloading).map_err(failed)?;
        Ok((Self::with(true)?, hang_up))
    }

    fn with(reloads: bool) -> Result<Self, CommandError> {
        // Before it listens, so that none is missed in between.
        let heard = HEARD.subscribe();
        let taken = *heard.borrow();
        if listen(reloads) {
            return Ok(Self::Heard(heard, taken));
        }
        Own::new(reloads).map(Self::Own).map_err(failed)
    }

    /// Waits for the next one; may be dropped while it waits.
    pub(crate) async fn next(&mut self) {
        match self {
            // Each of two that come at once counts.
            Self::Heard(heard, taken) => {
                // Its sender is there as long as this process.
                let _ = heard.wait_for(|heard| heard > taken).await;
                *taken += 1;
            }
            Self::Own(own) => {
                own.next().await;
                streams::stopping();
            }
        }
    }
}

/// The signals that end a command.
#[derive(Debug)]
pub(crate) struct Own {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal or the connection it was started from is gone.
    hang_up: HangUp,
}

impl Own {
    fn new(reloads: bool) -> std::io::Result<Self> {
        let hang_up = HangUp::listen()?;
        Ok(Self {
            hang_up: if reloads { hang_up.reloading() } else { hang_up },
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = self.hang_up.ends() => {}
        }
    }
}

/// A file that would be longer than this process may make one (`ulimit -f`) is an error of its write
/// from here on: by default it ends the process, and all that runs in it.
pub(crate) fn outlive_long_files() -> std::io::Result<()> {
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop)
}

fn failed(error: std::io::Error) -> CommandError {
    CommandError::io(format!("signals can't be caught: {error}"), "free some file descriptors")
}

/// Has a thread of its own listen, as all others may be about to write what nobody reads, and have
/// to hear of it. Returns `true` once it listens.
fn listen(reloads: bool) -> bool {
    static BEGUN: Once = Once::new();
    static LISTENS: AtomicBool = AtomicBool::new(false);
    BEGUN.call_once(|| {
        let (listens, listening) = mpsc::channel();
        let hear = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut own = Own::new(reloads)?;
                // Who does not wait any more listens itself.
                let _ = listens.send(());
                loop {
                    own.next().await;
                    streams::stopping();
                    HEARD.send_modify(|heard| *heard += 1);
                }
            })
        };
        let hear = move || -> () {
            let ended: std::io::Result<()> = hear();
            if let Err(error) = ended {
                tracing::debug!(%error, "no thread listens for signals");
            }
        };
        let begun = std::thread::Builder::new().name("signals".into()).spawn(hear);
        let listens = begun.is_ok() && listening.recv_timeout(SOON).is_ok();
        LISTENS.store(listens, Ordering::Relaxed);
    });
    LISTENS.load(Ordering::Relaxed)
}
