//! Runs that end when what is sent once is delivered: not before, and not with success when stopped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::faults::failing;
use super::{Running, TWO_NODES, estafette, run, text, world};

/// Runs it with this source until all is delivered; what Paris has of a report then.
fn sent(folder: &Path, source: &str) -> String {
    let topology = TWO_NODES
        .replace("{here}", folder.to_str().unwrap())
        .replace("{ paths = \"out\" }", source)
        .replace("\"in\" }", "{ into = \"in\", on_conflict = \"replace\" } }");
    fs::write(folder.join("topology.toml"), topology).unwrap();
    let output = run(folder, &["run", "topology.toml", "--once"]);
    assert!(output.status.success(), "{source}: {}", text(&output.stderr));
    fs::read_to_string(folder.join("in/report")).unwrap()
}

#[test]
fn once_waits_for_what_was_written_right_before_and_for_another_source() {
    let (_place, folder) = world(TWO_NODES);
    let write = |place: &str, what: &str| fs::write(folder.join(place), what).unwrap();
    fs::create_dir_all(folder.join("tuesday")).unwrap();
    fs::remove_file(folder.join("out/letter")).unwrap();
    write("out/report", "monday");
    assert_eq!(sent(&folder, "{ each = \"out\" }"), "monday");
    write("out/report", "tuesday");
    assert_eq!(sent(&folder, "{ each = \"out\" }"), "tuesday");
    write("tuesday/report", "another folder's");
    assert_eq!(sent(&folder, "{ each = \"tuesday\" }"), "another folder's");
    // The same key, sent once.
    assert_eq!(sent(&folder, "{ paths = \"out/report\" }"), "tuesday");
    assert_eq!(sent(&folder, "{ paths = \"tuesday/report\" }"), "another folder's");
    let on_change = |path: &str| format!("{{ paths = \"{path}\" }}\nschedule = \"change\"");
    assert_eq!(sent(&folder, &on_change("out/report")), "tuesday");
    write("out/report", "wednesday");
    assert_eq!(sent(&folder, &on_change("out/report")), "wednesday");
}

#[test]
fn once_is_no_success_when_a_signal_comes_first() {
    let (_place, folder) = world(&TWO_NODES.replace("\"out\"", "\"not-yet-there\""));
    let alone = ["--node", "lyon"];
    for (signal, alone) in [(Signal::TERM, &[][..]), (Signal::INT, &[]), (Signal::TERM, &alone)] {
        let mut command = estafette(&folder);
        command.args(["--json", "run", "topology.toml", "--once"]).args(alone);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut running = Running(child);
        let stdout = BufReader::new(running.0.stdout.take().unwrap());
        let mut events =
            stdout.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        // Its route has failed once, and tries again.
        assert!(events.any(|event| event["event"] == "route_failed"), "{alone:?} has ended");
        kill_process(Pid::from_child(&running.0), signal).unwrap();
        let rest: Vec<Value> = events.collect();
        assert_eq!(running.0.wait().unwrap().code(), Some(130), "{signal:?} {alone:?} {rest:?}");
        let last = rest.last().unwrap()["message"].as_str().unwrap_or_default();
        assert_eq!(last, "stopped by a signal before all was delivered");
    }
}

#[test]
fn once_is_no_success_where_something_could_not_be_read() {
    let (_place, folder) = world(&TWO_NODES.replace("paths", "each"));
    fs::create_dir(folder.join("out/dir")).unwrap();
    fs::write(folder.join("out/dir/secret"), "nobody reads it").unwrap();
    fs::write(folder.join("out/dir/open"), "everybody reads it").unwrap();
    let mut command = estafette(&folder);
    command.args(["run", "topology.toml", "--once"]);
    // It is opened by its name in its folder.
    let secret = [Path::new("secret")];
    let Some(mut command) = failing(&command, "openat", "EACCES", &secret) else { return };
    let output = command.current_dir(&folder).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("secret was left out: Permission denied"), "{said}");
    assert!(said.contains("1 entry was left out, as is said above"), "{said}");
    assert!(folder.join("in/dir/open").exists() && !folder.join("in/dir/secret").exists());
}

#[test]
fn a_version_that_a_newer_one_replaces_is_told_as_recalled_and_not_as_an_error() {
    let (_place, folder) = world(&TWO_NODES.replace("paths", "each"));
    let mut command = estafette(&folder);
    command.args(["--json", "run", "topology.toml", "--node", "lyon"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut running = Running(child);
    let stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut events =
        stdout.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    // Of whatever comes in whatever order.
    let mut wait_for = |kinds: &[&str]| {
        let mut found = Vec::new();
        while found.len() < kinds.len() {
            let event = events.next().expect("it runs");
            assert_ne!(event["event"], "error", "{event}");
            if kinds.iter().any(|kind| event["event"] == *kind) {
                found.push(event);
            }
        }
        found.sort_by_key(|event| event["event"].to_string());
        found
    };
    // Paris is away.
    let first = wait_for(&["routed"]);
    fs::write(folder.join("out/letter"), "Dear all of Paris").unwrap();
    let both = wait_for(&["recalled", "routed"]);
    assert_eq!(
        (&both[0]["event"], &both[0]["transfer"]),
        (&"recalled".into(), &first[0]["transfer"])
    );
    assert_ne!(both[1]["transfer"], first[0]["transfer"]);
    kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}
