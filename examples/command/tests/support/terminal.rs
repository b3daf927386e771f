//! A terminal that a command believes to be one, and what is seen on it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use vt100::{Parser, Screen};

use super::process::PATIENCE;

pub(crate) struct Terminal {
    master: File,
    slave: OwnedFd,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

struct Seen {
    parser: Parser,
    bytes: Vec<u8>,
}

impl Terminal {
    pub(crate) fn new(rows: u16, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).and_then(|()| unlockpt(&master)).unwrap();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave =
            rustix::fs::open(ptsname(&master, Vec::new()).unwrap(), flags, Mode::empty()).unwrap();
        let master = File::from(master);
        let seen = Arc::new((
            Mutex::new(Seen {
                parser: Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0),
                bytes: Vec::new(),
            }),
            Condvar::new(),
        ));
        let (shown, mut from) = (Arc::clone(&seen), master.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // An error means that the test is over.
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                let mut seen = shown.0.lock().unwrap();
                seen.parser.process(&buffer[..read]);
                seen.bytes.extend_from_slice(&buffer[..read]);
                shown.1.notify_all();
            }
        });
        Self { master, slave, seen }
    }

    /// Starts a command whose stdin, stdout and stderr are this terminal.
    pub(crate) fn start(&self, command: &mut Command) -> Child {
        let end = || self.slave.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
    }

    /// For a command that has another stdin or stdout.
    pub(crate) fn end(&self) -> OwnedFd {
        self.slave.try_clone().unwrap()
    }

    pub(crate) fn type_in(&self, text: &str) {
        (&self.master).write_all(text.as_bytes()).unwrap();
    }

    /// Waits until this can be seen, and returns what can.
    pub(crate) fn wait_for(&self, what: &str) -> String {
        self.wait_until(what, |screen| screen.contents().contains(what))
    }

    /// Waits until the screen is such, and returns what can be seen then.
    pub(crate) fn wait_until(&self, what: &str, mut is_so: impl FnMut(&Screen) -> bool) -> String {
        let (seen, news) = &*self.seen;
        let waited = news
            .wait_timeout_while(seen.lock().unwrap(), PATIENCE, |seen| !is_so(seen.parser.screen()))
            .unwrap();
        let screen = waited.0.parser.screen().contents();
        assert!(!waited.1.timed_out(), "no {what:?} was seen, but:\n{screen}");
        screen
    }

    /// All that was written to it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.0.lock().unwrap().bytes.clone()
    }
}
