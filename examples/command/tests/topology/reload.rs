//! Files that change while their nodes run, and nodes that are started again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Running, TWO_NODES, child_of, estafette, run, text, world};

/// Writes a topology as an editor does: beside it, then in its place.
pub(super) fn save(folder: &Path, text: &str) {
    let text = text.replace("{here}", folder.to_str().unwrap());
    fs::write(folder.join("topology.new"), text).unwrap();
    fs::rename(folder.join("topology.new"), folder.join("topology.toml")).unwrap();
}

#[test]
fn a_file_that_changes_is_reloaded_and_one_at_fault_changes_nothing() {
    let (_place, folder) = world(TWO_NODES);
    let child = estafette(&folder)
        .args(["--json", "run", "topology.toml"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut events = stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    Running::wait_for(&mut events, "delivered", "paris");
    // At fault: it is told, and all goes on.
    save(&folder, &TWO_NODES.replace("to = \"paris", "to = \"pariss"));
    let fault = events.find(|event: &Value| event["event"] == "fault").unwrap();
    assert_eq!(fault["code"], "unknown-node");
    // Another inbox and another route; and a third node, to which what arrives goes on.
    fs::write(folder.join("extra"), "extra").unwrap();
    let more = TWO_NODES.to_owned()
        + r#"
[node.brest]
listen = "unix:{here}/brest.sock"
[inbox.archive]
node = ["paris", "brest"]
sink = { folder = "archive-{node}" }
[route.extra]
from = "lyon"
source = { paths = "extra" }
to = ["paris/archive", "brest/archive"]
"#;
    save(&folder, &more);
    let planned = text(&run(&folder, &["plan", "topology.toml"]).stdout);
    for line in ["brest: starts", "lyon: peer `brest` is new", "inbox `archive` is new"] {
        // Perhaps it has been reloaded already.
        assert!(planned.contains(line) || planned.contains("nothing changes"), "{planned}");
    }
    let mut left = vec!["archive-paris/extra", "archive-brest/extra"];
    while !left.is_empty() {
        events.find(|event: &Value| event["event"] == "delivered").expect("it runs");
        left.retain(|path| !folder.join(path).exists());
    }
    let planned = text(&run(&folder, &["plan", "topology.toml"]).stdout);
    assert_eq!(planned, "nothing changes\n");
    // An address takes a new start; a node that is out ends, and takes no other along.
    let moved = TWO_NODES.replace("paris.sock", "moved.sock");
    save(&folder, &moved);
    let planned = text(&run(&folder, &["plan", "topology.toml"]).stdout);
    assert!(planned.contains("brest: ends") || planned.contains("nothing changes"), "{planned}");
    let mut left = vec![("paris", "starts again, for its listen"), ("brest", "ends")];
    while !left.is_empty() {
        let event = events.find(|event: &Value| event["event"] == "reloaded").expect("it runs");
        left.retain(|(node, change)| {
            event["node"] != *node || !event["change"].as_str().unwrap().starts_with(change)
        });
    }
    let ready = Running::wait_for(&mut events, "ready", "paris");
    assert!(ready["addrs"][0].as_str().unwrap().ends_with("moved.sock"), "{ready}");
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(running.0.wait().unwrap().success());
}

/// Nothing here takes longer unless it hangs.
const HANGS: Duration = Duration::from_secs(120);

/// A topology that runs in a program of its own, and its events for as long as nothing hangs.
fn watched(program: &Path, folder: &Path) -> (Running, impl Iterator<Item = Value> + use<>) {
    runs(program, folder, &["topology.toml"])
}

/// The same of any file, and of one of its nodes.
pub(super) fn runs(
    program: &Path,
    folder: &Path,
    arguments: &[&str],
) -> (Running, impl Iterator<Item = Value> + use<>) {
    let child = Command::new(program)
        .env_clear()
        .env("HOME", folder)
        .current_dir(folder)
        .args(["--json", "run"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let stdout = BufReader::new(running.0.stdout.take().unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let events = stdout.lines().map_while(Result::ok);
        // Whoever listens may be gone.
        events
            .map(|line| serde_json::from_str(&line).unwrap())
            .all(|event| tell.send(event).is_ok())
    });
    let end = Instant::now() + HANGS;
    let next = move || {
        let left = end.saturating_duration_since(Instant::now());
        match told.recv_timeout(left) {
            Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
            event => event.ok(),
        }
    };
    (running, std::iter::from_fn(next))
}

#[test]
fn a_node_that_waits_is_started_once_when_the_file_changes_and_not_if_it_is_out() {
    // As long as these are held, nobody else listens there.
    let held = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [paris, brest, dijon] =
        held.each_ref().map(|held| format!("listen = \"{}\"\n", held.local_addr().unwrap()));
    let brest = format!("\n[node.brest]\n{brest}");
    let before = TWO_NODES.replace("listen = \"unix:{here}/paris.sock\"", &paris)
        + &brest
        + &format!("\n[node.dijon]\n{dijon}");
    let (_place, folder) = world(&before);
    let program = Path::new(env!("CARGO_BIN_EXE_estafette"));
    let (_running, mut events) = watched(program, &folder);
    let ended = |event: &Value, node: &str, seconds: u64| {
        event["event"] == "node_ended" && event["node"] == node && event["seconds"] == seconds
    };
    // They wait for so long that the file is read before they are over.
    let mut waiting = vec!["brest", "dijon", "paris"];
    while !waiting.is_empty() {
        let event = events.next().expect("it runs");
        waiting.retain(|node| !ended(&event, node, 4));
    }
    save(&folder, &(TWO_NODES.to_owned() + &brest));
    // The wait of brest is over twice: so the others' are over, too.
    let mut after = Vec::new();
    while !after.last().is_some_and(|event| ended(event, "brest", 16)) {
        after.push(events.next().expect("it runs"));
    }
    let is =
        |event: &Value, kind: &str, node: &str| event["event"] == kind && event["node"] == node;
    let reloaded = after.iter().position(|event| is(event, "reloaded", "paris")).unwrap();
    let count = |kind: &str, node: &str| {
        after[reloaded..].iter().filter(|event| is(event, kind, node)).count()
    };
    assert_eq!((count("ready", "paris"), count("node_ended", "paris")), (1, 0), "{after:?}");
    assert!(after.iter().any(|event| is(event, "reloaded", "dijon")), "{after:?}");
    assert_eq!(count("node_ended", "dijon"), 0, "{after:?}");
}

#[test]
fn a_node_that_was_given_up_is_started_when_the_file_is_mended() {
    let (_place, folder) = world(&TWO_NODES.replace("\"in\"", "\"no/such/folder\""));
    let (_running, mut events) = watched(Path::new(env!("CARGO_BIN_EXE_estafette")), &folder);
    let ended = Running::wait_for(&mut events, "node_ended", "paris");
    assert_eq!((&ended["code"], &ended["seconds"]), (&2.into(), &Value::Null));
    save(&folder, TWO_NODES);
    Running::wait_for(&mut events, "ready", "paris");
    Running::wait_for(&mut events, "delivered", "paris");
}

#[test]
fn nodes_are_started_again_by_a_program_that_was_replaced_or_is_away_for_a_while() {
    let (_place, folder) = world(TWO_NODES);
    let (program, away) = (folder.join("estafette"), folder.join("away"));
    // By another process: one that this one starts meanwhile would hold it open.
    let copy = |to: &Path| {
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_estafette")).arg(to).status();
        assert!(copied.unwrap().success());
    };
    copy(&program);
    let (running, mut events) = watched(&program, &folder);
    Running::wait_for(&mut events, "ready", "paris");
    // An upgrade.
    copy(&away);
    fs::rename(&away, &program).unwrap();
    let paris = child_of(running.0.id(), "--node\0paris\0");
    rustix::process::kill_process(paris, rustix::process::Signal::KILL).unwrap();
    Running::wait_for(&mut events, "ready", "paris");
    // A new start that a reload asks for, too.
    fs::rename(&program, &away).unwrap();
    save(&folder, &TWO_NODES.replace("paris.sock", "moved.sock"));
    // What was cut off in the middle may be told before.
    let says = |event: &Value, words| event["message"].as_str().unwrap_or("").contains(words);
    let error = events.find(|event| says(event, "can't be started")).unwrap();
    assert!(error["event"] == "error" && says(&error, "tried again"), "{error}");
    assert!(error["hint"].as_str().unwrap().starts_with("put the program back"), "{error}");
    fs::rename(&away, &program).unwrap();
    let ready = Running::wait_for(&mut events, "ready", "paris");
    assert!(ready["addrs"][0].as_str().unwrap().ends_with("moved.sock"), "{ready}");
}
