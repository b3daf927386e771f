//! SIGHUP: to a command it means that the terminal or the connection that it was started from is
//! gone. To `run` it means, too, that its topology is to be looked at, as to others that run for
//! long: whether a terminal is gone tells which.

use std::fs::{self, File};
use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

/// The wait between two looks at a terminal, once a signal came: some tell those who were started
/// there before they close it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The bit of SIGHUP in a mask of signals.
const HANG_UP: u64 = 1;

/// The end that SIGHUP asks for.
#[derive(Debug)]
pub(crate) struct HangUp {
    signal: Signal,
    /// Set if it asks for something else, unless the terminal is gone.
    reloads: bool,
    came: bool,
    has_ended: bool,
}

impl HangUp {
    /// Listens. Nobody ends where it was ignored at the start, as by `nohup`.
    pub(crate) fn listen() -> std::io::Result<Self> {
        at_start();
        Ok(Self {
            signal: signal(SignalKind::hangup())?,
            reloads: false,
            came: false,
            has_ended: false,
        })
    }

    /// The same of a process that has something to reload.
    pub(crate) fn reloading(self) -> Self {
        Self { reloads: true, ..self }
    }

    /// Waits until the process is to end; may be dropped while it waits.
    pub(crate) async fn ends(&mut self) {
        loop {
            if self.came && !self.has_ended && is_gone() {
                // Once: a shell and the system may both tell, and who insists says so otherwise.
                self.has_ended = true;
                return;
            }
            let looks = self.came && !self.has_ended && at_start().had_terminal();
            tokio::select! {
                _ = self.signal.recv() => {
                    if at_start().is_ignored {
                        continue;
                    }
                    if !self.reloads {
                        return;
                    }
                    self.came = true;
                }
                () = sleep(LOOK_AGAIN), if looks => {}
            }
        }
    }

    /// Waits for one that asks for a reload.
    pub(crate) async fn reload(&mut self) {
        loop {
            // There is no last one.
            let _ = self.signal.recv().await;
            if at_start().is_ignored || !is_gone() {
                return;
            }
        }
    }
}

/// The terminals of this process before the first signal.
#[derive(Debug)]
struct AtStart {
    /// Set if SIGHUP was ignored.
    is_ignored: bool,
    /// Set if it had a terminal that sends signals.
    is_controlled: bool,
    /// Standard input, output and errors that were terminals.
    streams: [bool; 3],
}

impl AtStart {
    fn had_terminal(&self) -> bool {
        self.is_controlled || self.streams.contains(&true)
    }
}

fn at_start() -> &'static AtStart {
    static AT_START: OnceLock<AtStart> = OnceLock::new();
    AT_START.get_or_init(|| AtStart {
        is_ignored: is_ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default()),
        is_controlled: is_controlled(),
        streams: streams(),
    })
}

/// Returns `true` if a terminal that it had is there no more.
fn is_gone() -> bool {
    let before = at_start();
    let mut streams = before.streams.into_iter().zip(streams());
    (before.is_controlled && !is_controlled()) || streams.any(|(before, now)| before && !now)
}

fn is_controlled() -> bool {
    File::open("/dev/tty").is_ok_and(|terminal| terminal.is_terminal())
}

fn streams() -> [bool; 3] {
    let (input, output) = (std::io::stdin().is_terminal(), std::io::stdout().is_terminal());
    [input, output, std::io::stderr().is_terminal()]
}

/// Returns `true` if the status of a process says that SIGHUP is ignored.
fn is_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & HANG_UP != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_says_which_signals_are_ignored() {
        assert!(is_ignored("Name:\tx\nSigIgn:\t0000000000001001\n"));
        assert!(!is_ignored("SigIgn:\t0000000000001000\n") && !is_ignored(""));
    }
}
