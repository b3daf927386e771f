//! Stdout and stderr, whoever reads them: somebody who stops the command does not wait for a
//! reader.
//!
//! Invariant: once a signal has come, what nobody reads holds nothing up for longer than a second,
//! and it is waited for once.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::error::CommandError;

/// A stream that lines are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// Set when a signal has come that ends the command.
static STOPPING: AtomicBool = AtomicBool::new(false);
/// Set for each of them when nobody has read it for too long since.
static UNREAD: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

/// Set for each of them when a line was broken off.
static TORN: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

/// The bytes that are written in one go: a pipe that takes any takes so many, and nothing of others
/// comes between. Linux has pages there; POSIX promises less.
const AT_ONCE: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };
/// The time between looks whether a signal has come.
const LOOK: Duration = Duration::from_millis(100);
/// The longest wait for a reader after that.
const PATIENCE: Duration = Duration::from_secs(1);

/// A signal has come: from here on nobody is waited for.
pub(crate) fn stopping() {
    STOPPING.store(true, Ordering::Relaxed);
}

impl Stream {
    /// Writes a line.
    pub(crate) fn line(self, text: &str) -> io::Result<()> {
        self.write(format!("{text}\n").as_bytes())
    }

    /// Writes some bytes; no others come between.
    pub(crate) fn write(self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Out => {
                let mut stdout = io::stdout().lock();
                stdout.flush()?;
                self.write_to(io::stdout(), bytes)
            }
            Self::Err => {
                let _alone = io::stderr().lock();
                self.write_to(io::stderr(), bytes)
            }
        }
    }

    fn write_to(self, to: impl AsFd, bytes: &[u8]) -> io::Result<()> {
        let torn = &TORN[self as usize];
        if torn.load(Ordering::Relaxed) {
            // What comes now begins a line of its own.
            self.write_all(&to, b"\n").map_err(|(_, error)| error)?;
            torn.store(false, Ordering::Relaxed);
        }
        self.write_all(&to, bytes).map_err(|(written, error)| {
            torn.store(written > 0, Ordering::Relaxed);
            error
        })
    }

    /// Fails with the number of bytes that were written before.
    fn write_all(self, to: &impl AsFd, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let is_file = rustix::fs::fstat(to)
            .is_ok_and(|there| FileType::from_raw_mode(there.st_mode).is_file());
        let at_once = if is_file { bytes.len() } else { AT_ONCE };
        let mut written = 0;
        while let Some(some) = bytes.get(written..).filter(|some| !some.is_empty()) {
            wait(to.as_fd(), &UNREAD[self as usize]).map_err(|error| (written, error))?;
            match rustix::io::write(to, &some[..some.len().min(at_once)]) {
                Ok(more) => written += more,
                Err(Errno::INTR | Errno::AGAIN) => {}
                // As the standard library has it: a stream that is closed takes everything.
                Err(Errno::BADF) => return Ok(()),
                Err(error) => return Err((written, error.into())),
            }
        }
        Ok(())
    }
}

/// Waits until something can be written; not for long, once a signal has come.
fn wait(to: impl AsFd, unread: &AtomicBool) -> io::Result<()> {
    let mut since = None;
    loop {
        let is_stopping = STOPPING.load(Ordering::Relaxed);
        let is_unread = is_stopping && unread.load(Ordering::Relaxed);
        let look = if is_unread { Duration::ZERO } else { LOOK };
        let look = Timespec { tv_sec: 0, tv_nsec: i64::from(look.subsec_nanos()) };
        let mut ways = [PollFd::from_borrowed_fd(to.as_fd(), PollFlags::OUT)];
        match poll(&mut ways, Some(&look)) {
            Ok(0) | Err(Errno::INTR) => {}
            // What can't be told is written as ever.
            Ok(_) | Err(_) => return Ok(()),
        }
        let waits = is_stopping.then(|| since.get_or_insert_with(Instant::now).elapsed());
        if is_unread || waits.is_some_and(|waits| waits >= PATIENCE) {
            unread.store(true, Ordering::Relaxed);
            return Err(io::ErrorKind::WouldBlock.into());
        }
    }
}

/// Fails where nothing can be written to stdout: the standard library takes such writes for done.
pub(crate) fn check_stdout() -> Result<(), CommandError> {
    let flags = rustix::fs::fcntl_getfl(io::stdout());
    if flags.is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDONLY) {
        return Err(CommandError::usage(
            "stdout is open for reading alone, so that results would be lost",
            "say where they go: `> FILE`, or `| COMMAND`",
        ));
    }
    Ok(())
}

/// The error that results can't be written.
pub(crate) fn stdout_failed(error: &io::Error) -> CommandError {
    CommandError::io(
        format!("stdout could not be written: {error}"),
        "write it to a file with room",
    )
}

/// Tells of a stream that was closed when this program began. The standard library opens the device
/// `null` in its place, for reading and writing: a shell opens that for one of them.
pub(crate) fn was_closed(stream: impl AsFd) -> bool {
    let (Ok(flags), Ok(there), Ok(null)) = (
        rustix::fs::fcntl_getfl(&stream),
        rustix::fs::fstat(&stream),
        rustix::fs::stat("/dev/null"),
    ) else {
        return false;
    };
    let is_device = FileType::from_raw_mode(there.st_mode) == FileType::CharacterDevice;
    is_device && there.st_rdev == null.st_rdev && flags & OFlags::RWMODE == OFlags::RDWR
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::io::Read;

    use super::*;

    #[test]
    fn a_line_that_was_broken_off_runs_into_no_other() {
        let (mut reading, writing) = io::pipe().unwrap();
        let line = "long".repeat(64 << 10);
        stopping();
        // Nobody reads: it does not fit.
        let error = Stream::Err.write_to(&writing, line.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        // Nobody is waited for a second time, until somebody reads.
        Stream::Err.write_to(&writing, b"lost\n").unwrap_err();
        let reader = std::thread::spawn(move || {
            let mut read = String::new();
            reading.read_to_string(&mut read).unwrap();
            read
        });
        while Stream::Err.write_to(&writing, b"whole\n").is_err() {
            std::thread::yield_now();
        }
        drop(writing);
        let read = reader.join().unwrap();
        assert!(read.starts_with("longlong") && read.ends_with("\nwhole\n"), "{}", read.len());
    }
}
