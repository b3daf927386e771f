//! `estafette top`: what nodes do is seen on a terminal, which is as it was afterwards.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::terminal::Terminal;
use tempfile::TempDir;

/// A delivery that takes longer than any test.
const TOPOLOGY: &str = r#"
[node.lyon]
[node.paris]
listen = "unix:{here}/paris.sock"
[inbox.letters]
node = "paris"
sink = { folder = "in" }
[route.post]
from = "lyon"
source = { paths = "letter" }
to = "paris/letters"
rate = "1KiB"
"#;

fn command(place: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command.env_clear().env("HOME", place.path()).current_dir(place);
    command.stdin(Stdio::null());
    command
}

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// Both nodes run, and both have something of the letter.
fn world() -> (TempDir, Running) {
    let place = tempfile::tempdir().unwrap();
    let text = TOPOLOGY.replace("{here}", place.path().to_str().unwrap());
    fs::write(place.path().join("t.toml"), text).unwrap();
    fs::write(place.path().join("letter"), vec![7; 100 << 20]).unwrap();
    let mut run = command(&place);
    run.args(["--json", "--drain", "0s", "run", "t.toml"]).stdout(Stdio::piped());
    let mut running = Running(run.spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let mut waits = vec![("outgoing", "lyon"), ("incoming", "paris")];
    while !waits.is_empty() {
        let line = lines.next().unwrap().unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        let moves = event["event"] == "progress";
        waits
            .retain(|(way, node)| !(moves && event["direction"] == *way && event["node"] == *node));
    }
    std::thread::spawn(move || lines.for_each(drop));
    (place, running)
}

#[test]
fn what_nodes_do_is_seen_on_a_terminal_that_is_as_it_was_afterwards() {
    let (place, _running) = world();
    let terminal = Terminal::new(30, 100);
    let mut top = command(&place);
    let mut top = terminal.start(top.args(["top", "t.toml", "--every", "100ms"]));
    terminal.wait_for("transfer  → paris letter: running");
    terminal.wait_for("transfer  ← lyon letter: running");
    let page = terminal.wait_for("paris up");
    assert!(page.contains("lyon  up") && page.contains("outbox 1"), "{page}");
    let interrupted = Command::new("kill").args(["-INT", &top.id().to_string()]).status();
    assert!(interrupted.unwrap().success() && top.wait().unwrap().success());
    terminal.wait_until("the terminal as it was", |screen| {
        !screen.alternate_screen() && !screen.hide_cursor() && screen.contents().is_empty()
    });
}

#[test]
fn programs_get_the_whole_snapshot_and_files_one_page() {
    let (place, running) = world();
    let look = command(&place).args(["--json", "top", "t.toml", "--once"]).output().unwrap();
    let looks: Vec<Value> = String::from_utf8(look.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<_> = looks.iter().map(|look| look["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["lyon", "paris"]);
    assert!(
        looks.iter().all(|look| look["event"] == "snapshot" && look["snapshot"]["version"] == 1)
    );
    let page =
        command(&place).args(["top", "t.toml", "--once", "--every", "100ms"]).output().unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.contains("transfer  → paris letter") && !page.contains('\u{1b}'), "{page}");
    // The node of a key.
    let key = ["--key", ".estafette/t/paris/node.key", "top", "--once", "--every", "100ms"];
    let page = command(&place).args(key).output().unwrap();
    assert!(String::from_utf8(page.stdout).unwrap().contains("transfer  ← lyon letter"));
    drop(running);
    let page =
        command(&place).args(["top", "t.toml", "--once", "--every", "100ms"]).output().unwrap();
    assert!(String::from_utf8(page.stdout).unwrap().contains("paris  does not run"));
    let look = command(&place).args(["--json", "top", "t.toml", "--once"]).output().unwrap();
    let looks = String::from_utf8(look.stdout).unwrap();
    assert_eq!(looks.matches(r#""snapshot":null"#).count(), 2, "{looks}");
    let alone = command(&place).args(["top"]).output().unwrap();
    assert_eq!(alone.status.code(), Some(2));
}
