//! The README's commands, word for word, on three machines that have nothing yet: a folder each,
//! which is HOME and where they are typed.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const README: &str = include_str!("../../../README.md");

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(180);

/// The program that is tried: what the README's line installed, where `.ci/run` has done so.
fn program() -> PathBuf {
    let installed = std::env::var_os("ESTAFETTE_INSTALLED").map(PathBuf::from);
    installed.unwrap_or_else(|| env!("CARGO_BIN_EXE_estafette").into())
}

struct Machine(PathBuf);

/// A command that runs on, with what it prints for programs. Dropping it kills it.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

/// The arguments of the one line of the README's shell blocks that begins so, with what is to be
/// put for some of its words.
fn line(beginning: &str, instead: &[(&str, &str)]) -> Vec<String> {
    let found: Vec<&str> = README.lines().filter(|line| line.starts_with(beginning)).collect();
    let &[line] = &found[..] else {
        panic!("the README has {} lines that begin with {beginning:?}", found.len())
    };
    let words = line.split(" # ").next().unwrap().split_whitespace().skip(1);
    words
        .map(|word| {
            instead.iter().find(|(from, _)| *from == word).map_or(word, |(_, to)| to).to_owned()
        })
        .collect()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Machine {
    fn new(world: &TempDir, name: &str) -> Self {
        let home = world.path().join(name);
        fs::create_dir(&home).unwrap();
        Self(home)
    }

    fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(program());
        command.env_clear().env("HOME", &self.0).current_dir(&self.0).args(arguments);
        command
    }

    /// Runs to its end, which is a good one; what it printed for programs.
    fn run(&self, arguments: &[String], input: &str) -> String {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        assert!(
            status.success(),
            "{arguments:?} ended with {status}: {}",
            String::from_utf8_lossy(&stderr)
        );
        String::from_utf8(stdout).unwrap()
    }

    fn start(&self, arguments: &[String]) -> Running {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (to, lines) = channel();
        let printed = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || printed.map_while(Result::ok).all(|line| to.send(line).is_ok()));
        Running { child, lines }
    }

    fn id(&self) -> String {
        words(&self.run(&words("id"), ""))[0].clone()
    }

    fn content(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }
}

impl Running {
    /// The next line for programs: a ticket.
    fn ticket(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it prints a ticket").trim().to_owned()
    }

    /// Waits until it has told of this.
    fn says(&self, word: &str) {
        let mut said = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if line.contains(word) {
                return;
            }
            said.push(line);
        }
        panic!("it did not say {word:?}, but {said:#?}");
    }

    /// Stopped as by a service manager.
    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "it ended with {status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn here() -> [(&'static str, &'static str); 1] {
    // Whatever else listens on the machine that runs the tests.
    [("0.0.0.0:7400", "127.0.0.1:0")]
}

/// `.ci/run` takes that line out of the README, and installs by it what the test above then runs.
#[test]
fn the_readme_installs_the_command_by_a_line_that_ci_runs() {
    let line = line("`cargo install --locked --path examples/command`", &[]).join(" ");
    assert!(line.contains("puts `estafette` on your path"), "{line}");
    let ci = include_str!("../../../.ci/run");
    for step in ["cargo install --locked --path [a-z/]*", "ESTAFETTE_INSTALLED="] {
        assert!(ci.contains(step), "CI has no step {step:?}");
    }
}

#[test]
fn what_the_readme_shows_works_as_it_is_typed() {
    let world = tempfile::tempdir().unwrap();
    let [lyon, paris, dijon] = ["lyon", "paris", "dijon"].map(|name| Machine::new(&world, name));

    // A first delivery.
    let receiving =
        paris.start(&[line("estafette receive", &[]), words("--listen 127.0.0.1:0")].concat());
    let ticket = receiving.ticket();
    fs::create_dir(lyon.0.join("photos")).unwrap();
    File::create(lyon.0.join("photos/empty")).unwrap();
    for (name, content) in [
        ("photos/one.jpg", "one"),
        ("notes.txt", "notes"),
        ("big.tar", "big"),
        ("letter.txt", "letter"),
    ] {
        fs::write(lyon.0.join(name), content).unwrap();
    }
    lyon.run(&line("estafette send photos/", &[]), &ticket);
    // Several paths are one folder.
    let arrived: Vec<_> =
        fs::read_dir(paris.0.join("inbox")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [folder] = &arrived[..] else { panic!("one delivery came: {arrived:?}") };
    for (name, content) in
        [("photos/one.jpg", &b"one"[..]), ("photos/empty", b""), ("notes.txt", b"notes")]
    {
        assert_eq!(fs::read(folder.join(name)).unwrap(), content, "{name}");
    }
    receiving.stop();

    // Stored while nobody is there.
    fs::write(lyon.0.join("ticket.txt"), ticket).unwrap();
    lyon.run(&line("estafette send --detach", &[]), "");
    assert!(lyon.run(&line("estafette outbox list", &[]), "").contains("big.tar"));

    // A relay that both trust, and that trusts both.
    let ids = [&lyon, &paris, &dijon].map(Machine::id);
    let trust = |machine: &Machine, id: &str, rest: &str| {
        machine.run(&[words("trust add"), vec![id.to_owned()], words(rest)].concat(), "");
    };
    trust(&dijon, &ids[0], "--name lyon");
    trust(&dijon, &ids[1], "--name paris");
    let relay = dijon.start(&[line("estafette node --relay", &here()), words("--json")].concat());
    let ready = relay.lines.recv_timeout(PATIENCE).unwrap();
    let address = ready
        .split('"')
        .find(|word| word.starts_with("127.0.0.1:"))
        .unwrap_or_else(|| panic!("no address in {ready}"));
    for machine in [&lyon, &paris] {
        trust(machine, &ids[2], &format!("--name dijon --addr {address}"));
    }
    trust(&lyon, &ids[1], "--name paris");
    lyon.run(&line("estafette send --via", &[]), "");
    let node =
        paris.start(&[line("estafette node --into", &[]), words("--listen 127.0.0.1:0")].concat());
    node.says("letter.txt");
    assert_eq!(paris.content("inbox/letter.txt"), b"letter");
    node.stop();
    relay.stop();
}
