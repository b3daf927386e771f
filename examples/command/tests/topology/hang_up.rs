//! SIGHUP: a look at the file, or the end of a terminal.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::reload::save;
use super::reloading::{reload, up};
use super::{Running, TWO_NODES, child_of, text, world};

#[test]
fn a_hang_up_has_the_file_looked_at_and_ends_nobody() {
    let (_place, folder) = world(TWO_NODES);
    let (mut running, mut events) = up(&folder);
    let pid = Pid::from_child(&running.0);
    let (moved, aside) = (folder.join("moved.sock"), folder.join("aside"));
    fs::write(&moved, "no socket").unwrap();
    save(&folder, &TWO_NODES.replace("paris.sock", "moved.sock"));
    assert_eq!(reload(&folder).0, Some(6));
    // Of what is free now no file tells.
    fs::rename(&moved, &aside).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let is_done = |event: &serde_json::Value| event["event"] == "ready" && event["node"] == "paris";
    let ready = events.find(is_done).unwrap();
    assert!(ready["addrs"][0].as_str().unwrap().ends_with("moved.sock"), "{ready}");
    // A node by itself does not end for it either. It says that it is up before the reload is over.
    within_limits(|| reload(&folder) == (Some(0), "nothing changes\n".into()));
    let paris = child_of(running.0.id(), "--node\0paris\0");
    kill_process(paris, Signal::HUP).unwrap();
    assert_eq!(reload(&folder), (Some(0), "nothing changes\n".into()));
    assert_eq!(child_of(running.0.id(), "--node\0paris\0"), paris);
    kill_process(pid, Signal::TERM).unwrap();
    assert!(running.0.wait().unwrap().success());
}

/// Waits until it is so, and fails where it never is.
fn within_limits(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(180), "it is never so");
    }
}

/// A terminal, and its other end: without that it is gone.
fn terminal() -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).and_then(|()| unlockpt(&master)).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = ptsname(&master, Vec::new()).unwrap();
    (rustix::fs::open(slave, flags, Mode::empty()).unwrap(), master)
}

/// A topology that is started in a terminal, and its other end.
fn runs_in_a_terminal(folder: &Path, words: &[&str]) -> (Running, OwnedFd) {
    let (slave, master) = terminal();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["run", "topology.toml", "--color", "never"]);
    command.env_clear().env("HOME", folder);
    let end = || slave.try_clone().unwrap();
    command.current_dir(folder).stdin(end()).stdout(end()).stderr(end());
    let running = Running(command.spawn().unwrap());
    drop((command, slave));
    (running, master)
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_estafette");

#[test]
fn who_was_started_in_a_terminal_ends_with_it_but_for_nohup() {
    // Nothing is under way that could be cut off.
    let idle = TWO_NODES.split("[route").next().unwrap();
    let (_place, folder) = world(idle);
    for is_told_before in [false, true] {
        let (mut running, other) = runs_in_a_terminal(&folder, &[PROGRAM]);
        let pid = Pid::from_child(&running.0);
        // Nodes that have not started yet are cut off.
        let (mut seen, mut other) = (Vec::new(), fs::File::from(other));
        while !["lyon  | runs", "paris | listens"].iter().all(|line| text(&seen).contains(line)) {
            let mut more = [0; 1024];
            let read = other.read(&mut more).unwrap_or_else(|error| {
                panic!("{error}: {:?} {}", running.0.try_wait(), text(&seen))
            });
            seen.extend_from_slice(&more[..read]);
        }
        if is_told_before {
            // The terminal is there: somebody means the file, or is about to close it.
            kill_process(pid, Signal::HUP).unwrap();
            assert_eq!(reload(&folder).0, Some(0));
        }
        drop(other);
        // Nobody else has taken the number of one that has ended by itself.
        kill_process(pid, Signal::HUP).unwrap();
        assert!(running.0.wait().unwrap().success());
    }

    let (mut running, other) = runs_in_a_terminal(&folder, &["nohup", PROGRAM]);
    let pid = Pid::from_child(&running.0);
    // It is up when somebody runs it, who has done what it is asked for.
    within_limits(|| {
        assert!(running.0.try_wait().unwrap().is_none(), "it has ended");
        reload(&folder).0 == Some(0)
    });
    drop(other);
    kill_process(pid, Signal::HUP).unwrap();
    save(&folder, &idle.replace("\"in\"", "\"on\""));
    let (code, said) = reload(&folder);
    assert_eq!(code, Some(0), "{said}");
}
