//! Two nodes in processes of their own that can be killed, and what lies between and beside them.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod browser;
pub(crate) mod clock;
pub(crate) mod disk;
pub(crate) mod faults;
pub(crate) mod http;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod terminal;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use process::Process;

/// The folder of a test, with nothing of the user's.
pub(crate) struct World(TempDir);

impl World {
    pub(crate) fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        fs::create_dir(world.path("in")).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of so many bytes that do not compress, others under each name.
    pub(crate) fn file(&self, name: &str, length: usize) -> PathBuf {
        let path = self.path(name);
        let seed =
            name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        fs::write(&path, random::Random::new(seed).bytes(length)).unwrap();
        path
    }

    /// Waits until the file has the age from which on it can be told from what it may become:
    /// younger ones are sent from the start again when they are sent again.
    pub(crate) fn settle(&self, path: &Path) {
        let settled = fs::metadata(path).unwrap().modified().unwrap() + Duration::from_millis(2100);
        while let Ok(left) = settled.duration_since(SystemTime::now()) {
            std::thread::sleep(left);
        }
    }

    pub(crate) fn has_arrived(&self, name: &str) -> bool {
        fs::read(self.path("in").join(name))
            .is_ok_and(|there| there == fs::read(self.path(name)).unwrap())
    }

    /// The names in the folder of the receiver, temporaries too.
    pub(crate) fn arrived(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("in"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    pub(crate) fn command(&self, who: &str) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_estafette")), who)
    }

    /// The same, of another build.
    pub(crate) fn command_of(&self, program: &Path, who: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.path(who))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .stdin(Stdio::null())
            .args(["--json", "--key"])
            .arg(self.path(who).with_extension("key"));
        command
    }

    /// The same command with so many descriptors. Only a shell can set that for a process that is
    /// to be started.
    pub(crate) fn within(&self, descriptors: u64, command: &Command) -> Command {
        self.limited(&format!("-n {descriptors}"), command)
    }

    /// The same command with a limit, in the words of `ulimit`.
    pub(crate) fn limited(&self, limit: &str, command: &Command) -> Command {
        let mut within = Command::new("/bin/sh");
        within
            .env_clear()
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null());
        within.args(["-c", "ulimit $0 && exec \"$@\""]).arg(limit);
        within.arg(command.get_program()).args(command.get_args());
        within
    }

    pub(crate) fn run<S: AsRef<OsStr>>(
        &self,
        who: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Ran {
        Ran::from(self.command(who).args(arguments).output().unwrap())
    }

    /// Lyon delivers what it has stored.
    pub(crate) fn lyon(&self) -> Process {
        self.lyon_with(&[])
    }

    pub(crate) fn lyon_with(&self, arguments: &[&str]) -> Process {
        let process =
            Process::start(self.command("lyon").args(["node", "--name", "lyon"]).args(arguments));
        process.wait_for("ready");
        process
    }

    /// Paris takes deliveries; the address it listens at is in its ticket.
    pub(crate) fn paris(&self) -> (Process, Value) {
        self.paris_with(&[])
    }

    pub(crate) fn paris_with(&self, arguments: &[&str]) -> (Process, Value) {
        let mut command = self.command("paris");
        command
            .args(["node", "--name", "paris", "--listen", "127.0.0.1:0", "--into"])
            .arg(self.path("in"))
            .args(arguments);
        let process = Process::start(&mut command);
        let ticket = process.wait_for("ticket");
        (process, ticket)
    }

    /// Starts paris, which is dialled by this proxy; with a ticket of it.
    pub(crate) fn paris_behind(&self, proxy: &proxy::Proxy) -> (Process, String) {
        let (paris, ticket) = self.paris_with(&["--advertise", &proxy.address()]);
        let ticket = text(&ticket, "ticket");
        // The proxy leads to where it listens, which is known once it does.
        assert_eq!(paris.terminate(), 0);
        let (paris, there) = self.paris();
        proxy.lead_to(&text(&there, "addr"));
        (paris, ticket)
    }

    /// Stores a delivery of lyon's.
    pub(crate) fn store(&self, path: &Path, to: &str, arguments: &[&str]) -> Value {
        let ran = self.try_to_store(path, to, arguments);
        assert_eq!(ran.code, 0, "{:?}", ran.events);
        ran.event("stored").clone()
    }

    pub(crate) fn try_to_store(&self, path: &Path, to: &str, arguments: &[&str]) -> Ran {
        let arguments =
            ["send", "--detach", "--compress", "off"].iter().chain(arguments).map(OsStr::new);
        self.run("lyon", arguments.chain([OsStr::new("--"), path.as_os_str(), OsStr::new(to)]))
    }

    pub(crate) fn outbox(&self) -> Vec<Value> {
        let ran = self.run("lyon", ["outbox", "list"]);
        assert_eq!(ran.code, 0, "{:?}", ran.events);
        ran.events
    }

    pub(crate) fn spool(&self, who: &str) -> PathBuf {
        self.path(&format!("{who}.key.spool"))
    }
}

/// The exit code of a command, and what it said.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) events: Vec<Value>,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = String::from_utf8(output.stdout).unwrap();
        let events = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { code: output.status.code().unwrap(), events }
    }
}

impl Ran {
    pub(crate) fn event(&self, name: &str) -> &Value {
        let found = self.events.iter().find(|event| event["event"] == name);
        found.unwrap_or_else(|| panic!("no {name} among {:?}", self.events))
    }
}

/// A field that is text.
pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}")).to_owned()
}
