//! Tests of what is sent as a stream, whatever stdin is: a socket as under `ssh`, a file that was
//! begun, a pipe of another user.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use support::process::Process;
use support::{Ran, World, text};

/// Longer than what a pipe or a socket holds.
const LONG: usize = 1_000_000;

fn paris(world: &World) -> (Process, String) {
    let (paris, ticket) = world.paris_with(&["--on-conflict", "replace"]);
    (paris, text(&ticket, "ticket"))
}

fn send(world: &World, ticket: &str, stdin: impl Into<Stdio>) -> Ran {
    let mut command = world.command("lyon");
    command.args(["send", "-", ticket]).stdin(stdin);
    Ran::from(command.output().unwrap())
}

fn arrived(world: &World) -> Vec<u8> {
    fs::read(world.path("in/stream")).unwrap()
}

#[test]
fn all_of_a_socket_is_sent_alone_and_by_a_node_that_runs() {
    let world = World::new();
    let long = fs::read(world.file("long", LONG)).unwrap();
    let (_paris, ticket) = paris(&world);
    let mut node = None;
    for content in [&b"short"[..], &long, b"by the node", &long[1..]] {
        if content == b"by the node" {
            node = Some(world.lyon());
        }
        let (mut here, there) = UnixStream::pair().unwrap();
        let bytes = content.to_vec();
        let writer = std::thread::spawn(move || {
            here.write_all(&bytes).unwrap();
            here.shutdown(Shutdown::Write).unwrap();
        });
        let ran = send(&world, &ticket, OwnedFd::from(there));
        assert_eq!(ran.code, 0, "{:?}", ran.events);
        writer.join().unwrap();
        assert!(arrived(&world) == content, "{} bytes of {}", arrived(&world).len(), content.len());
    }
    assert_eq!(node.unwrap().terminate(), 0);
}

#[test]
fn a_file_that_was_begun_is_sent_from_there() {
    let world = World::new();
    let (_paris, ticket) = paris(&world);
    let path = world.file("long", LONG);
    let mut file = fs::File::open(&path).unwrap();
    for at in [0, 5, LONG as u64 - 1] {
        file.seek(SeekFrom::Start(at)).unwrap();
        let ran = send(&world, &ticket, file.try_clone().unwrap());
        assert_eq!(ran.code, 0, "{:?}", ran.events);
        assert!(arrived(&world) == fs::read(&path).unwrap()[at as usize..], "from {at}");
    }
}

/// Nobody, on most systems.
const OTHER: u32 = 65_534;

#[test]
fn a_pipe_of_another_user_is_sent() {
    let world = World::new();
    let (_paris, ticket) = paris(&world);
    // Who may let others work: root, if they may run the command where it lies.
    let program = env!("CARGO_BIN_EXE_estafette");
    let probe = Command::new(program).arg("--version").uid(OTHER).gid(OTHER).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: a pipe of another user takes root, and a command that all may run");
        return;
    }
    let home = world.path("");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    let own = world.path("other");
    fs::create_dir(&own).unwrap();
    chown(&own, Some(OTHER), Some(OTHER)).unwrap();
    let (reading, mut writing) = std::io::pipe().unwrap();
    writing.write_all(b"of root").unwrap();
    drop(writing);
    let mut command = Command::new(program);
    command.env_clear().env("HOME", &own).stdin(reading).uid(OTHER).gid(OTHER);
    let ran = Ran::from(command.args(["--json", "send", "-", &ticket]).output().unwrap());
    assert_eq!(ran.code, 0, "{:?}", ran.events);
    assert_eq!(arrived(&world), b"of root");
}

#[test]
fn what_can_not_be_read_to_its_end_is_not_delivered_alone_nor_by_a_node_that_runs() {
    let world = World::new();
    let (_paris, ticket) = paris(&world);
    let mut node = None;
    for by_node in [false, true] {
        if by_node {
            node = Some(world.lyon());
        }
        let (mut here, mut there) = UnixStream::pair().unwrap();
        // What is not read when its end is closed is an error at the other one, behind its content.
        there.write_all(b"never read").unwrap();
        here.write_all(b"begun").unwrap();
        drop(here);
        let ran = send(&world, &ticket, OwnedFd::from(there));
        assert!(ran.code != 0, "{:?}", ran.events);
        let error = text(ran.event("error"), "message");
        assert!(error.contains("stream") && error.contains("reset by peer"), "{error}");
        assert!(!world.path("in/stream").exists());
    }
    assert_eq!(node.unwrap().terminate(), 0);
}

#[test]
fn what_a_process_that_is_killed_had_read_is_not_delivered_by_a_node_that_runs() {
    let world = World::new();
    let (paris, ticket) = paris(&world);
    let node = world.lyon();
    for _ in 0..3 {
        let (mut here, there) = UnixStream::pair().unwrap();
        let mut command = world.command("lyon");
        command.args(["send", "--name", "cut", "-", &ticket]).stdout(Stdio::null());
        let mut sending = command.stdin(OwnedFd::from(there)).spawn().unwrap();
        // More than what all the pipes between hold: paris has some of it.
        here.write_all(&fs::read(world.file("long", 8 << 20)).unwrap()).unwrap();
        sending.kill().unwrap();
        sending.wait().unwrap();
        paris.wait_for("error");
        assert!(!world.path("in/cut").exists());
    }
    assert_eq!((node.terminate(), paris.terminate()), (0, 0));
}
