//! Tests of stdin, stdout and stderr that can't be read or written: lines of a log may be lost, and
//! nothing else.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};

use support::process::Process;
use support::{Ran, World, text};

/// A device on which nothing can be written: it is full.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// `arguments` of `who`, by a shell that closes a stream.
fn closed(world: &World, who: &str, stream: &str, arguments: &[&str]) -> (i32, String) {
    let command = world.command(who);
    let mut shell = Command::new("sh");
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let script = format!("exec \"$0\" \"$@\" {stream}");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_estafette")]).args(arguments);
    let ended = shell.stdin(Stdio::null()).output().unwrap();
    (ended.status.code().unwrap(), String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn a_log_that_nobody_can_write_stops_no_delivery() {
    let world = World::new();
    let mut paris = world.command("paris");
    paris.args(["-vvv", "receive", "--listen", "127.0.0.1:0", "--into"]);
    paris.arg(world.path("in")).stderr(full());
    let paris = Process::start(&mut paris);
    let ticket = text(&paris.wait_for("ticket"), "ticket");
    for round in 0..3 {
        let name = format!("file{round}");
        let path = world.file(&name, 100_000);
        let mut lyon = world.command("lyon");
        lyon.args(["-vvv", "send"]).arg(&path).arg(&ticket).stderr(full());
        let ran = Ran::from(lyon.output().unwrap());
        assert_eq!(ran.code, 0, "{:?}", ran.events);
        assert_eq!(fs::read(world.path("in").join(&name)).unwrap(), fs::read(&path).unwrap());
    }
    assert_eq!(paris.terminate(), 0);
}

#[test]
fn results_that_can_not_be_written_are_an_error() {
    let world = World::new();
    let (_paris, ticket) = world.paris();
    let ticket = text(&ticket, "ticket");
    let run = |arguments: &[&str], stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
        command.env_clear().env("HOME", world.path("lyon")).args(arguments);
        let ended = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).output();
        let ended = ended.unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };
    for json in [&[][..], &["--json"]] {
        for shows in [
            &["id"][..],
            &["trust", "list"],
            &["outbox", "list"],
            &["inbox", "list"],
            &["ticket", &ticket],
            &["ticket", "list"],
            &["doctor"],
        ] {
            let arguments = [json, shows].concat();
            // What has nothing to list prints nothing.
            let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
            command.env_clear().env("HOME", world.path("lyon")).args(&arguments);
            let shown = command.stdin(Stdio::null()).output().unwrap();
            assert_eq!(shown.status.code(), Some(0), "{arguments:?}");
            let prints = !shown.stdout.is_empty();
            let (code, said) = run(&arguments, full());
            if prints {
                assert_eq!(code, Some(6), "{arguments:?}: {said}");
                assert!(said.contains("stdout could not be written: No space"), "{said}");
            } else {
                assert_eq!(code, Some(0), "{arguments:?}: {said}");
            }
            // Whoever has read enough goes.
            let (reading, writing) = std::io::pipe().unwrap();
            drop(reading);
            let (code, said) = run(&arguments, writing.into());
            assert!(code == Some(0) && !said.contains("stdout"), "{arguments:?}: {said}");
        }
    }
}

#[test]
fn a_delivery_counts_though_it_can_not_be_told() {
    let world = World::new();
    let (_paris, ticket) = world.paris();
    let path = world.file("letter", 1000);
    let mut lyon = world.command("lyon");
    lyon.arg("send").arg(&path).arg(text(&ticket, "ticket")).stdout(full());
    let ended = lyon.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert!(said.contains("stdout could not be written"), "{said}");
    assert!(world.has_arrived("letter"));
}

#[test]
fn a_stream_that_is_closed_is_none() {
    let world = World::new();
    let (_paris, ticket) = world.paris();
    let ticket = text(&ticket, "ticket");
    for (stream, arguments, said) in [
        ("<&-", &["send", "-", &ticket][..], "stdin is closed"),
        (">&-", &["receive", "--into", "-"], "stdout is closed"),
    ] {
        let (code, text) = closed(&world, "lyon", stream, arguments);
        assert!(code == 2 && text.contains(said), "{code}: {text}");
        assert!(text.contains("/dev/null"), "what is meant to be nothing is said so: {text}");
    }
    assert!(world.arrived().is_empty());
    // Nothing at all, as somebody means it.
    let (code, text) = closed(&world, "lyon", "< /dev/null", &["send", "-", &ticket]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(world.arrived(), ["stream"]);
}

#[test]
fn one_that_is_refused_does_not_end_the_one_that_is_under_way() {
    let world = World::new();
    let mut paris = world.command("paris");
    paris.args(["receive", "--once", "--redeemers", "2", "--listen", "127.0.0.1:0", "--into"]);
    let paris = Process::start(paris.arg(world.path("in")));
    let ticket = text(&paris.wait_for("ticket"), "ticket");
    fs::write(world.path("in/taken"), "before").unwrap();
    let mut lyon = world.command("lyon");
    let mut lyon = lyon.args(["send", "-", &ticket]).stdin(Stdio::piped()).spawn().unwrap();
    let mut content = lyon.stdin.take().unwrap();
    content.write_all(&vec![b'a'; 3_000_000]).unwrap();
    let began = std::time::Instant::now();
    while fs::read_dir(world.path("in")).unwrap().count() < 2 {
        assert!(began.elapsed() < support::process::PATIENCE, "nothing has come");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let other = world.file("taken", 10);
    let sent = world.run("brest", [OsStr::new("send"), other.as_os_str(), OsStr::new(&ticket)]);
    assert_eq!(sent.code, 3, "{:?}", sent.events);
    assert!(text(&paris.wait_for("error"), "message").contains("taken"));
    content.write_all(b"end").unwrap();
    drop(content);
    assert!(lyon.wait().unwrap().success());
    assert_eq!(paris.code(), 0);
    assert_eq!(fs::metadata(world.path("in/stream")).unwrap().len(), 3_000_003);
}

/// A pipe that is full, and that nobody reads; who reads it, and who writes to it.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reading, writing) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writing, true).unwrap();
    while (&writing).write(&[b' '; 512]).is_ok() {}
    rustix::io::ioctl_fionbio(&writing, false).unwrap();
    (reading, writing)
}

#[test]
fn a_signal_ends_a_node_whose_events_nobody_reads() {
    let world = World::new();
    let (_paris, ticket) = world.paris();
    let (path, ticket) = (world.file("letter", 1000), text(&ticket, "ticket"));
    world.store(&path, &ticket, &[]);
    let (reading, writing) = full_pipe();
    let mut lyon = world.command("lyon");
    let mut lyon = lyon.arg("node").stdout(writing).spawn().unwrap();
    // It has told, or is about to tell, that it is ready.
    let began = std::time::Instant::now();
    while !world.has_arrived("letter") {
        assert!(began.elapsed() < support::process::PATIENCE, "it delivers nothing");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&lyon),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert_eq!(lyon.wait().unwrap().code(), Some(0));
    drop(reading);
}
