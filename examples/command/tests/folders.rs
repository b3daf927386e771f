//! Tests of refusals before anything is dialled or made: folders of disks that are not mounted,
//! oneself, and paths that have no content.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::tempdir;

/// A receiver that has listened with this folder and was stopped, or what it said when it did not
/// begin to.
fn receive(home: &Path, into: &Path) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command
        .env_clear()
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command
        .args(["--json", "receive", "--listen", "127.0.0.1:0", "--into"])
        .arg(into)
        .spawn()
        .unwrap();
    let mut said = String::new();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let listens = lines.inspect(|line| said.push_str(line)).any(|line| line.contains("estafette1"));
    if listens {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    if listens { Ok(()) } else { Err(format!("{said} (exit {:?})", status.code())) }
}

#[test]
fn a_folder_that_took_deliveries_before_and_is_missing_is_not_made_on_another_disk() {
    let (home, place) = (tempdir().unwrap(), tempdir().unwrap());
    let into = place.path().join("in");
    receive(home.path(), &into).expect("it is made the first time");
    fs::remove_dir(&into).unwrap();
    let said = receive(home.path(), &into).unwrap_err();
    assert!(
        said.contains("is its disk mounted?")
            && said.contains("mkdir")
            && said.contains("exit Some(6)"),
        "{said}"
    );
    assert!(!into.exists());
    fs::create_dir(&into).unwrap();
    receive(home.path(), &into).expect("who makes it means it");
}

/// Runs `send`, with the key that `receive` has; its exit code, and what it says.
fn send(home: &Path, path: &Path, ticket: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command.env_clear().env("HOME", home).stdin(Stdio::null());
    let output = command.args(["--json", "send"]).arg(path).arg(ticket).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_node_that_is_sent_to_by_itself_says_so_at_once() {
    let (home, place) = (tempdir().unwrap(), tempdir().unwrap());
    fs::write(place.path().join("file"), "content").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command
        .env_clear()
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command
        .args(["receive", "--listen", "127.0.0.1:0", "--into"])
        .arg(place.path().join("in"))
        .spawn()
        .unwrap();
    let ticket = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find(|line| line.starts_with("estafette1"));
    let ticket = ticket.unwrap();
    // The node that runs is asked; without it, a node of its own would dial it.
    let attached = send(home.path(), &place.path().join("file"), &ticket);
    child.kill().unwrap();
    child.wait().unwrap();
    for (code, said) in [attached, send(home.path(), &place.path().join("file"), &ticket)] {
        assert!(
            code == Some(2) && said.contains("this node itself") && said.contains("--key"),
            "{said}"
        );
    }
}

#[test]
fn a_pipe_is_refused_before_anything_is_dialled() {
    let (home, place) = (tempdir().unwrap(), tempdir().unwrap());
    let pipe = place.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // With a destination that can be read: nobody is trusted under that name, and it does not come
    // to that.
    let (code, said) = send(home.path(), &pipe, "nobody/files");
    assert!(code == Some(6) && said.contains("it is a pipe"), "{said}");
}
