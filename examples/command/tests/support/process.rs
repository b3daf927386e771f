//! A process of the command that says what it does, and may be killed.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Process {
    child: Child,
    events: Receiver<Value>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let (to, events) = channel();
        Self { child: spawn(command, log(), move |event| to.send(event).is_ok()), events }
    }

    /// The same, with its log in a file.
    pub(crate) fn start_logged(command: &mut Command, log: &Path) -> Self {
        let (to, events) = channel();
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        Self { child: spawn(command, log.into(), move |event| to.send(event).is_ok()), events }
    }

    /// The same, whose events go where others go, too.
    pub(crate) fn start_into<T: Send + 'static>(
        command: &mut Command,
        to: Sender<T>,
        what: impl Fn(Value) -> T + Send + 'static,
    ) -> Self {
        Self {
            child: spawn(command, log(), move |event| to.send(what(event)).is_ok()),
            events: channel().1,
        }
    }

    /// The next event of this kind.
    pub(crate) fn wait_for(&self, name: &str) -> Value {
        let mut others = Vec::new();
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) if event["event"] == name => return event,
                Ok(event) => others.push(event),
                Err(RecvTimeoutError::Timeout) => panic!("no {name} came, but {others:?}"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it ended without {name}, after {others:?}")
                }
            }
        }
    }

    /// Whatever it says next.
    pub(crate) fn next(&self) -> Value {
        self.events.recv_timeout(PATIENCE).expect("it says something")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// One that is to stop has stopped with all its threads when this returns: the signal alone
    /// leaves them a moment.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_child(&self.child);
        kill_process(id, signal).unwrap();
        if signal == Signal::STOP {
            let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            waitid(WaitId::Pid(id), options).unwrap();
        }
    }

    /// Its status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends, by itself or after SIGTERM; its exit code.
    pub(crate) fn code(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }

    pub(crate) fn terminate(self) -> i32 {
        self.signal(Signal::TERM);
        self.code()
    }
}

/// The output of processes that say what they do, for whoever looks for a fault: the file that
/// `ESTAFETTE_LOG_FILE` names.
fn log() -> Stdio {
    let Some(path) = std::env::var_os("ESTAFETTE_LOG_FILE") else { return Stdio::null() };
    OpenOptions::new().create(true).append(true).open(path).unwrap().into()
}

fn spawn(
    command: &mut Command,
    log: Stdio,
    tell: impl Fn(Value) -> bool + Send + 'static,
) -> Child {
    let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    std::thread::spawn(move || {
        for line in lines {
            let Ok(line) = line else { return };
            // A process that is killed may have said half of its last line; one that is a test says
            // other things, too.
            let Ok(event) = serde_json::from_str(&line) else { continue };
            // Nobody may listen any more: it must be able to go on all the same.
            tell(event);
        }
    });
    child
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
