//! The command of `node --exec`: what it is given, what it can say, and how long it lives.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use support::{World, text};

/// A pipe with a name: who reads it knows when nobody holds it any more.
fn fifo(world: &World, name: &str) -> PathBuf {
    let path = world.path(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

fn deliver(world: &World, name: impl AsRef<OsStr>, ticket: &str) {
    let path = world.path(".").join(name.as_ref());
    fs::write(&path, name.as_ref().as_bytes()).unwrap();
    let ran = world.run("lyon", [OsStr::new("send"), path.as_ref(), ticket.as_ref()]);
    assert_eq!(ran.code, 0, "{:?}", ran.events);
}

#[test]
fn what_a_command_prints_is_no_event() {
    let world = World::new();
    let exec = "echo '{\"event\":\"error\",\"message\":\"forged\"}'; exit 3";
    let (paris, ticket) = world.paris_with(&["--exec", exec]);
    let ticket = text(&ticket, "ticket");
    deliver(&world, "letter", &ticket);
    let error = text(&paris.wait_for("error"), "message");
    assert!(error.contains("failed for letter"), "{error}");
}

#[test]
fn a_command_finds_what_came_by_its_very_bytes_after_a_restart_too() {
    let world = World::new();
    let names =
        [&b"x\xe2\x80\x8b.sh"[..], br"y\u{200b}.sh", b"z\xff\xfe", b"a\nb\x1b[2J", b"'\"$(x) "];
    let (paris, ticket) = world.paris_with(&["--exec", "exit 3"]);
    let ticket = text(&ticket, "ticket");
    for name in names {
        deliver(&world, OsStr::from_bytes(name), &ticket);
        paris.wait_for("error");
    }
    assert_eq!(paris.terminate(), 0);
    let (said, go) = (fifo(&world, "said"), fifo(&world, "go"));
    // The next one begins when this one was read to its end: a pipe does not tell two apart.
    let exec =
        format!("cat \"$DELIVERY_PLACE\" > '{}'; read line < '{}'", said.display(), go.display());
    let (paris, _) = world.paris_with(&["--exec", &exec]);
    // What is in each is its name; those of one second have no order after a restart.
    let mut found = Vec::new();
    for _ in &names {
        found.push(fs::read(&said).unwrap());
        fs::write(&go, "go\n").unwrap();
    }
    let mut names = names.map(<[u8]>::to_vec);
    found.sort();
    names.sort();
    assert_eq!(found, names);
    assert_eq!(paris.terminate(), 0);
}

#[test]
fn a_command_that_takes_too_long_has_failed_and_others_go_on() {
    let world = World::new();
    let said = fifo(&world, "said");
    let exec = format!(
        "[ \"$DELIVERY_NAME\" = slow ] && sleep 600; echo \"$DELIVERY_NAME $DELIVERY_BLAKE3\" > \
         '{}'",
        said.display()
    );
    let (paris, ticket) = world.paris_with(&["--exec", &exec, "--exec-timeout", "3s"]);
    let ticket = text(&ticket, "ticket");
    deliver(&world, "slow", &ticket);
    deliver(&world, "quick", &ticket);
    let error = text(&paris.wait_for("error"), "message");
    assert!(error.contains("was ended for slow, after 3"), "{error}");
    assert_eq!(fs::read_to_string(said).unwrap(), format!("quick {}\n", blake3::hash(b"quick")));
}

#[test]
fn a_node_that_stops_waits_for_its_command_and_leaves_none_running() {
    let world = World::new();
    let (said, go, log) = (fifo(&world, "said"), fifo(&world, "go"), world.path("log"));
    let exec = format!(
        "echo begun > '{}'; read line < '{}'; echo \"$DELIVERY_NAME\" >> '{}'",
        said.display(),
        go.display(),
        log.display()
    );
    let (paris, ticket) = world.paris_with(&["--exec", &exec, "--drain", "100s"]);
    deliver(&world, "first", &text(&ticket, "ticket"));
    assert_eq!(fs::read_to_string(&said).unwrap(), "begun\n");
    paris.signal(Signal::TERM);
    // It has its spool for as long as the command takes: that it was processed is noted there.
    for _ in 0..20 {
        let ran = world.run("paris", ["outbox", "list"]);
        assert_eq!(ran.code, 0, "{:?}", ran.events);
    }
    fs::write(&go, "go\n").unwrap();
    assert_eq!((paris.code(), fs::read_to_string(&log).unwrap()), (0, "first\n".to_owned()));

    // It is not run for the first again; what it has begun ends with it.
    let exec = format!(
        "exec > '{}'; (sleep 30; echo survived) & echo \"$DELIVERY_NAME\"; wait",
        said.display()
    );
    let (paris, ticket) = world.paris_with(&["--exec", &exec, "--drain", "0s"]);
    deliver(&world, "second", &text(&ticket, "ticket"));
    let mut said = BufReader::new(File::open(said).unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "second\n");
    paris.signal(Signal::TERM);
    assert_eq!(
        text(&paris.wait_for("error"), "message"),
        "the command of --exec was ended for second, since the node stops"
    );
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!((rest, paris.code()), (String::new(), 0));
}
