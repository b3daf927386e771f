//! The folder of a receiver, between one start and the next.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::tempdir;

/// A receiver that has listened with this folder and was stopped, or what it said when it did not begin to.
fn receive(home: &Path, into: &Path) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command.env_clear().env("HOME", home).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.args(["--json", "receive", "--listen", "127.0.0.1:0", "--into"]).arg(into).spawn().unwrap();
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
    assert!(said.contains("is its disk mounted?") && said.contains("mkdir") && said.contains("exit Some(6)"), "{said}");
    assert!(!into.exists());
    fs::create_dir(&into).unwrap();
    receive(home.path(), &into).expect("who makes it means it");
}
